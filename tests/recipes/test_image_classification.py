"""The digits recipe, run as people run it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

RECIPE = [sys.executable, "-m", "footplate.recipes.image_classification"]


def recipe(folder: Path, *options: str) -> str:
    process = subprocess.run(
        [*RECIPE, "--folder", str(folder), *options], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def run_of(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


@pytest.mark.covers("K1")
def test_it_reaches_98_percent_and_leaves_its_files(tmp_path):
    output = recipe(tmp_path)
    assert float(re.search(r"test accuracy +│ +([\d.]+)%", output).group(1)) >= 98.0
    run = run_of(tmp_path)
    assert output.endswith(f"The run's files are in {run}\n")
    assert {path.name for path in run.iterdir()} == {"checkpoints", "curves.png", "tensorboard"}
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((run / "tensorboard").iterdir())
    scores = [
        json.loads((path / "manifest.json").read_text())["score"]
        for path in (run / "checkpoints").iterdir()
    ]
    assert max(scores) > 0.97


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    options = ["--epochs", "3"]
    recipe(tmp_path / "whole", *options)

    process = subprocess.Popen(
        [*RECIPE, "--folder", str(tmp_path / "cut"), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().startswith("train  epoch 1/3")
        deadline = time.monotonic() + 30  # the epoch's checkpoint is written behind the line
        while not list((tmp_path / "cut").glob("*/checkpoints/0*")):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    resumed = recipe(tmp_path / "cut", "--resume", *options)
    assert "resuming from" in resumed

    weights = [
        torch.load(run_of(tmp_path / name) / "checkpoints" / "00000060" / "state.pt")["others"]
        for name in ("whole", "cut")
    ]
    digests = [
        json.loads(
            (run_of(tmp_path / name) / "checkpoints" / "00000060" / "manifest.json").read_text()
        )["files"]["model.safetensors"]
        for name in ("whole", "cut")
    ]
    assert digests[0] == digests[1]
    assert str(weights[0]) == str(weights[1])


def test_its_options_are_explained():
    process = subprocess.run([*RECIPE, "--help"], capture_output=True, text=True, check=True)
    for option in ("--epochs", "--batch-size", "--lr", "--seed", "--resume", "--folder"):
        assert option in process.stdout
