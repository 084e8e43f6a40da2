"""One signal to one process: all stop at the same iteration, save, and go on to the same bits."""

import os
import signal
import time

import pytest

from tests.distributed.processes import Nursery

HERE = "tests.distributed.stopping"
SLURM = {"SLURM_JOB_ID": "417", "SLURM_LOCALID": "0"}
ENDLESS = ("--epochs", "1000", "--pause", "0.005")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with Nursery(HERE, tmp_path_factory.mktemp("said")) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def world(nursery):
    """Starts two processes that train in a folder."""
    return lambda folder, *args, **environment: nursery.world(str(folder), *args, **environment)


@pytest.fixture(scope="module")
def unbroken(world, tmp_path_factory):
    """The weights of a run of two epochs that nothing stops."""
    with world(tmp_path_factory.mktemp("unbroken")) as processes:
        assert processes.codes() == [0, 0]
    return processes.said("weights")


@pytest.mark.covers("I7")
def test_a_signal_to_one_stops_all_and_the_resume_is_exact(world, tmp_path, unbroken):
    with world(tmp_path, "--pause", "0.02") as processes:
        processes.wait_for("iteration", 17)
        processes.send(signal.SIGTERM, 1)
        assert processes.codes() == [143, 143]
    first, second = processes.said("saved")
    assert first == second < 80
    with world(tmp_path, "--resume") as processes:
        assert processes.codes() == [0, 0]
    assert processes.said("iterations") == [80, 80]
    assert processes.said("weights") == unbroken


@pytest.mark.covers("I7", "A8")
def test_ctrl_c_to_all_is_a_keyboard_interrupt_at_one_iteration(world, tmp_path):
    with world(tmp_path, *ENDLESS) as processes:
        processes.wait_for("iteration", 17)
        processes.send(signal.SIGINT, 0, 1)
        time.sleep(0.05)
        processes.send(signal.SIGINT, 0, 1)  # a launcher hands on what its group was sent
        assert processes.codes() == [130, 130]
    first, second = processes.said("saved")
    assert first == second > 0


@pytest.mark.covers("I7", "A8")
def test_a_second_signal_is_raised_at_once(world, tmp_path):
    with world(tmp_path, "--epochs", "9", "--pause", "1", "--case", "slow") as processes:
        processes.wait_for("iteration", 2)
        processes.send(signal.SIGTERM, 0, 1)
        time.sleep(0.2)
        sent = processes.send(signal.SIGINT, 0, 1)
        assert processes.codes() == [130, 130]
    assert max(processes.ended) - sent < 2
    assert processes.said("saved") == [None, None]


@pytest.mark.covers("I7")
def test_a_nested_evaluation_is_finished_before_all_stop(world, tmp_path):
    with world(tmp_path, *ENDLESS, "--case", "evaluates") as processes:
        processes.wait_for("evaluates", rank=1)
        processes.send(signal.SIGTERM, 1)
        assert processes.codes() == [143, 143]
    assert processes.said("evaluated") == [10, 15]  # each its own share
    first, second = processes.said("saved")
    assert first == second


@pytest.mark.covers("I7", "B5")
def test_the_time_of_one_process_ends_all(world, tmp_path):
    with world(tmp_path, *ENDLESS, "--case", "limit") as processes:
        assert processes.codes() == [0, 0]
    assert processes.said("reason") == ["terminated", "terminated"]
    first, second = processes.said("iterations")
    assert first == second


@pytest.mark.covers("I7")
@pytest.mark.parametrize(
    ("signum", "environment", "told"),
    [(signal.SIGUSR1, SLURM, "requeue 417\n"),
     (signal.SIGUSR1, {**SLURM, "SLURM_ARRAY_JOB_ID": "400", "SLURM_ARRAY_TASK_ID": "3"},
      "requeue 400_3\n"),
     (signal.SIGTERM, SLURM, None)],
    ids=["a job", "a task of an array", "another signal"],
)  # fmt: skip
def test_the_first_process_asks_slurm_to_run_the_job_again(
    world, tmp_path, signum, environment, told
):
    control, note = tmp_path / "scontrol", tmp_path / "told"
    control.write_text(f'#!/bin/sh\nls "{tmp_path}" | grep -c "rank.*pt" >> "{tmp_path}/saves"\n'
                       f'echo "$@" >> "{note}"\n')  # fmt: skip
    control.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with world(tmp_path, *ENDLESS, PATH=path, **environment) as processes:
        processes.wait_for("iteration", 4)
        processes.send(signum, 1)
        assert processes.codes() == [128 + signum] * 2
    assert processes.said("saved")[0] == processes.said("saved")[1]
    assert (note.read_text() if note.exists() else None) == told
    if told:
        assert (tmp_path / "saves").read_text().strip() in ("1", "2")


@pytest.mark.covers("I7")
def test_a_job_that_slurm_does_not_take_back_has_stopped_all_the_same(world, tmp_path):
    control = tmp_path / "scontrol"
    control.write_text("#!/bin/sh\necho 'Invalid job id specified' >&2\nexit 1\n")
    control.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with world(tmp_path, *ENDLESS, PATH=path, **SLURM) as processes:
        processes.wait_for("iteration", 4)
        processes.send(signal.SIGUSR1, 0)
        assert processes.codes() == [138, 138]
    assert "the job is not run again: scontrol requeue 417 said: Invalid job" in processes.errors[0]
    assert "not run again" not in processes.errors[1]
