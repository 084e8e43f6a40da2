"""Scalars are gathered in each iteration, read at log points, and guarded there."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.non_finite import NonFiniteError, StopOnNonFinite
from footplate.handlers.scalars import Scalars


def logged(engine):
    """What was read: iteration, and means."""
    seen = []

    @engine.on("SCALARS_LOGGED")
    def note(engine, step, epoch, scalars, values):
        assert (step, epoch) == (engine.state.iteration, engine.state.epoch)
        seen.append((step, scalars))

    return seen


def reporting(outputs, **options):
    engine = Engine(lambda engine, batch: batch, name="train")
    engine.attach(Scalars(**options))
    return engine, logged(engine), outputs


@pytest.mark.covers("F5")
def test_means_of_a_window_are_one_event():
    engine, seen, data = reporting(
        [{"loss": torch.tensor(float(n)), "n": n, "name": "x", "many": torch.zeros(3)}
         for n in range(5)],
        when=Events.ITERATION_COMPLETED(every=2),
    )  # fmt: skip
    engine.run(data)
    assert seen == [
        (2, {"loss": 0.5, "n": 0.5}),
        (4, {"loss": 2.5, "n": 2.5}),
        (5, {"loss": 4.0, "n": 4.0}),
    ]
    assert engine.state.metrics == {"loss": 4.0, "n": 4.0}


@pytest.mark.parametrize(("output", "name"), [(torch.tensor(0.5), "output"), ({"a": 0.5}, "a")])
def test_one_number_is_named_output(output, name):
    engine, seen, _ = reporting(None, prefix="train_")
    engine.run([output])
    assert seen == [(1, {f"train_{name}": 0.5})]


def test_what_is_not_there_in_each_iteration_is_averaged_over_those_where_it_is():
    engine, seen, data = reporting([{"a": 1.0}, None, {"a": 3.0, "b": 5.0}, "nothing"])
    engine.run(data)
    assert seen == [(4, {"a": 2.0, "b": 5.0})]


def test_a_log_point_without_numbers_is_silent():
    engine, seen, data = reporting([None, None])
    engine.run(data)
    assert seen == []


@pytest.mark.covers("G4")
@pytest.mark.parametrize("stop", range(1, 7))
def test_what_was_gathered_survives_a_stop(stop):
    data = [{"loss": torch.tensor(float(n))} for n in range(6)]
    whole, expected, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    whole.run(data)
    first, seen, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    first.on("SAFE_POINT")(lambda e: e.interrupt() if e.state.iteration == stop else None)
    first.run(data)
    second, later, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    second.load_state_dict(first.state_dict())
    second.run(data)
    assert seen + later == expected


def test_a_new_run_forgets_the_one_before():
    engine, seen, _ = reporting(None)

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        engine.run([{"a": 1.0}, {"a": 2.0}])
    engine.state.max_epochs = None
    engine.run([{"a": 5.0}])
    assert seen == [(1, {"a": 5.0})]


def poisoned(at, model):
    count = 0

    def loss(y_pred, y):
        nonlocal count
        count += 1
        return F.mse_loss(y_pred, y) * (math.nan if count == at else 1.0)

    return loss


@pytest.mark.covers("F5")
@pytest.mark.parametrize(("at", "every", "good"), [(5, 4, 2), (5, 1, 2), (1, 4, None), (4, 4, 2)])
def test_the_guard_names_iteration_loss_and_last_good_checkpoint(tmp_path, at, every, good):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    step = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), poisoned(at, model))
    trainer = Engine(step, name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=every)))
    trainer.attach(StopOnNonFinite(tmp_path))
    trainer.attach(Checkpoint(tmp_path, model, when=Events.ITERATION_COMPLETED(every=2), last=10))
    data = [(torch.randn(4, 2), torch.randn(4, 1))] * 8
    with pytest.raises(NonFiniteError, match=f"'loss' was nan in iteration {at}; ") as caught:
        trainer.run(data)
    error = caught.value
    assert (error.name, error.iteration) == ("loss", at)
    expected = None if good is None else tmp_path / f"{good:08d}"
    assert error.checkpoint == expected
    assert ("no good checkpoint" if good is None else str(expected)) in str(error)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_value_that_is_no_number_stops(bad):
    engine, _, _ = reporting(None)
    engine.attach(StopOnNonFinite())
    with pytest.raises(NonFiniteError, match=f"'a' was {bad} in iteration 2"):
        engine.run([{"a": 1.0}, {"a": bad}, {"a": -bad}])


def test_only_the_names_asked_for_are_guarded():
    engine, seen, _ = reporting(None)
    engine.attach(StopOnNonFinite(names=("loss",)))
    engine.run([{"a": math.inf, "loss": 1.0}])
    assert seen == [(1, {"a": math.inf, "loss": 1.0})]


@pytest.mark.covers("F5")
@pytest.mark.parametrize("how", ["max_iters", "terminate"])
def test_what_is_left_is_read_where_a_run_ends_within_an_epoch(how):
    engine, _, data = reporting([{"loss": 1.0}, {"loss": math.nan}, {"loss": 1.0}])
    engine.attach(StopOnNonFinite())
    if how == "terminate":
        engine.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate())
    with pytest.raises(NonFiniteError, match="iteration 2"):
        engine.run(data, **({"max_iters": 2} if how == "max_iters" else {}))


def test_tensors_of_one_element_are_no_scalars_but_a_loss_may_have_any_shape():
    engine, seen, _ = reporting(None)
    engine.run([{"y": torch.ones(1), "loss": torch.tensor(2.0)}])
    assert seen == [(1, {"loss": 2.0})]
