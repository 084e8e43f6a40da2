"""Learning rates follow the size of the batch, before any schedule has seen them."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from footplate.engine.step.scaling import auto_scale_lr


def optimizer(*rates: float | torch.Tensor) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=9.0
    )


def rates(sgd: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in sgd.param_groups]


@pytest.mark.covers("D4")
@pytest.mark.parametrize(
    ("batch", "factor"), [(1024, 4.0), (256, 1.0), (64, 0.25), (257, 257 / 256)]
)
def test_every_rate_is_multiplied_by_the_ratio_of_the_sizes(batch, factor):
    sgd = optimizer(0.1, 0.5)
    assert auto_scale_lr(sgd, base_batch_size=256, batch_size=batch) == factor
    assert rates(sgd) == [0.1 * factor, 0.5 * factor]


@pytest.mark.covers("D4")
def test_nothing_changes_if_it_is_off():
    sgd = optimizer(0.1)
    StepLR(sgd, 1)
    assert auto_scale_lr(sgd, base_batch_size=8, batch_size=16, enable=False) == 1.0
    assert rates(sgd) == [0.1]


@pytest.mark.covers("D4")
def test_a_schedule_goes_from_the_scaled_rate():
    sgd = optimizer(0.5)
    auto_scale_lr(sgd, base_batch_size=8, batch_size=16)
    scheduler = StepLR(sgd, 1, 0.5)
    sgd.step()
    scheduler.step()
    assert (scheduler.base_lrs, rates(sgd)) == ([1.0], [0.5])


def test_a_rate_in_a_tensor_stays_the_same_tensor():
    held = torch.tensor(0.5)
    sgd = optimizer(held)
    auto_scale_lr(sgd, base_batch_size=8, batch_size=16)
    assert sgd.param_groups[0]["lr"] is held
    assert held.item() == 1.0


@pytest.mark.covers("D4")
def test_it_is_refused_once_a_scheduler_is_bound():
    sgd = optimizer(0.1)
    StepLR(sgd, 1)
    with pytest.raises(RuntimeError, match="between making the optimizer and making its sched"):
        auto_scale_lr(sgd, base_batch_size=8, batch_size=16)
    assert rates(sgd) == [0.1]


@pytest.mark.parametrize("name", ["base_batch_size", "batch_size"])
@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-8, ValueError), (8.0, TypeError), (True, TypeError)]
)
@pytest.mark.parametrize("enable", [True, False])
def test_sizes_that_make_no_sense_are_refused(name, size, error, enable):
    sizes = {"base_batch_size": 8, "batch_size": 16, name: size}
    with pytest.raises(error, match=f"^{name} is"):
        auto_scale_lr(optimizer(0.1), **sizes, enable=enable)
