"""The page says how a run ended, of one that was terminated also by what."""

from __future__ import annotations

import math
import time

import pytest

from footplate import Engine
from footplate.engine.step.events import StepEvents
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.limits import MaxSteps, MaxTime
from footplate.handlers.report_page.page import page
from footplate.handlers.report_page.run import read_run
from footplate.handlers.run_record import RunRecord


@pytest.mark.covers("A7")
@pytest.mark.parametrize("tested", [False, True])
def test_a_run_that_its_limit_ended_within_an_epoch_is_shown_as_completed(tmp_path, tested):
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(RunRecord(tmp_path))
    assert trainer.run(range(4), max_iters=6).reason == "completed"
    if tested:
        tester = Engine(lambda engine, batch: None, name="test")
        tester.attach(RunRecord(tmp_path))
        tester.run([0])
    run = read_run(tmp_path)
    assert (run.status, run.why) == ("completed", None)
    shown = page(run)
    assert "completed" in shown
    assert "iteration 6 of 6" not in shown


@pytest.mark.covers("A7")
def test_a_run_that_was_stopped_early_says_why_until_it_goes_on(tmp_path):
    def step(engine: Engine, batch: int) -> None:
        engine.state.metrics["accuracy"] = 0.8

    trainer = Engine(step, name="train")
    trainer.attach(RunRecord(tmp_path))
    stopping = trainer.attach(EarlyStopping("accuracy", patience=9, threshold=0.7))
    trainer.run([0, 1], max_epochs=3)
    run = read_run(tmp_path)
    assert (run.status, run.why) == ("stopped early", stopping.reason)
    shown = page(run)
    assert "accuracy is 0.8, as good as the threshold 0.7" in shown
    assert "epoch 1 of 3" in shown

    stopping.threshold = None
    trainer.run([0, 1])
    run = read_run(tmp_path)
    assert (run.status, run.why) == ("completed", None)


def test_a_run_that_somebody_terminated_is_shown_as_that(tmp_path):
    trainer = Engine(lambda engine, batch: engine.terminate(), name="train")
    trainer.attach(RunRecord(tmp_path))
    trainer.run([0, 1], max_epochs=3)
    assert read_run(tmp_path).status == "terminated"


@pytest.mark.covers("A7", "B5")
@pytest.mark.parametrize(
    ("limit", "why"),
    [(MaxSteps(3), "3 steps have been made"), (MaxTime(0.001), "0:00:00.001000 have passed")],
)
def test_a_run_that_another_limit_ended_says_which(tmp_path, limit, why):
    def step(engine: Engine, batch: int) -> None:
        time.sleep(0.001)
        engine.fire_event(StepEvents.OPTIMIZER_STEPPED, optimization=None)

    trainer = Engine(step, name="train")
    trainer.register_events(*StepEvents)
    trainer.attach(RunRecord(tmp_path))
    trainer.attach(limit)
    assert trainer.run(range(4), max_epochs=2).reason == "terminated"
    run = read_run(tmp_path)
    assert (run.status, run.why) == ("stopped early", why)
    limit.limit = limit.steps = math.inf
    assert trainer.run(range(4)).reason == "completed"
    assert limit.reason is None
    assert read_run(tmp_path).why is None
