"""The events of a step fire in the golden order, and handlers may act between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events, every
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.precision import Precision
from footplate.engine.step.training import training_step
from tests.engine.step.models import Both, DoesItAll, batches, line, sgd

GOLDEN = Path(__file__).parents[2] / "golden" / "steps" / "orders.txt"


def golden():
    orders = {}
    for part in GOLDEN.read_text().split("\n== ")[1:]:
        name, *lines = part.strip().split("\n")
        orders[name] = lines
    return orders


def order_of(engine, data):
    """What fires in each iteration, as the golden file writes it."""
    lines = []

    def note(engine, *, name, **_):
        if name == "ITERATION_STARTED":
            lines.append([])
        short = name.lower().replace("_started", "<").replace("_completed", ">")
        lines[-1].append(short)

    for event in (Events.ITERATION_STARTED, *StepEvents, Events.ITERATION_COMPLETED):
        engine.add_event_handler(event, note, name=str(event))
    engine.run(data)
    return [" ".join(line) for line in lines]


def plain(loss=F.mse_loss, **options):
    model = line()
    return Engine(training_step(model, sgd(model), loss, **options))


def none_at(*skipped):
    """A loss that says None for some batches, from 1."""
    count = 0

    def loss(y_pred, y):
        nonlocal count
        count += 1
        return None if count in skipped else F.mse_loss(y_pred, y)

    return loss


def vetoing():
    engine = plain()
    engine.on(StepEvents.GRADIENTS_READY)(lambda engine, optimization: optimization.veto())
    return engine


def overflowing():
    huge = iter([1e30, 1.0])
    precision = Precision("fp16", init_scale=1024.0)
    return plain(lambda y_pred, y: (y_pred.float() * next(huge)).sum(), precision=precision)


def two(**options):
    model = Both()
    optimizers = {"a": sgd(model.first), "b": sgd(model.second)}
    return Engine(training_step(model, optimizers, **options))


SCENARIOS = {
    "plain": (plain, 2),
    "clipped": (lambda: plain(clip=ClipNorm(1.0)), 1),
    "windows of two, the last one ragged": (lambda: plain(accumulate=2), 3),
    "skipped by None": (lambda: plain(none_at(1)), 1),
    "None in the last batch of a window that is flushed": (
        lambda: plain(none_at(2), accumulate=5),
        2,
    ),
    "vetoed when gradients are ready": (vetoing, 1),
    "overflow in fp16": (overflowing, 2),
    "two optimizers, each with its loss": (
        lambda: two(
            loss={
                "a": lambda model, batch: F.mse_loss(model.first(batch[0]), batch[1]),
                "b": lambda model, batch: F.mse_loss(model.second(batch[0]), batch[1]),
            }
        ),
        1,
    ),
    "two optimizers that share a loss": (lambda: two(loss=F.mse_loss), 1),
    "a model that does it all": (
        lambda: Engine(training_step(model := DoesItAll(), sgd(model))),
        1,
    ),
    "evaluation": (lambda: Engine(evaluation_step(line())), 1),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_events_fire_in_the_golden_order(name):
    make, count = SCENARIOS[name]
    assert order_of(make(), batches(count)) == golden()[name]


def test_every_golden_order_is_compared():
    assert golden().keys() == SCENARIOS.keys()


def test_describe_shows_them_within_the_iteration():
    engine = plain()
    for event in reversed(list(StepEvents)):
        engine.add_event_handler(event, print)
    engine.add_event_handler(Events.ITERATION_STARTED, print)
    engine.add_event_handler(Events.ITERATION_COMPLETED, print)
    shown = [row.event for row in engine.describe() if row.handler == "print"]
    assert shown == ["ITERATION_STARTED", *StepEvents, "ITERATION_COMPLETED"]


def test_nobody_need_listen():
    engine = plain()
    engine.run(batches(3))
    assert engine.state.get_event_attrib_value(StepEvents.OPTIMIZER_STEPPED) == 3


@pytest.mark.covers("C9")
def test_steps_of_the_optimizer_have_a_count_of_their_own():
    engine, seen = plain(accumulate=2), []
    engine.on(StepEvents.OPTIMIZER_STEPPED(every(2)))(lambda e: seen.append(e.state.iteration))
    engine.run(batches(9))
    assert seen == [4, 8]
    assert engine.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 5
    assert engine.state_dict()["footplate"]["counts"]["OPTIMIZER_STEPPED"] == 5


def test_other_events_are_counted_by_the_iteration():
    engine, seen = plain(), []
    engine.on(StepEvents.BACKWARD_COMPLETED(every=2))(lambda e: seen.append(e.state.iteration))
    engine.run(batches(5))
    assert seen == [2, 4]


def test_a_handler_changes_the_gradients_between_backward_and_step():
    model = line()
    before = model.weight.detach().clone()
    engine = Engine(training_step(model, sgd(model), F.mse_loss))

    @engine.on(StepEvents.GRADIENTS_READY)
    def flatten(engine, optimization):
        for one in optimization.parameters:
            one.grad.fill_(1.0)

    engine.run(batches(1))
    assert torch.allclose(model.weight, before - 0.1)


def test_a_veto_leaves_the_weights_and_lets_the_gradients_go():
    model = line()
    before = [one.detach().clone() for one in model.parameters()]
    engine, reasons = Engine(training_step(model, sgd(model), F.mse_loss)), []
    engine.on(StepEvents.BACKWARD_COMPLETED)(lambda optimization: optimization.veto())
    engine.on(StepEvents.OPTIMIZER_STEP_SKIPPED)(lambda reason: reasons.extend([reason]))
    engine.run(batches(2))
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))
    assert all(one.grad is None for one in model.parameters())
    assert reasons == ["veto", "veto"]
    assert engine.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 0


def test_a_veto_in_the_midst_of_a_window_leaves_out_that_window_alone():
    model = line()
    engine, stepped = Engine(training_step(model, sgd(model), F.mse_loss, accumulate=2)), []
    engine.on(StepEvents.BACKWARD_COMPLETED(once=1))(lambda optimization: optimization.veto())
    engine.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    engine.run(batches(4))
    assert stepped == [4]


def test_a_veto_outside_of_a_step_is_an_error():
    optimization = Optimization(sgd(line()))
    with pytest.raises(RuntimeError, match=r"'optimization' has no gradients to leave out; call"):
        optimization.veto()


@pytest.mark.covers("C9")
def test_an_overflow_steps_nothing_and_the_scale_falls():
    model = line()
    before = model.weight.detach().clone()
    losses = iter([float("inf"), 1.0])
    step = training_step(
        model,
        sgd(model),
        lambda y_pred, y: (y_pred.float() * next(losses)).sum(),
        precision=Precision("fp16", init_scale=1024.0),
    )
    engine, seen = Engine(step), []
    optimization = engine.handlers["optimization"]

    @engine.on(Events.ITERATION_COMPLETED)
    def note(engine):
        moved = not torch.equal(model.weight, before)
        seen.append((engine.state.get_event_attrib_value("OPTIMIZER_STEPPED"), moved))

    engine.run(batches(2))
    assert seen == [(0, False), (1, True)]
    assert optimization.scaler.get_scale() == 512.0


def test_what_hands_over_the_loss_hands_over_the_unscaled_one():
    engine, seen = plain(precision="fp16"), []
    engine.on(StepEvents.LOSS_COMPLETED)(lambda loss: seen.append(loss.item()))
    engine.on(StepEvents.BACKWARD_COMPLETED)(lambda loss: seen.append(loss.item()))
    engine.run(batches(1))
    assert seen[0] == seen[1] == pytest.approx(engine.state.output["loss"].item())


def test_an_error_in_a_handler_of_a_step_event_names_it():
    engine = plain()

    @engine.on(StepEvents.OPTIMIZER_STEPPED)
    def fails(engine):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        engine.run(batches(1))
    assert any("fails, handling OPTIMIZER_STEPPED" in note for note in caught.value.__notes__)


def test_models_are_set_to_training_where_they_are_not():
    model = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5)).eval()
    Engine(training_step(model, sgd(model), F.mse_loss)).run(batches(1))
    assert model.training
    assert model[1].training
