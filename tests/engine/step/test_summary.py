"""What a model is made of, and that looking leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from footplate import Engine
from footplate.engine.step.summary import summarize
from footplate.handlers.console import Console
from footplate.handlers.model_summary import Summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout())
        self.head = nn.Linear(8, 5)
        self.spare = nn.Linear(2, 2)
        for one in self.spare.parameters():
            one.requires_grad = False

    def forward(self, x, scale=1.0):
        return {"scores": self.head(self.conv(x).mean((2, 3))) * scale}


@pytest.mark.covers("F7")
def test_layers_have_shapes_parameters_and_operations():
    rows = {one.name: one for one in summarize(Net(), torch.zeros(2, 3, 4, 4))}
    assert list(rows) == ["", "conv", "conv.0", "conv.1", "conv.2", "head", "spare"]
    conv, whole = rows["conv.0"], rows[""]
    assert (conv.inputs, conv.outputs) == (((2, 3, 4, 4),), ((2, 8, 4, 4),))
    assert conv.parameters == 8 * 3 * 9 + 8
    assert conv.flops == 2 * (2 * 8 * 4 * 4) * (3 * 9)
    assert rows["head"].flops == 2 * 2 * 8 * 5
    assert whole.flops == conv.flops + rows["head"].flops
    assert whole.outputs == ((2, 5),)
    assert whole.parameters == sum(one.numel() for one in Net().parameters())
    assert whole.parameters - whole.trainable == 6
    assert (rows["spare"].inputs, rows["spare"].flops) == (None, 0)


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert summarize(model)[0].parameters == 16 + 4 + 4


def test_without_an_input_nothing_is_run():
    class Never(nn.Linear):
        def forward(self, x):
            raise AssertionError

    summary = summarize(Never(3, 3))
    assert summary[0].flops is None
    assert str(summary).splitlines()[0].split() == ["layer", "kind", "parameters"]


def test_it_leaves_no_trace():
    model = Net().train()
    model.conv[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [one.training for one in model.modules()]
    state = torch.get_rng_state()
    summarize(model, torch.randn(2, 3, 4, 4, generator=torch.Generator()), scale=2.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert [one.training for one in model.modules()] == modes
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(one._forward_hooks for one in model.modules())


def test_an_input_that_does_not_fit_leaves_none_either():
    model = Net().train()
    with pytest.raises(RuntimeError, match="channels"):
        summarize(model, torch.zeros(2, 1, 4, 4))
    assert model.training
    assert not any(one._forward_hooks for one in model.modules())


def test_the_table_stops_at_a_depth():
    summary = summarize(Net(), torch.zeros(2, 3, 4, 4), depth=1)
    assert [one.name for one in summary] == ["", "conv", "head", "spare"]
    assert "not called" in str(summary)
    with pytest.raises(ValueError, match="from 0"):
        summarize(Net(), depth=-1)


@pytest.mark.covers("F7")
def test_sinks_are_told_once(capsys):
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Console())
    trainer.attach(Summary(Net(), torch.zeros(1, 3, 4, 4)))
    trainer.run([0])
    trainer.run([0])
    printed = capsys.readouterr().out
    assert printed.count("(model)") == 1
    assert "291 parameters, 285 trainable, 6 frozen" in printed
