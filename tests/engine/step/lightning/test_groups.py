"""Parameter groups by name: an optimizer has those back that it had when it was saved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from footplate.engine.step.lightning.groups import frozen, grouped, regroup

pytestmark = pytest.mark.covers("C4")


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))


def test_groups_that_came_later_and_what_is_frozen_come_back():
    model = _model()
    model[0].bias.requires_grad_(False)
    sgd = torch.optim.SGD(model[1].parameters(), lr=0.1, momentum=0.9)
    sgd.add_param_group({"params": [model[0].weight], "lr": 0.5})
    sum(one.sum() for one in model.parameters()).backward()
    sgd.step()

    other = _model()
    other[0].requires_grad_(False)
    fresh = torch.optim.SGD(other[1].parameters(), lr=0.1, momentum=0.9)
    held = fresh.param_groups
    saved = sgd.state_dict()
    regroup(other, fresh, saved, grouped(model, sgd), frozen(model))
    fresh.load_state_dict(saved)
    assert grouped(other, fresh) == [["1.weight", "1.bias"], ["0.weight"]]
    assert frozen(other) == ["0.bias"]
    assert [group["lr"] for group in fresh.param_groups] == [0.1, 0.5]
    assert fresh.state[other[0].weight]["momentum_buffer"] == 1.0
    assert held[1]["lr"] == 0.5  # who holds the list has the new groups, too


def test_groups_that_are_the_same_stay_as_they_are():
    model = _model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    before = sgd.param_groups[0]
    regroup(model, sgd, sgd.state_dict(), grouped(model, sgd), frozen(model))
    assert sgd.param_groups[0] is before


def test_parameters_of_another_module_are_left_to_the_state():
    model, other = _model(), _model()
    sgd = torch.optim.SGD(other.parameters(), lr=0.1)
    assert grouped(model, sgd) == [["", "", "", ""]]
    fresh = torch.optim.SGD(other[0].parameters(), lr=0.1)
    regroup(model, fresh, sgd.state_dict(), grouped(model, sgd), ())
    with pytest.raises(ValueError, match="doesn't match the size"):
        fresh.load_state_dict(sgd.state_dict())
