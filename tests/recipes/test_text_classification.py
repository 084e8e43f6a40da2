"""The text-classification recipe, run as people run it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from footplate.engine.data.passages import parted
from footplate.engine.nested import leaves
from footplate.recipes import text_classification
from tests.recipes.commands.calling import called, run_in
from tests.recipes.scripts import Script, run_of

pytest.importorskip("transformers")
pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Script("text_classification")
DATA = ROOT / "tests" / "golden" / "passages.csv"
SHORT = f"--data {DATA} --epochs 3 --batch-size 16 --width 32".split()


def shown(printed: str, row: str) -> list[float]:
    """The percentages in a row of the table."""
    (line,) = (line for line in printed.splitlines() if row in line)
    return [float(number) for number in re.findall(r"([\d.]+)%", line)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    printed = RECIPE.printed(folder, *SHORT)
    return run_of(folder), printed


@pytest.mark.covers("K5")
def test_it_tells_accuracies_and_leaves_its_files(unbroken):
    run, printed = unbroken
    accuracy, f1 = shown(printed, "this model")
    other, _ = shown(printed, "TF-IDF")
    assert min(accuracy, other) > 25.0  # four labels, equally many of each
    assert 0.0 < f1 <= 100.0
    assert printed.endswith(f"The run's files are in {run}\n")
    files = "checkpoints curves.png model options.json report.html run.json scalars.jsonl"
    assert {path.name for path in run.iterdir()} >= set(files.split())
    page = (run / "report.html").read_text()
    assert all(label in page for label in ("confusion", "for", "if", "not", "return"))


@pytest.mark.covers("K5")
def test_biases_and_norms_do_not_decay_and_the_rate_falls_in_a_straight_line_behind_a_warm_up(
    unbroken,
):
    run, _ = unbroken
    saved = max((run / "checkpoints").iterdir())
    state = torch.load(saved / "state.pt", weights_only=True)["engine"]["footplate"]["handlers"]
    groups = state["optimization"]["optimizer"]["param_groups"]
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "default": 0.05,
        "no_decay": 0.0,
    }
    rates = dict(state["curves"]["values"]["lr"])
    expected = {at: 3e-3 * (1 - (at - 3) / 30) for at in (11, 22, 33)}
    assert rates == pytest.approx(expected, abs=1e-9)


def test_what_it_leaves_is_loaded_by_transformers_and_pads_as_the_recipe_does(unbroken):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run, _ = unbroken
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    model = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    texts = ["x <mask> in range(3)", "y"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    alone = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    assert torch.allclose(model(**batch).logits, torch.stack(alone), atol=1e-5)
    best = [
        path
        for path in (run / "checkpoints").iterdir()
        if all(
            torch.equal(value, model.state_dict()[name])
            for name, value in load_file(path / "model.safetensors").items()
        )
    ]
    assert best


@pytest.mark.covers("K5")
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, unbroken):
    RECIPE.stopped(tmp_path, *SHORT)
    assert "resuming from" in RECIPE.printed(tmp_path, "--resume")
    resumed, whole = (
        max((run / "checkpoints").iterdir()) for run in (run_of(tmp_path), unbroken[0])
    )
    assert resumed.name == whole.name
    one, other = (torch.load(path / "state.pt", weights_only=True) for path in (resumed, whole))
    states = (path["engine"]["footplate"]["handlers"]["optimization"] for path in (one, other))
    for (place, a), (_, b) in zip(*map(leaves, states), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, place
    one, other = (load_file(path / "model.safetensors") for path in (resumed, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.covers("K5")
def test_its_configuration_trains(tmp_path):
    changes = [f"train_dataloader.data={DATA}", "model.classes=4", "model.width=32"]
    changes += ["train_cfg.max_epochs=2", "param_scheduler=null"]
    done = called("train", "text_classification", *changes, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    page = (run_in(tmp_path) / "report.html").read_text()
    assert all(shown in page for shown in ("val_accuracy", "confusion"))


def test_a_width_that_heads_can_not_share_is_refused():
    command = typer.Typer()
    command.command()(text_classification.main)
    refused = CliRunner().invoke(command, ["--width", "40"])
    assert refused.exit_code == 2
    assert "heads of 32" in refused.stderr


def test_without_transformers_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'footplate\[recipes\]'"):
        text_classification.network(300, 4, 32)
    with pytest.raises(ImportError, match=r"pip install 'footplate\[recipes\]'"):
        text_classification.prepared(str(DATA), 300, 1)


def test_batches_are_as_long_as_their_longest_passage():
    batches = list(text_classification.loader("val", 4, str(DATA), 300))
    lengths = {batch["input_ids"].shape[1] for batch in batches}
    assert len(lengths) > 1
    for batch in batches:
        mask = batch["attention_mask"].bool()
        assert mask.all(0).any()
        assert mask.sum(1).max() == mask.shape[1]
        assert (batch["input_ids"][~mask] == 0).all()


def test_no_file_of_the_standard_library_is_in_two_parts():
    found = text_classification.standard_library(200)
    assert Counter(passage.label for passage in found) == dict.fromkeys(
        text_classification.KEYWORDS, 200
    )
    parts = parted(found, 0.7, 0.15)
    sources = [{passage.source for passage in part} for part in parts]
    assert sum(map(len, sources)) == len(set.union(*sources))
    assert all("test" not in Path(passage.source).parts for passage in found)


@pytest.mark.slow
@pytest.mark.covers("K5")
def test_a_whole_run_beats_tf_idf_with_logistic_regression(tmp_path):
    printed = RECIPE.printed(tmp_path)
    ours, theirs = shown(printed, "this model"), shown(printed, "TF-IDF")
    assert ours[0] > theirs[0], printed
