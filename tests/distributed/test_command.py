"""The command in several processes: launched by itself, by torchrun, mpirun and srun."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from footplate.engine.checkpoints.finding import find
from tests.distributed import slurm
from tests.distributed.commanding import COMMAND, run_of, started, waited
from tests.recipes.commands.calling import called

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2")
SRUN = ("srun", "-n", "2", "--overcommit", "--kill-on-bad-exit=1")
OURS = ("--nproc", "2")
FAULT = "ArithmeticError: the third batch is bad"
BOUND = 30  # seconds from a fault to the end


def train(folder, *options, launcher=(), **environment):
    command = [*launcher, *COMMAND] if launcher[:1] != TORCHRUN[:1] else [*launcher, *COMMAND[1:]]
    return started([*command, "train", "task.yaml", *options], folder, **environment)


def check_one_writer(folder, done):
    """One process has printed, and written, and there were two."""
    assert done.code == 0, done.err
    assert done.out.count("The run's files are in") == 1
    assert done.out.count("environment:") == 1
    assert done.out.count("train [2/2]  lr") == 1
    run = run_of(folder)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processes"] == 2
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]  # of each epoch once
    assert (run / "run.log").read_text().count("train [2/2]  lr") == 1
    assert find(run).name.startswith("00000008")  # 16 samples, of two processes two at a time


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, waited(train(folder, *OURS))


@pytest.mark.covers("I1", "H6")
def test_nproc_trains_in_several_processes_with_one_console(trained):
    folder, done = trained
    check_one_writer(folder, done)
    assert done.err == ""


@pytest.mark.covers("I1")
def test_a_run_of_several_processes_is_one_of_one(trained):
    folder, _ = trained
    run = run_of(folder)
    before = len(list((folder / "work_dirs").iterdir()))
    more = f"train_cfg.max_epochs=3 resume={run}".split()
    done = waited(train(folder, *more))
    assert done.code == 0, done.err
    assert "train [3/3]" in done.out
    assert len(list((folder / "work_dirs").iterdir())) == before


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    "launcher",
    [
        TORCHRUN,
        pytest.param(
            MPIRUN,
            marks=pytest.mark.skipif(
                shutil.which("mpirun") is None, reason="apt-get install openmpi-bin"
            ),
        ),
    ],
    ids=["torchrun", "mpirun"],
)
def test_others_launch_it(launcher, tmp_path):
    check_one_writer(tmp_path, waited(train(tmp_path, launcher=launcher)))


@pytest.mark.covers("I1")
@pytest.mark.skipif(bool(slurm.why_not()), reason=slurm.why_not())
def test_srun_launches_it_and_ends_it_behind_an_error(tmp_path):
    daemons, good, bad = (tmp_path / name for name in ("daemons", "good", "bad"))
    for one in (daemons, good, bad):
        one.mkdir()
    with slurm.cluster(daemons) as environment:
        check_one_writer(good, waited(train(good, launcher=SRUN, **environment)))
        done = waited(train(bad, "model.fault=raise", launcher=SRUN, **environment))
    assert done.code != 0
    assert done.seconds < BOUND + 15  # it starts within that
    assert done.err.count(FAULT) == 1
    assert "rank 1: Traceback" in done.err
    first, _, _ = done.err.partition("rank 1: Traceback")
    assert "Traceback" not in first


# ---------------------------------------------------------------------- faults


@pytest.mark.covers("I6")
@pytest.mark.parametrize("rank", [0, 1])
def test_the_error_of_the_first_that_fails_is_what_is_read(rank, tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=raise", f"model.rank={rank}"))
    assert done.code == 1
    assert done.seconds < BOUND
    assert done.err.startswith(f"rank {rank} of 2: Traceback (most recent call last):\n")
    assert done.err.count("Traceback") == done.err.count(FAULT) == 1
    assert "closed by peer" not in done.out + done.err
    assert find(run_of(tmp_path)) is not None  # of before the fault, and whole


@pytest.mark.covers("I6")
def test_torchrun_shows_the_first_error_too(tmp_path):
    done = waited(train(tmp_path, "model.fault=raise", launcher=TORCHRUN))
    assert done.code == 1
    assert done.seconds < BOUND
    *_, cause = done.err.partition("Root Cause")
    assert "rank      : 1" in cause
    assert done.out.count(FAULT) + done.err.count(FAULT) == cause.count(FAULT) == 1


@pytest.mark.covers("I6")
def test_a_process_that_is_killed_ends_all(tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=kill"))
    assert done.code == 1
    assert done.seconds < BOUND
    assert done.err == "rank 1 of 2: it was ended by SIGKILL, and wrote no error\n"
    assert find(run_of(tmp_path)) is not None


@pytest.mark.covers("I6")
@pytest.mark.parametrize("code", [7, 143])  # the other as if a signal had stopped it
def test_a_process_that_ends_without_a_word_is_quoted(code, tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=exit", f"model.code={code}"))
    assert done.code == 1
    assert done.err == f"rank 1 of 2: it ended with {code}, and wrote no error\nlast words\n"


@pytest.mark.covers("I6")
def test_where_one_hangs_is_shown(tmp_path):
    hook = "custom_hooks=[{type: StopTogether, grace: 2}]"
    hung = ("model.fault=hang", "env_cfg.dist_cfg.timeout=3", hook)
    done = waited(train(tmp_path, *OURS, *hung))
    assert done.code == 1
    assert "rank 1: process" in done.err
    assert "in _fail" in done.err
    assert "rank 0 of 2: Traceback" in done.err


def test_a_wrong_configuration_is_told_once(tmp_path):
    done = waited(train(tmp_path, *OURS, "optim_wrapper.optimizer.lrr=1"))
    assert done.code == 1
    assert done.err.count("Did you mean 'lr'?") == 1
    assert "Traceback" not in done.err
    assert not (tmp_path / "work_dirs").exists()


def test_data_of_other_lengths_are_told_before_training(tmp_path):
    data = "train_dataloader.dataset.type=tests.distributed.task.OwnLength"
    done = waited(train(tmp_path, *OURS, data))
    assert done.code == 1
    assert "samples to train with: [10] on rank 0; [11] on rank 1" in done.err
    assert "train [" not in done.out


# ---------------------------------------------------------------------- going on, and stopping


@pytest.mark.covers("I1", "I6")
def test_processes_that_are_started_again_go_on(tmp_path):
    faults = ("model.fault=raise", f"model.once={tmp_path / 'failed'}", "model.at=5")
    other = tmp_path / "work_dirs" / "20200101_000000"  # of another run in the same place
    other.mkdir(parents=True)
    done = waited(train(tmp_path, *OURS, *faults, "--restarts", "1"))
    assert done.code == 0, done.err
    (run,) = (one for one in (tmp_path / "work_dirs").iterdir() if one != other)
    assert done.err.count("started again (1), and go on from") == 1
    assert done.err.count(FAULT) == 1  # which is why
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert find(run).name.startswith("00000008")


@pytest.mark.covers("I1")
def test_torchrun_starts_them_again(tmp_path):
    faults = ("model.fault=kill", f"model.once={tmp_path / 'killed'}", "model.at=5")
    again = (*TORCHRUN, "--max-restarts=1")
    done = waited(train(tmp_path, *faults, launcher=again))
    assert done.code == 0, done.err
    assert done.err.count("started again (1), and go on from") == 1
    assert find(run_of(tmp_path)).name.startswith("00000008")


@pytest.mark.covers("I7")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_command_ends_all_with_its_code(signum, tmp_path):
    """Workers of a loader are spared, though a launcher signals whole groups of processes."""
    workers = "train_dataloader.num_workers=1"
    process = train(tmp_path, *OURS, workers, "model.seconds=0.2", "train_cfg.max_epochs=50")
    try:
        wait_for_a_checkpoint(tmp_path)
        process.send_signal(signum)
        done = waited(process)
    finally:
        process.kill()
    assert done.code == 128 + signum, done.err
    assert done.seconds < BOUND
    said = "Ctrl-C" if signum == signal.SIGINT else signum.name
    assert done.err.count(f"stopped by {said}") == 1
    assert "Traceback" not in done.err
    assert "train error" not in done.out
    saved = [one.name for one in run_of(tmp_path).glob("checkpoints/*")]
    assert not [one for one in saved if "inexact" in one]
    assert left(tmp_path) == []


@pytest.mark.covers("I6", "I7")
def test_a_save_that_fails_behind_a_signal_is_told(tmp_path):
    slow = ("model.seconds=0.2", "train_cfg.max_epochs=50")
    hook = "custom_hooks=[{type: tests.distributed.task.FullDisk, rank: 1}]"
    process = train(tmp_path, *OURS, *slow, hook)
    try:
        wait_for_a_checkpoint(tmp_path)
        (tmp_path / "full").touch()
        process.send_signal(signal.SIGTERM)
        done = waited(process)
    finally:
        process.kill()
    assert done.code == 1
    assert "OSError: no space left" in done.err


@pytest.mark.covers("I6")
def test_a_launcher_that_is_killed_leaves_nobody_behind(tmp_path):
    process = train(tmp_path, *OURS, "model.seconds=0.2", "train_cfg.max_epochs=50")
    try:
        wait_for_a_checkpoint(tmp_path)
        process.kill()
        end = time.monotonic() + BOUND
        while left(tmp_path) and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        process.kill()
        process.communicate()
    assert left(tmp_path) == []
    saved = [one.name for one in run_of(tmp_path).glob("checkpoints/*")]
    assert not [one for one in saved if "inexact" in one]


def wait_for_a_checkpoint(folder: Path) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob("work_dirs/*/checkpoints/*/manifest.json")):
        assert time.monotonic() < end
        time.sleep(0.1)


def left(folder: Path) -> list[str]:
    """Processes that still work in a folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(one / "cwd") == str(folder):
                found.append((one / "cmdline").read_text())
        except OSError:  # it is gone, or of somebody else
            continue
    return found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nodes", "2"), "--master node-1"),
        (("--nodes", "2", "--master", "localhost:abc"), "given 'localhost:abc'"),
        (("--nodes", "2", "--master", "localhost:70000"), "from 1 to 65535"),
        (("--nproc", "2", "--master", "localhost"), "give --nodes"),
    ],
)
def test_several_machines_have_to_know_where_they_meet(options, words):
    done = called("train", "task.yaml", *options)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_a_configuration_that_says_none_is_launched_nevertheless(tmp_path):
    check_one_writer(tmp_path, waited(train(tmp_path, *OURS, "launcher=none")))


def test_a_dry_run_says_that_it_starts_no_others(tmp_path):
    done = waited(train(tmp_path, *OURS, "--dry-run"))
    assert done.code == 0, done.err
    assert "--dry-run starts no other processes" in done.err


@pytest.mark.covers("I1")
def test_the_command_is_given_on_each_of_several_machines(tmp_path):
    """Two machines, of which both are this one."""
    from tests.distributed.launching import free_port

    both = ("--nodes", "2", "--master", f"127.0.0.1:{free_port()}")
    (tmp_path / "second").mkdir()
    first = train(tmp_path, *both, f"work_dir={tmp_path / 'work_dirs'}")
    second = train(tmp_path / "second", *both, f"work_dir={tmp_path / 'work_dirs'}")
    done = [waited(first), waited(second)]
    assert [one.code for one in done] == [0, 0], done
    assert sum(one.out.count("The run's files are in") for one in done) == 1
    assert json.loads((run_of(tmp_path) / "environment.json").read_text())["processes"] == 2
