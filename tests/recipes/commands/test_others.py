"""plan, recipes, copy and doctor."""

from __future__ import annotations

import pytest
import torch
import yaml

from tests.recipes.commands.calling import called


@pytest.mark.covers("H4", "H6")
def test_plan_says_where_each_value_came_from(tmp_path):
    done = called(
        "plan",
        "image_classification_averaged",
        "val_cfg.precision=bf16",
        "--sources",
        folder=tmp_path,
        COLUMNS="160",
        FOOTPLATE__RANDOMNESS__SEED="7",
    )
    assert done.exit_code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["val_cfg.precision", "bf16", "command", "line"] in rows
    assert ["randomness.seed", "7", "environment", "FOOTPLATE__RANDOMNESS__SEED"] in rows
    assert ["train_cfg.max_iters", "240", "image_classification_averaged.yaml"] in rows
    assert ["model.dropout", "0.2", "image_classification.yaml"] in rows


@pytest.mark.covers("A10", "H6")
def test_plan_shows_values_events_and_schedules_and_leaves_no_file(tmp_path):
    done = called("plan", "image_classification", folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    shown, _, events = done.stdout.partition("Who runs on which event of training:")
    assert yaml.safe_load(shown)["train_cfg"]["max_epochs"] == 12
    assert "Evaluation._evaluate" in events
    assert "Planned by iteration, 240 in all:" in events
    assert "to 3.0e-03" in events
    assert list(tmp_path.iterdir()) == []


def test_plan_draws_the_schedules(tmp_path):
    done = called("plan", "language_model", "--picture", "lr.png", folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "lr.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lr.png"]


def test_plan_says_that_there_is_nothing_to_draw(tmp_path):
    options = ("image_classification", "param_scheduler=null", "--picture", "lr.png")
    done = called("plan", *options, folder=tmp_path)
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
    assert "lr.png: there is nothing to draw" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_can_not_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    done = called("plan", "language_model", "--picture", "file/lr.png", folder=tmp_path)
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
    assert "drawn" not in done.stdout


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("options", [("--sources",), ()])
def test_no_line_of_a_plan_is_too_long(tmp_path, width, options):
    done = called("plan", "language_model", *options, folder=tmp_path, COLUMNS=str(width))
    assert max(map(len, done.stdout.splitlines())) <= width


@pytest.mark.covers("H6")
def test_recipes_are_listed_and_each_can_be_planned_and_copied(tmp_path):
    listed = called("recipes").stdout
    names = [line.split()[0] for line in listed.splitlines()[1:] if not line.startswith(" ")]
    assert {"image_classification", "image_generation", "language_model"} <= set(names)
    for name in names:
        assert called("copy", name, tmp_path / name).exit_code == 0
        assert (tmp_path / name / f"{name}.yaml").is_file()
        done = called("train", f"{name}.yaml", "--dry-run", "--safe", folder=tmp_path / name)
        assert done.exit_code == 0, done.stderr


@pytest.mark.covers("H6")
def test_copy_replaces_nothing_unless_told_to(tmp_path):
    done = called("copy", "image_classification_averaged", tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert {line.rpartition("/")[2] for line in done.stdout.splitlines()} == files
    assert files == {"image_classification_averaged.yaml", "image_classification.yaml"}
    (tmp_path / "image_classification.yaml").write_text("mine: 1\n")
    refused = called("copy", "image_classification", tmp_path)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert (tmp_path / "image_classification.yaml").read_text() == "mine: 1\n"
    assert called("copy", "image_classification", tmp_path, "--force").exit_code == 0
    assert (tmp_path / "image_classification.py").is_file()


@pytest.mark.covers("H6")
def test_doctor_tells_versions_devices_backends_and_libraries():
    shown = called("doctor").stdout
    assert torch.__version__ in shown
    assert "gloo  available" in shown
    assert "for logging to MLflow" in shown
    assert "cpu" in shown
