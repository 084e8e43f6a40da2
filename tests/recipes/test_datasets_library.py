"""A runner trains on tables and streams of the datasets library, of files that the tests write."""

from __future__ import annotations

import csv
import os

import pytest
import torch
from ignite.metrics import Accuracy
from torch.utils.data import DataLoader

from footplate.engine.events import Events
from footplate.recipes.runner import Runner

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # nothing is looked for elsewhere
datasets = pytest.importorskip("datasets")
pytest.importorskip("transformers")

from tests.recipes.transformers_task import configured, texts, trained_losses  # noqa: E402

pytestmark = [
    pytest.mark.covers("C3", "G4"),
    pytest.mark.filterwarnings("ignore:the run goes on behind batch .* can't be told"),
]


def written(folder, kind):
    """Files of texts and of what each is about."""
    columns = texts(120).columns
    rows = [
        {"text": "".join(map(chr, codes)), "label": label}
        for codes, label in zip(
            columns["input_ids"].tolist(), columns["labels"].tolist(), strict=True
        )
    ]
    folder.mkdir()
    if kind == "csv":
        with open(folder / "texts.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(rows)
        return [str(folder / "texts.csv")]
    for number in range(4):
        part = datasets.Dataset.from_list(rows[number::4])
        part.to_parquet(folder / f"{number}.parquet")
    return sorted(map(str, folder.glob("*.parquet")))


def codes(row):
    return {"input_ids": [min(ord(one), 127) for one in row["text"]], "labels": row["label"]}


def loaded(folder, kind, *, streaming):
    """Texts as numbers, from files of a kind."""
    found = datasets.load_dataset(
        kind,
        data_files=written(folder / kind, kind),
        split="train",
        streaming=streaming,
        cache_dir=str(folder / "cache"),
    )
    made = found.map(codes, remove_columns=["text", "label"]).with_format("torch")
    return made.shuffle(seed=2, buffer_size=20) if streaming else made


@pytest.mark.parametrize(("kind", "streaming"), [("csv", False), ("parquet", True)])
def test_a_run_over_files_goes_on_amid_an_epoch(tmp_path, monkeypatch, kind, streaming):
    # seconds that the library sleeps behind each pass over a parquet stream
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    rows = loaded(tmp_path, kind, streaming=streaming)
    checkpoint = {"interval": 20, "by_epoch": False}
    hooks = {**configured(tmp_path)["default_hooks"], "checkpoint": checkpoint}

    def made(folder, **changes):
        loader = {"dataset": rows, "batch_size": 8}
        if not streaming:
            loader["shuffle"] = True
        return Runner(**configured(folder, train_dataloader=loader, default_hooks=hooks, **changes))

    whole = made(tmp_path / "whole")
    losses = trained_losses(whole)
    assert len(losses) == 30
    cut = made(tmp_path / "cut")
    cut.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=20), lambda engine: engine.interrupt()
    )
    first = trained_losses(cut)
    rest = made(tmp_path / "cut", resume=str(cut.folder))
    assert first + trained_losses(rest) == losses


def test_columns_are_what_the_model_asks_for_and_metrics_measure(tmp_path):
    rows = loaded(tmp_path, "csv", streaming=False)
    runner = Runner(
        **configured(
            tmp_path,
            train_dataloader=DataLoader(rows, 8, shuffle=True),
            val_dataloader=DataLoader(rows, 40),
            val_evaluator={"accuracy": Accuracy()},
            train_cfg={"max_epochs": 1},
        )
    )
    runner.train()
    with torch.no_grad():
        logits = runner.model.eval()(input_ids=rows["input_ids"][:]).logits
    right = (logits.argmax(1) == rows["labels"][:]).float().mean().item()
    assert runner.val()["accuracy"] == pytest.approx(right)
