"""The tabular recipe, run as people run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from footplate.recipes.tabular_regression import Members, part
from tests.recipes.commands.calling import called_outside, run_in
from tests.recipes.scripts import Script, run_of

RECIPE = Script("tabular_regression")
SHORT = ["--folds", "2", "--epochs", "40", "--members", "2"]
DONE = "00000002"  # the checkpoint behind both folds


def weights(checkpoint: Path) -> str:
    """The digest of what a checkpoint has of models."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    return manifest["files"]["model.safetensors"][1]


def shown(output: str, row: str) -> list[float]:
    """The numbers in a row of the table: of the network, and of ridge regression."""
    numbers = re.search(rf"{row} +│ +([\d.]+) +│ +([\d.]+)", output)
    return [float(number) for number in numbers.groups()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, RECIPE.printed(folder, *SHORT)


def test_it_leaves_its_files_and_one_report(unbroken):
    folder, output = unbroken
    run = run_of(folder)
    files = (
        "checkpoints fold-0 fold-1 options.json phases.jsonl predictions.json report.html run.json "
        "scalars.jsonl"
    )
    assert {path.name for path in run.iterdir()} == set(files.split())
    page = (run / "report.html").read_text()
    assert all(text in page for text in ("Diabetes", "test r2", "rmse"))
    (told,) = json.loads((run / "predictions.json").read_text()).values()
    assert told["engine"] == "test"
    folds = [shown(output, f"fold {fold}") for fold in (0, 1)]
    means = [sum(one) / 2 for one in zip(*folds, strict=True)]
    assert shown(output, "mean") == pytest.approx(means, abs=0.02)


def test_the_table_tells_of_patients_that_were_held_out_and_of_averaged_weights(unbroken):
    folder, output = unbroken
    for fold in (0, 1):
        lines = (run_of(folder) / f"fold-{fold}" / "scalars.jsonl").read_text().splitlines()
        told = [one["val_rmse"] for line in lines if "val_rmse" in (one := json.loads(line))]
        assert shown(output, f"fold {fold}")[0] == pytest.approx(told[-1], abs=0.006)


def test_ridge_regression_is_the_better_of_two_on_the_same_folds(unbroken):
    x, y = load_diabetes(return_X_y=True, scaled=False)
    cut = KFold(2, shuffle=True, random_state=0)
    scores = []
    for ridge in (Ridge(), RidgeCV(torch.logspace(-3, 3, 61).numpy())):
        model = make_pipeline(StandardScaler(), ridge)
        scores.append(-cross_val_score(model, x, y, cv=cut, scoring="neg_root_mean_squared_error"))
    best = min(scores, key=lambda one: one.mean())
    assert best.mean() < max(one.mean() for one in scores)
    told = [shown(unbroken[1], row)[1] for row in ("fold 0", "fold 1", "mean")]
    assert told == pytest.approx([*best, best.mean()], abs=0.006)


@pytest.mark.covers("K6", "C12")
@pytest.mark.parametrize("killed_in", [pytest.param("fold-0", marks=pytest.mark.slow), "fold-1"])
def test_a_killed_run_resumes_to_the_same_weights_and_trains_no_fold_again(
    tmp_path, unbroken, killed_in
):
    RECIPE.stopped(tmp_path, *SHORT, behind=f"*/{killed_in}/checkpoints/0*")
    run = run_of(tmp_path)
    assert not (run / "checkpoints" / DONE).exists()
    first = run / "fold-0" / "run.json"
    before = first.read_bytes()
    resumed = RECIPE.printed(tmp_path, "--resume")
    if killed_in == "fold-1":
        assert f"resuming from {run / 'checkpoints' / '00000001'}" in resumed.replace("\n", "")
        assert first.read_bytes() == before
    assert len(json.loads((run / killed_in / "run.json").read_text())["sessions"]) == 2

    whole = run_of(unbroken[0])
    assert weights(run / "checkpoints" / DONE) == weights(whole / "checkpoints" / DONE)
    for row in ("fold 0", "fold 1", "mean", "R2 of all"):
        assert shown(resumed, row) == shown(unbroken[1], row)


def test_a_run_that_is_over_shows_its_table_again(unbroken):
    folder, output = unbroken
    again = RECIPE.printed(folder, "--resume")
    assert shown(again, "mean") == shown(output, "mean")


def test_a_run_is_resumed_with_its_own_options_and_no_others(unbroken):
    refused = RECIPE.ran(unbroken[0], "--resume", "--cutting", "1")
    assert refused.returncode == 2
    assert "cutting" in refused.stderr


def test_its_configuration_trains_a_fold_in_the_same_way(tmp_path, unbroken):
    short = ["train_cfg.max_epochs=40", "model.members=2", "train_dataloader.data.fold=1"]
    folds = [
        f"{name}.folds=2" for name in ("model", "train_dataloader.data", "val_dataloader.data")
    ]
    done = called_outside(
        "train", "tabular_regression", *short, *folds, folder=tmp_path, OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    (ours,) = (run_in(tmp_path) / "checkpoints").glob("0*")
    (theirs,) = (run_of(unbroken[0]) / "fold-1" / "checkpoints").glob("0*")
    assert ours.name == theirs.name
    assert weights(ours) == weights(theirs)


def test_no_patient_is_in_both_parts_and_each_is_held_out_once():
    rows = [{tuple(x.tolist()) for x in part("test", fold)[0]} for fold in range(5)]
    assert sum(map(len, rows)) == len(set().union(*rows)) == 442
    for fold in range(5):
        seen = {tuple(x.tolist()) for x in part("train", fold)[0]}
        assert not seen & rows[fold]
        assert len(seen) + len(rows[fold]) == 442


def test_the_scale_is_that_of_the_samples_for_training():
    train = part("train", fold=3)
    model = Members(train, members=3, width=2)
    assert torch.equal(model.x_scale[0], train[0].mean(0))
    assert torch.equal(model.y_scale[1], train[1].std())
    said = model(train[0])
    assert said.shape == (len(train[1]), 3)
    torch.testing.assert_close(model.eval()(train[0]), said.mean(1))


@pytest.mark.slow
@pytest.mark.covers("K6")
@pytest.mark.parametrize("cutting", [0, 1, 2, 3, 4])
def test_it_beats_ridge_regression_on_the_same_folds(tmp_path, cutting):
    output = RECIPE.printed(tmp_path, "--cutting", str(cutting))
    ours, theirs = shown(output, "mean")
    assert ours < theirs
    ours, theirs = shown(output, "R2 of all")
    assert ours > theirs
