"""A run of MMCV's kind that is killed amid an epoch goes on to the bit."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[3]


def train(folder, unit, *options):
    """Run the child in a process of its own; returns its exit status."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.recipes.mmcv.child", str(folder), unit, *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def diary(folder):
    return (folder / "diary.txt").read_text().splitlines()


def numbers(folder):
    model, optimizer = torch.load(folder / "end.pt")
    return [*model.values(), *(one["momentum_buffer"] for one in optimizer["state"].values())]


@pytest.mark.covers("B1")
@pytest.mark.covers("B2")
@pytest.mark.parametrize(
    ("unit", "kill_at"), [pytest.param("epoch", 9, marks=pytest.mark.slow), ("iter", 16)]
)
def test_a_killed_run_goes_on_to_the_bit(tmp_path, unit, kill_at):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(whole, unit) == 0
    assert train(killed, unit, f"--kill-at={kill_at}") == -signal.SIGKILL
    before = diary(killed)
    assert len(before) == kill_at + 1
    assert train(killed, unit, "--resume") == 0
    # the last line is of the iteration that was killed, which is done again
    assert before[:-1] + diary(killed)[len(before) :] == diary(whole)
    assert before[-1] == diary(whole)[kill_at]
    for one, other in zip(numbers(killed), numbers(whole), strict=True):
        assert torch.equal(one, other)
