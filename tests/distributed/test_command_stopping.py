"""The command in several processes that are stopped, killed, and started again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from footplate.engine.checkpoints.finding import find
from tests.distributed.commanding import BOUND, FAULT, OURS, TORCHRUN, run_of, train, waited


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


@pytest.mark.slow
@pytest.mark.covers("I1")
def test_torchrun_starts_them_again(tmp_path):
    faults = ("model.fault=kill", f"model.once={tmp_path / 'killed'}", "model.at=5")
    again = (*TORCHRUN, "--max-restarts=1")
    done = waited(train(tmp_path, *faults, launcher=again))
    assert done.code == 0, done.err
    assert done.err.count("started again (1), and go on from") == 1
    assert find(run_of(tmp_path)).name.startswith("00000008")


@pytest.mark.covers("I7")
@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, marks=pytest.mark.slow),
    ],
)
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
