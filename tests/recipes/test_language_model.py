"""The language-model recipe, run as people run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from footplate.engine.nested import leaves

ROOT = Path(__file__).resolve().parents[2]
RECIPE = [sys.executable, "-m", "footplate.recipes.language_model"]
SHORT = f"--iterations 60 --length 16 --batch-size 4 --width 32 --text {ROOT / 'LICENSE'}".split()


def last(folder: Path) -> dict:
    """The states of the handlers behind the last iteration."""
    path = folder / "checkpoints" / "00000060" / "state.pt"
    return torch.load(path, weights_only=True)["engine"]["footplate"]["handlers"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    command = [*RECIPE, *SHORT, "--folder", str(folder)]
    return folder, subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.covers("B2")
def test_it_learns_by_iterations_and_writes_a_sample(unbroken):
    folder, printed = unbroken
    assert "\ndef " in printed
    bits = float(re.search(r"validation: ([\d.]+) bits a character", printed).group(1))
    assert bits < 6.5  # 7 bits without having learnt anything
    files = {"checkpoints", "curves.png", "scalars.jsonl", "run.json", "report.html"}
    assert {path.name for path in folder.iterdir()} >= files


@pytest.mark.covers("C12")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_resumes_to_the_same_weights_and_average(tmp_path, unbroken, signum):
    process = subprocess.Popen(
        [*RECIPE, *SHORT, "--folder", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / "checkpoints").glob("0000*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signum)
    process.wait()
    command = [*RECIPE, *SHORT, "--folder", str(tmp_path), "--resume"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "resuming from " in ran.stdout
    resumed, whole = last(tmp_path), last(unbroken[0])
    for name in ("ema", "optimization"):
        pairs = zip(leaves(resumed[name]), leaves(whole[name]), strict=True)
        for (path, one), (_, other) in pairs:
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, path


def test_a_width_that_heads_can_not_share_is_refused():
    ran = subprocess.run([*RECIPE, "--width", "30"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "4 divides it" in ran.stderr.replace("\n", " ")
