"""Readable lines: one a log point, and a row an epoch."""

from __future__ import annotations

import io
import logging
import math
import re

import pytest
import torch
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.step.training import training_step
from footplate.engine.stream.media import show
from footplate.handlers.console import Console
from footplate.handlers.environment import Environment
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars

TIMES = {"eta": 3725.4, "time": 0.0125, "data_time": 0.002, "memory": 312.4}


def printing(engine, gauges=None, **options):
    out = io.StringIO()
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2), gauges=gauges))
    engine.attach(Console(stream=out, **options))
    return out


@pytest.mark.covers("F1")
def test_a_line_has_phase_place_rate_times_memory_and_what_was_measured():
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    trainer = Engine(training_step(model, sgd, F.mse_loss), name="train")
    out = printing(trainer, {name: lambda one=one: one for name, one in TIMES.items()})
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(accuracy=0.5))
    trainer.attach(Evaluation(evaluator, [0]))
    trainer.run([(torch.ones(4, 1), torch.zeros(4, 1))] * 4, max_epochs=2)
    number = r"\d+\.\d{4}"
    times = "lr 1.00e-02  eta 1:02:05  time 0.013 s  data_time 0.002 s  memory 312 MiB"
    patterns = [
        rf"train \[1/2\]\[2/4\]  {times}  loss {number}",
        rf"train \[1/2\]\[4/4\]  {times}  loss {number}",
        rf"train \[1/2\]  loss_epoch {number}  val_accuracy 0\.5000",
        rf"train \[2/2\]\[2/4\]  {times}  loss {number}",
    ]
    for line, pattern in zip(out.getvalue().splitlines(), patterns, strict=False):
        assert re.fullmatch(pattern, line), line
    assert len(out.getvalue().splitlines()) == 6


@pytest.mark.covers("F1")
def test_a_run_by_iterations_says_how_many_are_left():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    out = printing(engine)
    engine.run([0.5] * 3, max_iters=4)
    assert out.getvalue().splitlines() == [
        "train [2/4]  loss 0.5000",
        "train [3/4]  loss 0.5000  loss_epoch 0.5000",
        "train [4/4]  loss 0.5000",
        "train [4/4]  loss_epoch 0.5000",
    ]


@pytest.mark.covers("F1", "F5")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_shown(bad):
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    out = printing(engine)
    engine.run([bad, 1.0])
    assert out.getvalue().splitlines()[0] == f"train [1/1][2/2]  loss {bad}"


def test_a_run_that_did_not_end_well_is_told_of():
    engine = Engine(lambda engine, batch: 1 // batch, name="train")
    out = printing(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 0])
    assert out.getvalue().splitlines() == [
        "train [1/1]  output 1.0000  output_epoch 1.0000",
        "train error at iteration 1",
    ]


@pytest.mark.covers("F1")
def test_the_environment_is_printed_once(tmp_path):
    engine = Engine(lambda engine, batch: None, name="train")
    out = printing(engine, names=["loss", "environment"])
    engine.attach(Environment(tmp_path / "environment.json", more={"task": "digits"}))
    engine.run([0])
    engine.run([0])
    text = out.getvalue()
    assert text.count("environment:") == 1
    assert re.search(rf"  torch +{re.escape(torch.__version__)}\n", text)
    assert re.search(r"  task +digits\n", text)
    assert '"task": "digits"' in (tmp_path / "environment.json").read_text()


@pytest.mark.covers("F10")
def test_cells_of_a_table_stand_below_their_columns():
    rows = [{"class": "cat", "recall": torch.tensor(0.5)}, {"class": "dogs", "n": 3}, {"n": 12}]
    engine = Engine(lambda engine, batch: show(engine, "table", "classes", rows), name="train")
    out = printing(engine)
    engine.run([0])
    assert out.getvalue().splitlines() == [
        "classes:",
        "  class  recall  n",
        "  cat    0.5000",
        "  dogs           3",
        "                 12",
    ]


def test_an_empty_table_is_a_name():
    engine = Engine(lambda engine, batch: show(engine, "table", "classes", []), name="train")
    out = printing(engine)
    engine.run([0])
    assert out.getvalue() == "classes:\n"


def test_lines_go_to_the_logger_and_a_file_too(tmp_path, caplog):
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
    engine.attach(Console(stream=None, file=tmp_path / "logs" / "run.log"))
    with caplog.at_level(logging.INFO, "footplate.console"):
        engine.run([0.5])
        engine.run([0.25])
    lines = (tmp_path / "logs" / "run.log").read_text().splitlines()
    assert [line[21:] for line in lines] == caplog.messages
    assert len(lines) == 4
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  train \[1/1\]\[1/1\]  loss 0\.5000", lines[0])


def test_only_what_is_asked_for_is_printed():
    engine = Engine(lambda engine, batch: {"loss": 1.0, "other": 2.0}, name="train")
    out = printing(engine, names=["l*"], every=2)
    engine.run(range(8))
    assert out.getvalue().splitlines() == [
        "train [1/1][4/8]  loss 1.0000",
        "train [1/1][8/8]  loss 1.0000",
        "train [1/1]  loss_epoch 1.0000",
    ]
