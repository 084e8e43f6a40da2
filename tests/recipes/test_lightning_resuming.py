"""Runs of LightningModules that are killed, and go on to the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from tests.recipes.lightning_run import train

pytestmark = pytest.mark.covers("C4")
ROOT = Path(__file__).parents[2]


def kill(name, folder, at):
    """Have a process of its own train, and kill itself."""
    command = [sys.executable, "-m", "tests.recipes.lightning_run", name, str(folder)]
    command += ["--kill-at", str(at)]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize(
    ("name", "at"),
    [("Accumulated", 16), ("Gan", 13), ("Gathered", 14)],  # each amid an epoch and a window
)
def test_a_killed_run_goes_on_to_the_same_bits(name, at, tmp_path):
    unbroken = train(name, tmp_path / "unbroken")
    kill(name, tmp_path / "cut", at)
    assert train(name, tmp_path / "cut", resume=True) == unbroken
