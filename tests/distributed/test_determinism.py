"""Runs of several processes that were killed come to the bits of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.distributed.launching import surroundings

SECONDS = 120


def started(folder: Path, processes: int = 2, *, pause: float = 0.0) -> subprocess.Popen[str]:
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [sys.executable, *command, "-m", "tests.distributed.killed_run", str(folder), str(pause)],
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(folder: Path) -> dict[str, Any]:
    process = started(folder)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    told: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return told


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished(tmp_path_factory.mktemp("unbroken"))


def wait_for_a_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + SECONDS
    while not list(folder.glob("killed/*/checkpoints/0*/manifest.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "no checkpoint was written"
        time.sleep(0.02)


@pytest.mark.covers("G4")
@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_all_are_killed_anywhere(tmp_path: Path, unbroken: dict[str, Any], seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(2):
        process = started(tmp_path, pause=0.05)
        wait_for_a_checkpoint(tmp_path, process)
        time.sleep(draw.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        for worker in psutil.process_iter(["cmdline"]):  # which have sessions of their own
            if str(tmp_path) in (worker.info["cmdline"] or []):
                worker.kill()
        process.communicate(timeout=SECONDS)
        assert not (tmp_path / "done.json").exists()
    assert finished(tmp_path) == unbroken


@pytest.mark.covers("I7")
def test_one_is_told_to_stop(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    process = started(tmp_path, pause=0.05)
    wait_for_a_checkpoint(tmp_path, process)
    workers = [
        one for one in psutil.Process(process.pid).children() if str(tmp_path) in one.cmdline()
    ]
    workers[1].send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "exitcode  : 143" in output, output
    assert finished(tmp_path) == unbroken
