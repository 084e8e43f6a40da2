"""The recipe of image classification in two processes, replicated and in shards."""

from __future__ import annotations

import json
import re

import pytest

from tests.recipes.two_processes import (
    command,
    killed_behind_a_checkpoint,
    printed,
    script,
    weights,
)

pytestmark = pytest.mark.covers("K1")

SCRIPT = [*script("image_classification"), "--folder", "runs"]
ALONE = command("image_classification", "default_hooks.report=null")
WAYS = {"ddp": (), "fsdp": ("model_wrapper_cfg={type: fsdp, min_parameters: 1000}",)}


def test_the_script_runs_in_two_processes_as_one(tmp_path):
    out = printed([*SCRIPT, "--epochs", "1"], tmp_path)
    assert out.count("The run's files are in") == 1
    assert out.count("train [1/1]  loss_epoch") == 1
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert "test accuracy" in (run / "report.html").read_text()


@pytest.mark.slow
def test_the_script_reaches_in_two_processes_what_it_does_in_one(tmp_path):
    out = printed(SCRIPT, tmp_path)
    assert float(re.search(r"test accuracy +│ +([\d.]+)%", out).group(1)) >= 98


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_configuration_reaches_in_two_processes_what_it_does_in_one(tmp_path, way):
    commands = {"one": ALONE, "two": [*ALONE, "--nproc", "2", *WAYS[way]]}
    one, two = (
        float(re.findall(r"val_accuracy ([\d.]+)", printed(run, tmp_path / name))[-1])
        for name, run in commands.items()
    )
    assert min(one, two) >= 0.975
    assert two == pytest.approx(one, abs=0.015)


@pytest.mark.slow
def test_the_script_resumes_in_two_processes_to_the_same_weights(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    printed([*SCRIPT, "--epochs", "3"], whole)
    killed_behind_a_checkpoint([*SCRIPT, "--epochs", "3"], broken)
    assert "resuming from" in printed([*SCRIPT, "--resume"], broken)
    assert weights(broken) == weights(whole)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_configuration_resumes_in_two_processes_to_the_same_weights(tmp_path, way):
    run = [*ALONE, "--nproc", "2", *WAYS[way], "train_cfg.max_epochs=3"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    printed(run, whole)
    killed_behind_a_checkpoint(run, broken)
    printed([*run, "--resume"], broken)
    assert weights(broken) == weights(whole)
