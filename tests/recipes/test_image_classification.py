"""The digits recipe, run as people run it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.recipes.scripts import Script, run_of

RECIPE = Script("image_classification")

WITHOUT_SKLEARN = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
from footplate.recipes import image_classification
image_classification.typer.run(image_classification.main)
"""


@pytest.mark.slow
@pytest.mark.covers("K1")
def test_it_reaches_98_percent_and_leaves_its_files(tmp_path):
    output = RECIPE.printed(tmp_path)
    assert float(re.search(r"test accuracy +│ +([\d.]+)%", output).group(1)) >= 98.0
    run = run_of(tmp_path)
    assert output.endswith(f" s. The run's files are in {run}\n")
    files = (
        "checkpoints curves.png environment.json options.json phases.jsonl predictions.json "
        "report.html run.json scalars.jsonl tables.json tensorboard"
    )
    assert {path.name for path in run.iterdir()} == set(files.split())
    page = (run / "report.html").read_text()
    assert all(shown in page for shown in ("Handwritten digits", "val_accuracy", "test accuracy"))
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((run / "tensorboard").iterdir())
    scores = [
        json.loads((path / "manifest.json").read_text())["score"]
        for path in (run / "checkpoints").iterdir()
    ]
    assert max(scores) > 0.97


def last_of(folder: Path) -> tuple[str, dict]:
    """The digest of the weights and the optimizer's state after three epochs."""
    saved = run_of(folder) / "checkpoints" / "00000060"
    manifest = json.loads((saved / "manifest.json").read_text())
    state = torch.load(saved / "state.pt", weights_only=True)["engine"]
    optimization = state["footplate"]["handlers"]["optimization"]
    return manifest["files"]["model.safetensors"][1], optimization["optimizer"]["state"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    RECIPE.printed(folder, "--epochs", "3")
    return folder


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, unbroken, signum):
    stopped = RECIPE.stopped(tmp_path, "--epochs", "3", by=signum)
    assert "\ntrain [1/3]" in stopped.stdout  # told before the epoch's checkpoint is written
    if signum != signal.SIGKILL:
        assert "--resume goes on with its last checkpoint" in stopped.stdout
        assert "Traceback" not in stopped.stderr
    assert "resuming from" in RECIPE.printed(tmp_path, "--resume")

    (digest, state), (expected, expected_state) = last_of(tmp_path), last_of(unbroken)
    assert digest == expected
    for number, values in expected_state.items():
        assert all(torch.equal(state[number][name], value) for name, value in values.items())


def test_a_run_is_resumed_with_its_own_options_and_no_others(tmp_path):
    RECIPE.printed(tmp_path, "--epochs", "1", "--batch-size", "512")
    refused = RECIPE.ran(tmp_path, "--resume", "--seed", "1")
    assert refused.returncode == 2
    assert "seed" in refused.stderr
    assert "epoch 1" in RECIPE.printed(tmp_path, "--resume")
    assert json.loads((run_of(tmp_path) / "options.json").read_text())["batch_size"] == 512


def test_bad_data_and_a_missing_library_are_told_in_a_line_and_leave_no_run(tmp_path):
    script = [sys.executable, "-c", WITHOUT_SKLEARN]
    for command, said in (
        ([*RECIPE.command, "--data", "minst"], "Did you mean 'mnist'?"),
        (script, "pip install 'footplate[recipes]'."),
    ):
        ran = subprocess.run(
            [*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 1
        assert ran.stderr.rstrip().endswith(said)
        assert ran.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_its_options_are_explained(tmp_path):
    printed = RECIPE.printed(tmp_path, "--help")
    for option in ("--epochs", "--batch-size", "--lr", "--seed", "--resume", "--folder"):
        assert option in printed
