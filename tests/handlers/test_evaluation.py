"""One engine runs on another's event."""

from __future__ import annotations

import pytest

from footplate import Engine, Events
from footplate.handlers.evaluation import Evaluation


def evaluator() -> Engine:
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(last=e.state.output))
    return engine


def test_metrics_are_there_before_those_who_look_at_them():
    trainer = Engine(lambda engine, batch: None, name="train")
    seen = []
    trainer.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(dict(e.state.metrics)))
    trainer.attach(Evaluation(evaluator(), [7, 8]))
    trainer.run([0], max_epochs=2)
    assert seen == [{"val_last": 8}] * 2


def test_each_evaluation_is_a_new_run():
    trainer, val = Engine(lambda engine, batch: None), evaluator()
    ends = []
    val.on(Events.COMPLETED)(lambda e: ends.append((e.state.epoch, e.state.iteration)))
    trainer.attach(Evaluation(val, [1, 2, 3], Events.ITERATION_COMPLETED(every=2)))
    trainer.run(range(5))
    assert ends == [(1, 3), (1, 3)]


def test_a_failed_evaluation_does_not_go_on_in_the_next():
    trainer, val = Engine(lambda engine, batch: None), evaluator()
    seen = []
    val.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.output))
    trainer.attach(Evaluation(val, [1, 2, 3]))
    fails = val.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        trainer.run([0])
    trainer.run([0])
    assert seen == [1, 1, 2, 3]


def test_several_evaluations_are_told_apart_by_their_prefixes():
    trainer = Engine(lambda engine, batch: None)
    trainer.attach(Evaluation(evaluator(), [1]))
    trainer.attach(Evaluation(evaluator(), [2], prefix="test"))
    trainer.attach(Evaluation(evaluator(), [3], prefix=""))
    assert trainer.run([0]).metrics == {"val_last": 1, "test_last": 2, "last": 3}
    assert list(trainer.handlers) == ["evaluation_val", "evaluation_test", "evaluation"]


def test_an_engine_does_not_evaluate_itself():
    trainer = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match="can't evaluate itself"):
        trainer.attach(Evaluation(trainer, [0]))
