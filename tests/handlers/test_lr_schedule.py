"""Learning-rate schedules step by the unit asked for, behind what logs the rate."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

from footplate import Engine, Events
from footplate.handlers.lr_schedule import LRSchedule


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def trainer(sgd: torch.optim.Optimizer) -> Engine:
    return Engine(lambda engine, batch: sgd.step(), name="train")


@pytest.mark.parametrize(("unit", "expected"), [("epoch", 0.5**2), ("iteration", 0.5**6)])
def test_a_step_of_the_schedule_is_an_epoch_or_an_iteration(unit, expected):
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), unit))
    engine.run(range(3), max_epochs=2)
    assert sgd.param_groups[0]["lr"] == expected


def test_what_logs_behind_an_epoch_sees_the_rate_that_was_used():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5)))
    seen = []
    engine.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda: seen.append(sgd.param_groups[0]["lr"]),
        priority="BELOW_NORMAL",
    )
    engine.run([0], max_epochs=3)
    assert seen == [1.0, 0.5, 0.25]


def test_plateau_looks_at_its_metric():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(val_loss=1.0))
    engine.attach(LRSchedule(ReduceLROnPlateau(sgd, factor=0.1, patience=1), metric="val_loss"))
    engine.run([0], max_epochs=3)
    assert sgd.param_groups[0]["lr"] == pytest.approx(0.1)


def test_a_missing_metric_is_named_with_the_nearest_one():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.state.metrics["val_loss"] = 1.0
    engine.attach(LRSchedule(ReduceLROnPlateau(sgd), metric="val_lose"))
    with pytest.raises(KeyError, match="Did you mean 'val_loss'"):
        engine.run([0])


def test_a_resumed_schedule_goes_on_where_it_stood():
    def rates(engine: Engine, sgd: torch.optim.Optimizer, epochs: int) -> list[float]:
        seen: list[float] = []
        engine.on(Events.EPOCH_STARTED)(lambda: seen.append(sgd.param_groups[0]["lr"]))
        engine.run([0], max_epochs=epochs)
        return seen

    whole = optimizer()
    engine = trainer(whole)
    engine.attach(LRSchedule(StepLR(whole, 2, 0.5)))
    expected = rates(engine, whole, 6)

    first = optimizer()
    engine = trainer(first)
    engine.attach(LRSchedule(StepLR(first, 2, 0.5)))
    begun = rates(engine, first, 3)
    saved = engine.state_dict()

    second = optimizer()
    second.load_state_dict(first.state_dict())
    engine = trainer(second)
    engine.attach(LRSchedule(StepLR(second, 2, 0.5)))
    engine.load_state_dict(saved)
    assert begun + rates(engine, second, 6) == expected


@pytest.mark.parametrize(
    ("scheduler", "options", "message"),
    [
        (ExponentialLR, {"unit": "step"}, "unit is 'epoch' or 'iteration'"),
        (ExponentialLR, {"metric": "loss"}, "a metric is needed for ReduceLROnPlateau"),
        (ReduceLROnPlateau, {}, "a metric is needed for ReduceLROnPlateau"),
    ],
)
def test_nonsense_is_refused(scheduler, options, message):
    made = scheduler(optimizer(), 0.5) if scheduler is ExponentialLR else scheduler(optimizer())
    with pytest.raises(ValueError, match=message):
        LRSchedule(made, **options)
