"""Metrics of pytorch-ignite, attached unmodified."""

from __future__ import annotations

import pytest
import torch
from ignite.metrics import Accuracy, Average, Loss
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.handlers.metrics import Metrics


@pytest.mark.covers("A12")
def test_metrics_equal_those_over_all_samples_at_once():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(23, 4, generator=generator)
    labels = torch.randint(4, (23,), generator=generator)
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}))
    batches = list(zip(scores.split(5), labels.split(5), strict=True))
    metrics = evaluator.run(batches).metrics
    assert metrics["accuracy"] == (scores.argmax(1) == labels).double().mean().item()
    assert metrics["loss"] == pytest.approx(F.cross_entropy(scores, labels).item())


def test_an_epoch_begins_from_nothing():
    engine = Engine(lambda engine, batch: batch)
    engine.attach(Metrics({"mean": Average()}))
    seen = []
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: seen.append(e.state.metrics["mean"]), priority="LOW"
    )
    data = iter([1.0, 3.0, 10.0, 30.0])
    engine.run(data, max_epochs=2, epoch_length=2)
    assert seen == [2.0, 20.0]


def test_a_running_average_stands_in_the_state_after_each_iteration():
    engine = Engine(lambda engine, batch: batch)
    engine.attach(Metrics(running={"loss": lambda output: output}, alpha=0.5))
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.metrics["loss"]), priority="LOW"
    )
    engine.run([1.0, 2.0, 4.0])
    assert seen == [1.0, 1.5, 2.75]


def test_accumulation_goes_on_in_the_midst_of_an_epoch():
    def made() -> Engine:
        engine = Engine(lambda engine, batch: batch)
        engine.attach(Metrics({"mean": Average()}, running={"loss": lambda x: x}))
        return engine

    expected = made().run([1.0, 2.0, 6.0]).metrics
    first, saved = made(), []
    first.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    first.run([1.0, 2.0, 6.0])
    second = made()
    second.load_state_dict(saved[0])
    assert second.run([1.0, 2.0, 6.0]).metrics == expected


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Metrics, ValueError, "no metric"),
        (lambda: Metrics({"a": Accuracy}), TypeError, "give an instance"),
        (lambda: Metrics({"a": Average()}, running={"a": abs}), ValueError, "given twice"),
    ],
)
def test_nonsense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
