"""Processes that are killed at any moment, amid a save too: what was there before still loads."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate import load_checkpoint
from tests.distributed.processes import Nursery

HERE = "tests.distributed.checkpointing"
KINDS = ["replicated", "sharded"]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(HERE, tmp_path_factory.mktemp("said")) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each process of an unbroken run comes to, by kind."""
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        with nursery.world(str(folder), "--kind", kind) as world:
            assert world.codes() == [0, 0], world.errors
        found[kind] = world.said("digest")
    return found


def check_goes_on(nursery: Nursery, folder: Path, kind: str, whole: dict[str, list[str]]) -> str:
    with nursery.world(str(folder), "--kind", kind) as world:
        assert world.codes() == [0, 0], world.errors
    assert world.said("digest") == whole[kind]
    run = load_checkpoint(folder).manifest.run  # another was begun if none had been saved yet
    assert not [*(folder / "checkpoints").glob(f".*{run}*.part")], "something is left behind"
    first, second = world.said("from")
    assert first == second
    return str(first)


@pytest.mark.covers("G2", "G4", "I6")
@pytest.mark.parametrize(
    ("kind", "background"),
    [
        ("replicated", False),
        ("sharded", True),
        pytest.param("replicated", True, marks=pytest.mark.slow),
        pytest.param("sharded", False, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment(
    nursery: Nursery, tmp_path: Path, whole: dict[str, list[str]], kind: str, background: bool
) -> None:
    options = ["--kind", kind, "--pause", "0.02", *["--background"] * background]
    by_chance = random.Random(f"{kind} {background}")
    for _ in range(3):
        with nursery.world(str(tmp_path), *options) as world:
            world.wait_for("iteration", by_chance.randint(1, 4) + _begun(tmp_path))
            victims = by_chance.choice([(0,), (1,), (0, 1)])
            world.send(signal.SIGKILL, *victims)
            codes = world.codes()
        assert all(codes[rank] == -signal.SIGKILL for rank in victims)
        assert all(codes), "a process went on alone"
    check_goes_on(nursery, tmp_path, kind, whole)


def _begun(folder: Path) -> int:
    """The iteration that a run goes on from."""
    try:
        return load_checkpoint(folder).manifest.iteration
    except ValueError:
        return 0


@pytest.mark.covers("G2", "I6")
@pytest.mark.parametrize(
    ("kind", "rank", "file"),
    [
        ("replicated", 1, "state-00001.pt"),
        ("replicated", 0, "state.pt"),
        ("replicated", 0, "manifest.json"),
        ("sharded", 1, "shards-00001"),
        ("sharded", 0, "shards.json"),
    ],
)
def test_killed_amid_a_save(
    nursery: Nursery, tmp_path: Path, whole: dict[str, list[str]], kind: str, rank: int, file: str
) -> None:
    options = ["--kind", kind, "--kill", f"{rank}:{file}:4"]
    with nursery.world(str(tmp_path), *options) as world:
        codes = world.codes()
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] not in (0, -signal.SIGKILL)
    assert load_checkpoint(tmp_path).manifest.iteration == 3
    assert check_goes_on(nursery, tmp_path, kind, whole) == "00000003"


@pytest.mark.covers("G3", "I6")
def test_one_that_hangs_in_the_background_does_not_hold_the_others(
    nursery: Nursery, tmp_path: Path
) -> None:
    options = ["--background", "--timeout", "3", "--kill", "1:state-00001.pt:3", "--how", "SIGSTOP"]
    with nursery.world(str(tmp_path), *options) as world:
        world.wait_for("iteration", 2)
        begun = time.monotonic()
        assert world.wait(0) not in (0, -signal.SIGKILL)
        assert time.monotonic() - begun < 30
        world.send(signal.SIGKILL, 1)
        world.codes()
    assert load_checkpoint(tmp_path).manifest.iteration == 2
