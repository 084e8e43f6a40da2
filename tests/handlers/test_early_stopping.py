"""A run ends when its metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from footplate import Engine, Events
from footplate.engine.errors import EventError
from footplate.engine.filters import where
from footplate.engine.minimum import Minimum
from footplate.engine.step.events import StepEvents
from footplate.engine.workflow import Workflow
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.evaluation import Evaluation


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
        ([1, NAN, NAN, 9], {"check_finite": False}, 3, 1),
        ([NAN, NAN, 9], {"check_finite": False}, 2, None),
        ([5, 4, 6, 4, 4], {"patience": 2}, 5, 6),
    ],
)
def test_patience_counts_looks_without_improvement(values, options, epochs, best):
    engine, stopping = run(values, **options)
    assert (engine.state.epoch, stopping.best) == (epochs, best)
    assert engine.state.reason == "terminated"
    said = None if best is None else float(best)
    assert stopping.reason == f"score has not improved in 2 looks; the best is {said}"


@pytest.mark.parametrize(
    ("values", "options", "epochs", "reason"),
    [
        ([1, NAN, 9], {}, 2, "score is nan, which is not finite"),
        ([1, math.inf, 9], {}, 2, "score is inf, which is not finite"),
        ([1, -math.inf, 9], {}, 2, "score is -inf, which is not finite"),
        ([1, 8, 9, 9], {"threshold": 9}, 3, "score is 9.0, as good as the threshold 9"),
        ([5, 3, 1], {"mode": "min", "threshold": 3}, 2, "score is 3.0, as good as the threshold 3"),
        ([5, 4.9], {"divergence": 5}, 2, "score is 4.9, worse than the divergence bound 5"),
        ([5, 6], {"mode": "min", "divergence": 5}, 2,
         "score is 6.0, worse than the divergence bound 5"),
        ([NAN, 2, 1, 1, 1], {"warm_up": 2}, 5,
         "score has not improved in 2 looks; the best is 1.0"),
        ([3, 2], {"patience": 1}, 2, "score has not improved in 1 look; the best is 3.0"),
    ],
)  # fmt: skip
def test_it_says_why_it_stopped(values, options, epochs, reason):
    engine, stopping = run(values, **options)
    assert (engine.state.epoch, engine.state.reason) == (epochs, "terminated")
    assert stopping.reason == reason


def test_it_has_no_reason_while_it_does_not_stop():
    _, stopping = run(range(20), threshold=50, divergence=-1)
    assert (stopping.reason, stopping.best) == (None, 19)


def test_what_is_beyond_hope_ends_the_run_however_good_it_once_was():
    engine, stopping = run([9, 1, 9], threshold=10, divergence=2)
    assert (engine.state.epoch, stopping.best) == (2, 9)


# ------------------------------------------------------------------ minimum


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    ("minimum", "end"),
    [
        (Minimum(epochs=5), (5, 15)),
        (Minimum(iters=11), (4, 11)),
        (Minimum(iters=12), (4, 12)),
        (Minimum(steps=5), (4, 10)),
        (Minimum(epochs=4, iters=14), (5, 14)),
        (Minimum(), (3, 9)),
    ],
)
def test_a_decision_is_held_back_until_the_minimum_is_reached(minimum, end):
    def step(engine, batch):
        if engine.state.iteration % 2 == 0:
            engine.fire_event(StepEvents.OPTIMIZER_STEPPED, optimization=None)

    engine = Engine(step)
    engine.register_events(*StepEvents)
    values, completed = iter([3, 2, 1, 9, 9, 9, 9]), []
    engine.on(Events.EPOCH_COMPLETED, priority="HIGH")(
        lambda e: e.state.metrics.update(score=next(values))
    )
    engine.on(Events.EPOCH_COMPLETED)(lambda e: completed.append(e.state.epoch))
    stopping = engine.attach(EarlyStopping("score", patience=2, minimum=minimum))
    engine.run(range(3), max_epochs=7)
    assert (engine.state.epoch, engine.state.iteration) == end
    assert engine.state.reason == "terminated"
    assert stopping.reason == "score has not improved in 2 looks; the best is 3.0"
    assert completed == list(range(1, end[1] // 3 + 1))


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    ("minimum", "end"), [(Minimum(epochs=4), 12), (Minimum(iters=8), 8), (Minimum(iters=9), 9)]
)
@pytest.mark.parametrize("cut", range(1, 9))
def test_a_decision_held_back_is_resumed(cut, minimum, end):
    def made() -> tuple[Engine, EarlyStopping]:
        engine = Engine(lambda engine, batch: None)
        engine.on(Events.EPOCH_COMPLETED, priority="HIGH")(
            lambda e: e.state.metrics.update(score=-e.state.epoch)
        )
        return engine, engine.attach(EarlyStopping("score", patience=1, minimum=minimum))

    first, _ = made()
    saved = []
    first.on(Events.SAFE_POINT(once=cut), priority="LOWEST")(lambda e: saved.append(e.state_dict()))
    first.run(range(3), max_epochs=9)
    assert first.state.iteration == end

    second, stopping = made()
    second.load_state_dict(saved[0])
    second.run(range(3))
    assert (second.state.iteration, second.state.reason) == (end, "terminated")
    assert stopping.reason == "score has not improved in 1 look; the best is -1.0"


def test_a_stopped_run_goes_on_if_it_is_run_again():
    engine, stopping = run([5, 4, 4, 6, 5, 5])
    assert (engine.state.epoch, stopping.best) == (3, 5)
    engine.run()
    assert (engine.state.epoch, stopping.best) == (6, 6)


def test_a_minimum_of_steps_needs_an_engine_that_counts_them():
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(EventError, match="counts no steps of an optimizer"):
        engine.attach(EarlyStopping("score", patience=1, minimum=Minimum(steps=1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is a whole number from 0 on, given -1"),
        ({"iters": 1.5}, "iters is a whole number from 0 on, given 1.5"),
        ({"steps": True}, "steps is a whole number from 0 on, given True"),
    ],
)
def test_a_minimum_of_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Minimum(**options)


# ------------------------------------------------------------------ life


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
    assert (other.best, other.waited, other.reason) == (2, 2, stopping.reason)


def test_its_warming_up_is_resumed():
    def made(values: Iterable[float]) -> tuple[Engine, EarlyStopping]:
        engine, supply = Engine(lambda engine, batch: None), iter(values)
        engine.on(Events.EPOCH_COMPLETED, priority="HIGH")(
            lambda e: e.state.metrics.update(score=next(supply))
        )
        return engine, engine.attach(EarlyStopping("score", patience=2, warm_up=3))

    first, _ = made([9, 9])
    first.run([0], max_epochs=2)
    second, stopping = made([9, 1, 1, 1])
    second.load_state_dict(first.state_dict())
    second.run([0], max_epochs=20)
    assert (second.state.epoch, stopping.best) == (6, 1)


def test_a_missing_metric_is_named_with_those_there_are():
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics["score"] = 1.0
    engine.attach(EarlyStopping("scor", patience=1))
    with pytest.raises(KeyError, match=r"'score'.*Did you mean 'score'.*EPOCH_COMPLETED.*when="):
        engine.run([0])


def test_it_looks_when_a_rarer_evaluation_has_measured():
    """Each look counts, so looks and measurements go by one event."""
    scores, looks = iter([0.1, 0.2, 0.3, 0.2, 0.9]), []
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.on(Events.COMPLETED)(lambda e: e.state.metrics.update(score=next(scores)))
    trainer, when = Engine(lambda engine, batch: None), Events.EPOCH_COMPLETED(every=2)
    trainer.attach(Evaluation(evaluator, [0], when=when))
    stopping = trainer.attach(EarlyStopping("val_score", patience=1, when=when))
    trainer.on(when, priority="LOW")(lambda: looks.append(stopping.waited))
    trainer.run([0], max_epochs=20)
    assert (trainer.state.epoch, stopping.best, looks) == (8, 0.3, [0, 0, 0, 1])


def test_it_looks_when_a_validation_phase_has_measured():
    scores = iter([0.1, 0.2, 0.3, 0.2, 0.9])
    val = Engine(lambda engine, batch: batch, name="val")
    val.on(Events.COMPLETED)(lambda e: e.state.metrics.update(score=next(scores)))
    train = Engine(lambda engine, batch: None, name="train")
    workflow = Workflow([("val", 1), ("train", 3)], {"train": train, "val": val})
    when = Events.EPOCH_STARTED(where(lambda engine, epoch: epoch % 3 == 1))
    stopping = train.attach(EarlyStopping("val_score", patience=1, when=when))
    workflow.run([[0], [0]], max_epochs=20)
    assert (stopping.best, stopping.reason is None) == (0.3, False)
    assert train.state.epoch == 10  # the fourth time


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode is"),
        ({"patience": 0}, "patience is a whole number from 1 on, given 0"),
        ({"patience": 1.5}, "patience is a whole number from 1 on, given 1.5"),
        ({"patience": True}, "patience is a whole number from 1 on, given True"),
        ({"warm_up": 0.5}, "warm_up is a whole number from 0 on, given 0.5"),
        ({"min_delta": -1}, "min_delta is not negative"),
        ({"min_delta": NAN}, "min_delta is not negative"),
        ({"warm_up": -1}, "warm_up is a whole number from 0 on, given -1"),
        ({"threshold": NAN}, "threshold is a number"),
        ({"divergence": NAN}, "divergence is a number"),
        ({"threshold": 1, "divergence": 2}, "threshold=1 is not better than divergence=2"),
        ({"mode": "min", "threshold": 2, "divergence": 1}, "not better than divergence=1"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping("score", **{"patience": 1, **options})


def test_an_epoch_that_is_completed_again_after_an_error_is_one_look():
    values, failures = iter([1.0, 0.9, 0.8, 0.7]), iter([False, True])
    engine = Engine(lambda engine, batch: engine.state.metrics.update(loss=next(values)))
    stopping = engine.attach(EarlyStopping("loss", patience=1, mode="min"))

    @engine.on(Events.EPOCH_COMPLETED, priority="LOWEST")
    def fails():
        if next(failures, False):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        engine.run([0], max_epochs=4)
    engine.run()
    assert engine.state.epoch == 4
    assert stopping.reason is None


def test_a_decision_to_stop_survives_an_error():
    failures = iter([True])
    engine = Engine(lambda engine, batch: engine.state.metrics.update(loss=1.0))
    engine.attach(EarlyStopping("loss", patience=1, mode="min"))

    @engine.on(Events.EPOCH_COMPLETED(once=2), priority="LOWEST")
    def fails():
        if next(failures, False):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        engine.run([0], max_epochs=4)
    engine.run()
    assert engine.state.epoch == 2
    assert engine.state.reason == "terminated"


@pytest.mark.parametrize(("metric", "epochs"), [("val_loss", 5), ("score", 2)])
def test_the_name_tells_whether_less_is_better(metric, epochs):
    engine = Engine(
        lambda engine, batch: engine.state.metrics.update({metric: -engine.state.epoch})
    )
    engine.attach(EarlyStopping(metric, patience=1))
    assert engine.run([0], max_epochs=5).epoch == epochs
