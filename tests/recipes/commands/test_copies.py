"""Copies of the recipes, run where nothing of the checkout lies beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.make_loss_curves import RECIPES
from tests.recipes.commands.calling import called, called_outside, run_in

SHORT = ("train_cfg.max_epochs=1", "train_dataloader.batches=2", "train_dataloader.at_once=2")


def run(script: str, folder: Path, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, script, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.covers("H6")
@pytest.mark.parametrize("name", RECIPES)
def test_a_copied_script_trains(tmp_path, name):
    if name == "reinforcement_learning":
        pytest.importorskip("gymnasium")
    assert called("copy", name, tmp_path).exit_code == 0
    run(f"{name}.py", tmp_path, *RECIPES[name], "--folder", "runs")
    (report,) = tmp_path.glob("runs/*/report.html")
    assert report.with_name("run.json").is_file()
    assert list(report.parent.glob("checkpoints/*/manifest.json"))


@pytest.mark.slow
@pytest.mark.covers("H6")
def test_a_copied_configuration_trains_what_was_changed_as_it_was_told_how_to(tmp_path):
    pytest.importorskip("gymnasium")
    name = "reinforcement_learning"
    told = called("copy", name, tmp_path).stderr
    assert f"write {name}. in place of footplate.recipes.{name}." in " ".join(told.split())
    script, config = tmp_path / f"{name}.py", tmp_path / f"{name}.yaml"
    script.write_text(script.read_text().replace("**parts}", '"mine": actor, **parts}'))
    config.write_text(config.read_text().replace(f"footplate.recipes.{name}.", f"{name}."))
    done = called_outside("train", config.name, *SHORT, folder=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert '"mine"' in (run_in(tmp_path) / "scalars.jsonl").read_text()
