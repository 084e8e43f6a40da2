"""Histograms of weights and gradients, taken when the gradients are ready."""

from __future__ import annotations

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.weights import WeightHistograms

BATCH = (torch.ones(4, 2), torch.ones(4, 1))


def seen_on(engine):
    seen = []

    @engine.on("MEDIA_LOGGED")
    def look(engine, step, kind, name, value):
        assert kind == "histogram"
        assert not value.requires_grad
        seen.append((step, name, value.clone()))

    return seen


def trainer_of(model, **options):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    return Engine(training_step(model, sgd, F.mse_loss, **options), name="train")


@pytest.mark.covers("F3")
def test_weights_are_those_that_the_gradients_are_of():
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    trainer = trainer_of(model)
    trainer.attach(WeightHistograms(model, Events.ITERATION_STARTED(every=2)))
    seen, before = seen_on(trainer), {}

    @trainer.on(Events.ITERATION_STARTED)
    def copy(engine):
        before[engine.state.iteration] = model.weight.detach().clone()

    trainer.run([BATCH] * 5)
    names = ["weights/weight", "gradients/weight", "weights/bias", "gradients/bias"]
    assert [(step, name) for step, name, _ in seen] == [(n, x) for n in (2, 4) for x in names]
    for step, name, value in seen:
        if name == "weights/weight":
            assert torch.equal(value, before[step])
            gradient = next(v for s, n, v in seen if (s, n) == (step, "gradients/weight"))
            torch.testing.assert_close(before[step] - 0.1 * gradient, before[step + 1])


@pytest.mark.covers("F3")
def test_with_accumulation_they_are_taken_where_the_window_is_full():
    model = nn.Linear(2, 1)
    trainer = trainer_of(model, accumulate=3)
    trainer.attach(WeightHistograms(model, Events.ITERATION_STARTED(once=4)))
    seen = seen_on(trainer)
    trainer.run([BATCH] * 9)
    assert {step for step, _, _ in seen} == {6}


def test_several_optimizers_show_what_is_theirs_in_their_turns():
    model = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})
    parts = {
        name: Optimization(torch.optim.SGD(one.parameters(), lr=0.1), name=name)
        for name, one in model.items()
    }
    order = []

    def step(engine, batch):
        for name in ("a", "b"):
            order.append(name)
            parts[name].update(model[name](batch[0]).sum())

    trainer = Engine(step, name="train")
    for one in parts.values():
        trainer.attach(one, name=one.name)
    trainer.attach(WeightHistograms(model, Events.ITERATION_STARTED(once=2)))
    seen = seen_on(trainer)
    trainer.on("MEDIA_LOGGED")(lambda engine, name: order.append(name))
    trainer.run([BATCH] * 3)
    assert [name for _, name, _ in seen] == [
        f"{kind}/{part}.{name}"
        for part in ("a", "b") for name in ("weight", "bias") for kind in ("weights", "gradients")
    ]  # fmt: skip
    assert order.index("weights/b.weight") > order.index("gradients/a.bias")


def test_frozen_parameters_have_no_gradients_to_show():
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    trainer = trainer_of(model)
    trainer.attach(WeightHistograms(model, Events.ITERATION_STARTED))
    seen = seen_on(trainer)
    trainer.run([BATCH])
    assert [name for _, name, _ in seen] == ["weights/weight", "gradients/weight", "weights/bias"]


def test_without_gradients_any_step_will_do():
    model = nn.Linear(2, 1)
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(WeightHistograms(model, Events.EPOCH_COMPLETED, gradients=False))
    seen = seen_on(engine)
    engine.run([0, 0], max_epochs=2)
    assert [(s, n) for s, n, _ in seen] == [
        (2, "weights/weight"), (2, "weights/bias"), (4, "weights/weight"), (4, "weights/bias"),
    ]  # fmt: skip


@pytest.mark.covers("F3")
def test_tensorboard_shows_them(tmp_path):
    model = nn.Linear(2, 1)
    trainer = trainer_of(model)
    trainer.attach(WeightHistograms(model, Events.ITERATION_STARTED(every=2)))
    trainer.attach(TensorBoard(tmp_path))
    trainer.run([BATCH] * 4)
    events = EventAccumulator(str(tmp_path), {"histograms": 0}).Reload()
    assert set(events.Tags()["histograms"]) == {
        f"train/{kind}/{name}" for kind in ("weights", "gradients") for name in ("weight", "bias")
    }
    found = events.Histograms("train/weights/weight")
    assert [(one.step, one.histogram_value.num) for one in found] == [(2, 2), (4, 2)]
