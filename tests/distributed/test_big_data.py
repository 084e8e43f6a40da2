"""Data bigger than memory: each process reads its own share, and goes on where it was killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footplate.engine.data.tar_writing import write_shards
from tests.distributed.launching import Ranks
from tests.distributed.processes import Nursery

HERE = "tests.distributed.reading"
SAMPLES, PER_SHARD = 200, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(({"cls": n} for n in range(SAMPLES)), folder / "shards", PER_SHARD)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_each_sample_comes_once_and_each_process_has_shards_of_its_own(
    world: Callable[[int], Ranks], folder: Path, workers: int
) -> None:
    shares = world(2).call(f"{HERE}:taken", f"{folder}/shards/*.tar", False, workers)
    assert sorted(shares[0] + shares[1]) == list(range(SAMPLES))
    first, second = ({one // PER_SHARD for one in share} for share in shares)
    assert len(first) == len(second) == SAMPLES / PER_SHARD / 2
    assert not first & second


@pytest.mark.covers("I4")
def test_a_users_own_loader_is_dealt_out_by_shards(
    world: Callable[[int], Ranks], folder: Path
) -> None:
    shards = f"{folder}/shards/*.tar"
    assert world(2).call(f"{HERE}:dealt", shards) == world(2).call(f"{HERE}:taken", shards)


def test_an_evaluation_deals_samples_out_one_by_one(
    world: Callable[[int], Ranks], folder: Path
) -> None:
    shares = world(2).call(f"{HERE}:taken", f"{folder}/shards/*.tar", True)
    assert shares == [list(range(rank, SAMPLES, 2)) for rank in range(2)]


def test_a_file_larger_than_what_a_process_may_take(
    world: Callable[[int], Ranks], tmp_path: Path
) -> None:
    rows = 50_000  # of 4 KiB
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (rows, 1024))
    array[:, 0] = np.arange(rows)
    array[:, 1:] = 1
    array.flush()
    del array
    told = world(2).call(f"{HERE}:grown", str(tmp_path / "x.npy"))
    assert sorted(told[0]["rows"] + told[1]["rows"]) == list(range(rows))
    assert all(one["bytes"] < 60 * 2**20 for one in told)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(HERE, tmp_path_factory.mktemp("said")) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def whole(nursery: Nursery, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Which samples each process has in each iteration of a run that nothing stops."""
    with nursery.world(str(folder), str(tmp_path_factory.mktemp("whole"))) as world:
        assert world.codes() == [0, 0], world.errors
    return world.said("seen")


def test_two_passes_are_two_orders_of_all_samples(whole: list[Any]) -> None:
    per_pass = SAMPLES // 2 // 4
    for number in range(2):
        batches = [one[number * per_pass : (number + 1) * per_pass] for one in whole]
        seen = [one for share in batches for _, samples in share for one in samples]
        assert sorted(seen) == list(range(SAMPLES))
    assert [one[1] for one in whole[0][:per_pass]] != [one[1] for one in whole[0][per_pass:]]


@pytest.mark.covers("G4", "G5")
@pytest.mark.parametrize(
    ("before", "after", "iteration"), [(0, 0, 5), (2, 2, 20), (0, 2, 30), (2, 0, 40)]
)
def test_killed_processes_go_on_with_the_samples_that_they_would_have_had(
    nursery: Nursery,
    folder: Path,
    tmp_path: Path,
    whole: list[Any],
    before: int,
    after: int,
    iteration: int,
) -> None:
    args = (str(folder), str(tmp_path), "--workers")
    with nursery.world(*args, str(before), "--pause", "0.03") as world:
        world.wait_for("iteration", iteration)
        world.send(signal.SIGKILL, 0, 1)
        assert world.codes() == [-signal.SIGKILL] * 2
    with nursery.world(*args, str(after)) as world:
        assert world.codes() == [0, 0], world.errors
    for rank, seen in enumerate(world.said("seen")):
        first = seen[0][0]
        assert iteration - 3 <= first - 1  # the save behind it may not have been complete
        assert seen == whole[rank][first - 1 :]
        if not after:  # it can tell what it read
            assert world.said("decoded")[rank] == 4 * len(seen)
