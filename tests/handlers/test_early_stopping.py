"""A run ends when its metric no longer improves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from footplate import Engine, Events
from footplate.handlers.early_stopping import EarlyStopping


def run(values: Iterable[float], **options) -> tuple[Engine, EarlyStopping]:
    supply = iter(values)
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda e: e.state.metrics.update(score=next(supply)),
        priority="ABOVE_NORMAL",
    )
    stopping = engine.attach(EarlyStopping("score", **{"patience": 2, **options}))
    engine.run([0], max_epochs=20)
    return engine, stopping


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([1, 2, 2, 2, 9], {}, 4, 2),
        ([3, 2, 2.5, 1, 1, 1], {"mode": "min"}, 6, 1),
        ([1.0, 1.05, 1.09, 9], {"min_delta": 0.1}, 3, 1.0),
        ([1, NAN, NAN, 9], {}, 3, 1),
        ([NAN, NAN, 9], {}, 2, None),
        ([5, 4, 6, 4, 4], {"patience": 2}, 5, 6),
    ],
)
def test_patience_counts_looks_without_improvement(values, options, epochs, best):
    engine, stopping = run(values, **options)
    assert (engine.state.epoch, stopping.best) == (epochs, best)
    assert engine.state.reason == "terminated"


def test_it_forgets_when_a_run_starts_anew():
    engine, stopping = run([2, 1, 1])
    engine.state.max_epochs = None
    with pytest.raises(StopIteration):
        engine.run([0], max_epochs=20)
    assert (stopping.best, stopping.waited) == (None, 0)


def test_its_waiting_is_resumed():
    _, stopping = run([2, 1, 1])
    other = EarlyStopping("score", patience=2)
    other.load_state_dict(stopping.state_dict())
    assert (other.best, other.waited) == (2, 2)


def test_a_missing_metric_is_named_with_those_there_are():
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics["score"] = 1.0
    engine.attach(EarlyStopping("scor", patience=1))
    with pytest.raises(KeyError, match=r"'score'.*Did you mean 'score'"):
        engine.run([0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode is"),
        ({"patience": 0}, "at least 1"),
        ({"min_delta": -1}, "not negative"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping("score", **{"patience": 1, **options})
