"""A warm-up goes by its formula, and hands over without a seam."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.handlers import param_scheduler as ignites
from torch.optim import lr_scheduler as torchs

from footplate.engine.step.warm_up import warm_up


def optimizer(*rates: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": r} for r in rates or [1.0]]
    return torch.optim.SGD(groups, lr=9.0, momentum=0.9)


def rates(sgd: torch.optim.Optimizer, scheduler: Any, moves: int) -> list[tuple[float, ...]]:
    """The rates of all groups, before the first move and behind each."""
    seen = [tuple(float(group["lr"]) for group in sgd.param_groups)]
    for _ in range(moves):
        sgd.step()
        scheduler.step()
        seen.append(tuple(float(group["lr"]) for group in sgd.param_groups))
    return seen


FOLLOWING: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine": lambda o: torchs.CosineAnnealingLR(o, 9),
    "exponential": lambda o: torchs.ExponentialLR(o, 0.9),
    "multiplicative": lambda o: torchs.MultiplicativeLR(o, lambda k: 0.9),
    "lambda": lambda o: torchs.LambdaLR(o, lambda k: 1 / (1 + k)),
    "restarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 3, 2),
    "one cycle": lambda o: torchs.OneCycleLR(o, 0.3, total_steps=20),
    "constant": lambda o: torchs.ConstantLR(o, 0.5, 3),
    "sequential": lambda o: torchs.SequentialLR(
        o, [torchs.ConstantLR(o, 0.5, 3), torchs.ExponentialLR(o, 0.9)], [3]
    ),
    "chained": lambda o: torchs.ChainedScheduler(
        [torchs.ConstantLR(o, 0.5, 3), torchs.ExponentialLR(o, 0.9)]
    ),
    "warm-up": lambda o: warm_up(o, 3, start=0.5),
}


@settings(deadline=None)
@given(
    kind=st.sampled_from([*FOLLOWING]),
    steps=st.integers(1, 12),
    start=st.floats(0, 2),
    power=st.sampled_from([None, 2.0]),
)
@pytest.mark.covers("D2")
def test_the_whole_curve_is_the_formula_and_then_the_schedule(kind, steps, start, power):
    alone = optimizer(0.8, 0.1)
    follows = rates(alone, FOLLOWING[kind](alone), 12)
    sgd = optimizer(0.8, 0.1)
    shape = "linear" if power is None else lambda fraction: fraction**power
    seen = rates(sgd, warm_up(FOLLOWING[kind](sgd), steps, start, shape), steps + 12)
    factors = [start + (1 - start) * (k / steps) ** (power or 1) for k in range(steps)]
    assert seen[:steps] == [tuple(rate * f for rate in follows[0]) for f in factors]
    assert seen[steps:] == follows


def test_an_optimizer_stays_at_its_rates_which_others_may_change_then():
    sgd = optimizer(1.0, 0.5)
    scheduler = warm_up(sgd, 4, start=0.2)
    seen = rates(sgd, scheduler, 6)
    assert [one for one, _ in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])
    assert seen[4:] == [(1.0, 0.5)] * 3
    sgd.param_groups[0]["lr"] = 0.7
    assert rates(sgd, scheduler, 2)[-1] == (0.7, 0.5)


def test_the_start_is_the_warmup_ratio_of_mmcv():
    """Its formula: ``lr * (1 - (1 - cur_iters / warmup_iters) * (1 - warmup_ratio))``."""
    sgd = optimizer(0.5)
    seen = rates(sgd, warm_up(sgd, 10, start=0.1), 10)
    expected = [0.5 * (1 - (1 - k / 10) * (1 - 0.1)) for k in range(11)]
    assert [one for (one,) in seen] == pytest.approx(expected)


def test_a_rate_in_a_tensor_stays_the_same_tensor():
    held = torch.tensor(0.5)
    sgd = optimizer(held)
    seen = rates(sgd, warm_up(torchs.ExponentialLR(sgd, 0.5), 2), 4)
    assert seen == [(0.0,), (0.25,), (0.5,), (0.25,), (0.125,)]
    assert sgd.param_groups[0]["lr"] is held


def test_it_may_be_one_of_several_in_a_row():
    sgd = optimizer()
    first, then = warm_up(torchs.ExponentialLR(sgd, 0.5), 2), torchs.LambdaLR(sgd, lambda k: 3 - k)
    row = torchs.SequentialLR(sgd, [first, then], [4])
    assert [one for (one,) in rates(sgd, row, 6)] == [0.0, 0.5, 1.0, 0.5, 3.0, 2.0, 1.0]


@settings(deadline=None)
@given(kind=st.sampled_from([*FOLLOWING]), stop=st.integers(0, 14))
def test_it_goes_on_from_a_file(kind, stop):
    def made() -> tuple[torch.optim.Optimizer, Any]:
        sgd = optimizer(0.8, 0.1)
        return sgd, warm_up(FOLLOWING[kind](sgd), 5, shape=math.sqrt)

    whole = rates(*made(), 14)
    sgd, scheduler = made()
    begun = rates(sgd, scheduler, stop)
    file = io.BytesIO()
    torch.save([sgd.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    sgd, scheduler = made()
    sgd.load_state_dict(loaded[0])
    scheduler.load_state_dict(loaded[1])
    sgd.step()  # torch would warn that none was made
    assert begun[:-1] + rates(sgd, scheduler, 14 - stop) == whole


@pytest.mark.parametrize("follows", [True, False])
def test_the_state_of_another_kind_of_warm_up_is_refused(follows):
    sgd = optimizer()
    one, other = warm_up(sgd, 3), warm_up(torchs.StepLR(sgd, 1), 3)
    with pytest.raises(ValueError, match="a scheduler that follows, and has"):
        (one if follows else other).load_state_dict((other if follows else one).state_dict())


SGD = optimizer()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((SGD, 0), ValueError, "steps is a whole number from 1 on, given 0"),
        ((SGD, 2.5), ValueError, "steps is"),
        ((SGD, True), ValueError, "steps is"),
        ((SGD, 3, -0.1), ValueError, "start is a factor of the rate, 0 or more, given -0.1"),
        ((SGD, 3, math.nan), ValueError, "start is"),
        ((SGD, 3, math.inf), ValueError, "start is"),
        ((SGD, 3, "0.1"), ValueError, "start is"),
        ((SGD, 3, 0.0, "linaer"), ValueError, "Did you mean 'linear'"),
        ((SGD, 3, 0.0, 2), TypeError, "shape is 'linear' or a function"),
        ((SGD, 3, 0.0, lambda fraction: None), TypeError, r"shape\(0.0\) returned None"),
        (("sgd", 3), TypeError, "takes a scheduler of torch.optim.lr_scheduler or an optimizer"),
        ((torchs.ReduceLROnPlateau(SGD), 3), TypeError, "attach two schedules"),
        (
            (ignites.PiecewiseLinear(SGD, "lr", [(0, 1.0)]), 3),
            TypeError,
            "create_lr_scheduler_with_warmup",
        ),
    ],
)
def test_nonsense_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        warm_up(*arguments)
