"""One process fails, is killed, or hangs: none is left behind, and what came first can be read."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.distributed.launching import free_port, surroundings
from tests.distributed.processes import Nursery

HERE = "tests.distributed.stopping"
ENDLESS = ("--epochs", "1000", "--pause", "0.002")
TIMEOUT, GRACE = 3, 1


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with Nursery(HERE, tmp_path_factory.mktemp("said")) as nursery:
        yield nursery


@pytest.fixture
def failing(nursery, tmp_path):
    """Starts two processes, of which one will suffer what a case says, at iteration 12."""

    def start(case, timeout=60):
        limits = ("--timeout", str(timeout), "--grace", str(GRACE))
        return nursery.world(str(tmp_path), "--case", case, *ENDLESS, *limits)

    return start


@pytest.fixture
def resumed(nursery, tmp_path):
    """Goes on from what was saved before the fault."""

    def start():
        with nursery.world(str(tmp_path), "--resume", "--epochs", "1") as world:
            assert world.codes() == [0, 0], world.errors
        return world.said("iterations")

    return start


@pytest.mark.covers("I6")
def test_an_error_in_one_ends_all_and_is_told_from_those_that_it_brings_about(failing, resumed):
    with failing("raises") as world:
        world.wait_for("iteration", 12, rank=1)
        raised = time.monotonic()
        assert world.codes(30) == [1, 1]
    assert max(world.ended) - raised < 30
    other, own = world.errors
    assert "ValueError: the labels of rank 1 are wrong" in own
    assert "another process has ended" not in own
    assert "another process has ended, which is why this one failed" in other
    assert resumed() == [40, 40]


@pytest.mark.covers("I6")
def test_no_collective_is_called_behind_an_error(failing):
    with failing("raises") as world:
        world.codes(30)
    for before, behind in world.said("collectives"):
        assert before  # there are some in a run
        assert behind == before


@pytest.mark.covers("I6")
def test_one_that_is_killed_takes_the_others_with_it(failing, resumed):
    with failing("killed") as world:
        world.wait_for("iteration", 12, rank=1)
        killed = time.monotonic()
        assert world.codes(30) == [1, -9]
    assert max(world.ended) - killed < 30
    assert "another process has ended" in world.errors[0]
    assert resumed() == [40, 40]


@pytest.mark.covers("I6")
@pytest.mark.parametrize("case", ["sleeps", pytest.param("stopped", marks=pytest.mark.slow)])
def test_others_wait_no_longer_than_the_timeout_for_one_that_hangs(failing, resumed, case):
    with failing(case, TIMEOUT) as world:
        world.wait_for("iteration", 12, rank=1)
        hung = time.monotonic()
        assert world.wait(0, 30) == 1
        assert time.monotonic() - hung < TIMEOUT + 20
        assert "another process did not come" in world.errors[0]
        world.send(signal.SIGTERM, 1)  # as a launcher does now
        if case == "stopped":  # nothing of it runs, whatever it is sent
            world.send(signal.SIGKILL, 1)
        assert world.wait(1, 30) == (143 if case == "sleeps" else -9)
    if case == "sleeps":
        assert "was told to stop by SIGTERM, and came to no safe point in 1 s" in world.errors[1]
        assert re.search(r"stopping.py.*in fault", world.errors[1])
    assert resumed() == [40, 40]


@pytest.mark.covers("I6")
def test_one_that_waits_in_a_collective_is_ended_when_it_was_told_to_stop(failing):
    with failing("sleeps") as world:
        world.wait_for("iteration", 12, rank=1)
        time.sleep(0.2)  # the other waits for it now, in C++
        told = world.send(signal.SIGTERM, 0)
        assert world.wait(0, 30) == 143
        assert GRACE <= time.monotonic() - told < 30
    assert "came to no safe point" in world.errors[0]


# ------------------------------------------------------------------ under torchrun


def torchrun(folder, *args):
    """The launcher, with two processes."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", str(free_port())),
            *("-m", HERE, str(folder), *args),
        ],
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def saying(process, what, value):
    """Read what the processes say until one has said something."""
    for line in process.stdout:
        if line.startswith("[") and json.loads(line) == [what, value]:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.covers("I6", "I1")
def test_torchrun_ends_one_that_hangs_within_timeout_and_grace(tmp_path):
    limits = ("--timeout", str(TIMEOUT), "--grace", str(GRACE))
    with torchrun(tmp_path, "--case", "sleeps", *ENDLESS, *limits) as process:
        saying(process, "iteration", 12)
        begun = time.monotonic()
        _, errors = process.communicate(timeout=40)
        assert process.returncode != 0
        assert time.monotonic() - begun < TIMEOUT + 20
    assert "came to no safe point" in errors


@pytest.mark.covers("I7", "I1")
def test_torchrun_hands_on_what_it_is_told_and_all_save_once(tmp_path):
    with torchrun(tmp_path, *ENDLESS) as process:
        saying(process, "iteration", 12)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=40)
        assert process.returncode != 0, errors
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    saved = [value for what, value in lines if what == "saved"]
    assert len(saved) == 2, errors
    assert saved[0] == saved[1]
