"""The learning rates that an optimization tells: each once, and by the same names all along."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from footplate import Engine
from footplate.engine.step.optimization import Optimization


def made(*rates):
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates]
    optimization = Optimization(torch.optim.SGD(groups, lr=0.1))
    return optimization, Engine(lambda engine, batch: None, name="train")


@pytest.mark.covers("F5")
def test_each_rate_is_told_once_under_its_first_group():
    optimization, engine = made(0.5, 0.5, 0.25, 0.25, 0.1, 0.25, 0.5, 0.1)
    assert optimization.gauges(engine) == {"lr": 0.5, "lr/2": 0.25, "lr/4": 0.1}


@pytest.mark.covers("F5")
def test_rates_that_meet_keep_their_names():
    optimization, engine = made(0.5, 0.25, 0.25)
    schedule = CosineAnnealingLR(optimization.optimizer, 4)
    told = []
    for _ in range(4):
        optimization.optimizer.step()
        schedule.step()
        told.append(optimization.gauges(engine))
    assert [list(one) for one in told] == [["lr", "lr/1"]] * 4
    assert told[-1] == {"lr": 0.0, "lr/1": 0.0}


@pytest.mark.covers("F5")
def test_groups_that_part_are_told_from_then_on():
    optimization, engine = made(0.5, 0.5, 0.5)
    assert optimization.gauges(engine) == {"lr": 0.5}
    optimization.optimizer.param_groups[2]["lr"] = 0.1
    assert optimization.gauges(engine) == {"lr": 0.5, "lr/2": 0.1}
