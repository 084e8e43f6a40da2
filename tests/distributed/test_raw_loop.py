"""Raw loops in several processes come to what one process comes to, stop as one, and go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed import raw_loop
from tests.distributed.launching import free_port, surroundings
from tests.distributed.processes import Nursery, World

HERE = "tests.distributed.raw_loop"
pytestmark = pytest.mark.covers("C13")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(HERE, tmp_path_factory.mktemp("said")) as nursery:
        yield nursery


# ---------------------------------------------------------------------- what they come to


@pytest.mark.parametrize("case", raw_loop.CASES)
def test_two_processes_are_one_with_all_samples(world: Any, case: str) -> None:
    told = world(2).call(f"{HERE}:trained", case)
    alone = raw_loop.trained(case)
    if torch.distributed.is_initialized():  # shards are of a group, if of one process
        torch.distributed.destroy_process_group()
    assert told[0]["weights"] == told[1]["weights"], "the processes differ from each other"
    assert told[0]["steps"] == alone["steps"] > 0
    assert told[0]["names"] == alone["names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    loose = {"rtol": 3e-2, "atol": 3e-2} if case == "half" else {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(told[0]["losses"], alone["losses"], **loose)
    for theirs, own in zip(told[0]["weights"], alone["weights"], strict=True):
        torch.testing.assert_close(torch.tensor(theirs), torch.tensor(own), **loose)


def test_three_processes_are_told_by_fabrics_names(world: Any) -> None:
    told = world(3).call(f"{HERE}:told")
    assert [one.pop("printed") for one in told] == ["once\n", "", ""]
    assert [one.pop("who") for one in told] == [[n, n, 3, not n] for n in range(3)]
    assert all("of the same shape and type" in one.pop("refused") for one in told)
    assert told[0] == told[1] == told[2]
    assert told[0] == {
        "gathered": [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[0, 1, 2], [True, True, True]]],
        "summed": 6.0,
        "counted": [3, 0],
        "mean": 1.0,
        "broadcast": {"from": 0},
        "moved": "cpu",
    }


def test_other_loaders_are_whole_or_shared_out(world: Any) -> None:
    told = world(2).call(f"{HERE}:evaluated")
    assert told == [[55, 28, 55, 28], [55, 27, 55, 28]]


def test_all_take_as_many_batches(world: Any) -> None:
    assert world(2).call(f"{HERE}:uneven") == [3, 3]


def test_models_of_different_shapes_are_refused_in_all(world: Any) -> None:
    for said in world(2).call(f"{HERE}:disagreeing"):
        assert "parameters of the model: ['weight (1, 1)'" in said


# ---------------------------------------------------------------------- out of step


@pytest.mark.parametrize("whose", ["model", "loop.model"])
def test_a_step_by_hand_is_refused_among_several(world: Any, whose: str) -> None:
    for said, unchanged in world(2).call(f"{HERE}:by_hand", whose):
        assert "SGD.step() was called by hand" in said
        assert "call loop.update(loss) in place of" in said
        assert unchanged


@pytest.mark.parametrize("how", raw_loop.OUT_OF_STEP)
def test_one_that_falls_out_of_step_is_told_of_by_the_other(nursery: Nursery, how: str) -> None:
    with nursery.world(how) as world:
        assert world.wait(0) == 1
        world.wait(1)
    rule = "for each batch all of them call update(), or none does; all leave an epoch behind"
    assert world.errors[0].count(rule) == 1, world.errors[0]


# ---------------------------------------------------------------------- going on


@pytest.mark.parametrize("case", ["called", "window", "shards"])
def test_they_go_on_to_the_same_bits(world: Any, tmp_path: Path, case: str) -> None:
    assert world(2).call(f"{HERE}:went_on", str(tmp_path), case, 9) == [[True, True]] * 2


def test_another_number_of_processes_goes_on_without_losing_a_sample(
    world: Any, tmp_path: Path
) -> None:
    before = world(2).call(f"{HERE}:seen_by", str(tmp_path), 2)
    behind = world(3).call(f"{HERE}:seen_by", str(tmp_path), None)
    assert sorted(one for each in (*before, *behind) for one in each) == list(range(26))


# ---------------------------------------------------------------------- one script, unchanged


def start(nursery: Nursery, folder: Path) -> World:
    folder.mkdir(exist_ok=True)
    return nursery.world(str(folder))


def printed(world: World) -> list[list[list[str]]]:
    """The lines of each process."""
    return [lines_of(one) if one.exists() else [] for one in world._files]


def lines_of(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()]


def wait_for_lines(world: World, count: int) -> None:
    until = time.monotonic() + 60
    while min(map(len, printed(world))) < count:
        assert time.monotonic() < until, world.errors
        time.sleep(0.002)


@pytest.fixture(scope="module")
def unbroken(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> list[list[list[str]]]:
    with start(nursery, tmp_path_factory.mktemp("unbroken")) as world:
        assert world.codes() == [0, 0], world.errors
    lines = printed(world)
    assert lines[0][-1] == lines[1][-1]  # the weights
    assert [len(one) for one in lines] == [16, 16]
    return lines


@pytest.mark.covers("I7")
def test_sigterm_to_one_saves_behind_a_batch_in_all(
    nursery: Nursery, tmp_path: Path, unbroken: list[list[list[str]]]
) -> None:
    with start(nursery, tmp_path) as world:
        wait_for_lines(world, 7)
        world.send(signal.SIGTERM, 1)
        assert world.codes() == [143, 143], world.errors
    before = printed(world)
    assert len(before[0]) == len(before[1]) < 15
    assert [one.name[:8] for one in tmp_path.iterdir()] == [f"{len(before[0]):08d}"]
    with start(nursery, tmp_path) as world:
        assert world.codes() == [0, 0], world.errors
    behind = printed(world)
    assert [one + other for one, other in zip(before, behind, strict=True)] == unbroken


def test_processes_that_are_killed_go_on_to_the_same_bits(
    nursery: Nursery, tmp_path: Path, unbroken: list[list[list[str]]]
) -> None:
    with start(nursery, tmp_path) as world:
        wait_for_lines(world, 7)
        world.send(signal.SIGKILL, 0, 1)
        assert world.codes() == [-9, -9]
    with start(nursery, tmp_path) as world:
        assert world.codes() == [0, 0], world.errors
    assert printed(world) == [one[5:] for one in unbroken]


def test_torchrun_runs_it_as_it_is(tmp_path: Path, unbroken: list[list[list[str]]]) -> None:
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launched += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    launched += ["--redirects", "1", "--log-dir", str(tmp_path / "logs")]
    script = ["-m", "tests.recipes.raw_loop_ported", str(tmp_path / "checkpoints")]
    ended = subprocess.run(
        [*launched, *script], check=False, env=surroundings(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert [lines_of(one) for one in sorted(tmp_path.glob("logs/**/stdout.log"))] == unbroken
