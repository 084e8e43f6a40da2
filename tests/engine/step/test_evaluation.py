"""Evaluation leaves the model as it was, whatever ends it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from tests.engine.step.models import batches


def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    net[1].eval()  # frozen statistics, as people do
    return net


def modes(net):
    return [module.training for module in net.modules()]


@pytest.mark.covers("E5")
def test_the_model_is_in_evaluation_mode_and_then_as_it_was():
    net, seen = model(), []
    before = modes(net)
    evaluator = Engine(evaluation_step(net), name="val")
    evaluator.on("ITERATION_COMPLETED")(lambda: seen.append(modes(net)))
    y_pred, _ = evaluator.run(batches(2)).output
    assert seen == [[False] * 5] * 2
    assert modes(net) == before
    assert not y_pred.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.covers("E5")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_does_not_leave_it_in_evaluation_mode(error):
    net = model()
    before = modes(net)
    evaluator = Engine(evaluation_step(net))

    @evaluator.on("ITERATION_COMPLETED")
    def fails():
        raise error

    with pytest.raises(error):
        evaluator.run(batches(2))
    assert modes(net) == before
    assert torch.is_grad_enabled()


def test_interrupted_runs_put_the_modes_back_and_take_them_up():
    net = model()
    before = modes(net)
    evaluator = Engine(evaluation_step(net))
    evaluator.on("ITERATION_COMPLETED")(lambda e: e.interrupt())
    evaluator.run(batches(2))
    assert modes(net) == before
    evaluator.run()
    assert modes(net) == before


@pytest.mark.covers("E5")
def test_in_half_precision():
    net = model()
    data = batches(1)
    y_pred, y = Engine(evaluation_step(net, precision="bf16")).run(data).output
    with torch.autocast("cpu", torch.bfloat16):
        half = net.eval()(data[0][0])
    assert (half.dtype, y_pred.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(y_pred, half.float())
    assert y is data[0][1]
    answer = Engine(prediction_step(net, precision="bf16")).run(data).output
    assert torch.equal(answer, y_pred)


@pytest.mark.covers("E5")
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_outputs_in_half_precision_are_fp32_at_any_depth(precision):
    dtypes = torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64
    given = {"list": [torch.ones(2, dtype=dtype) for dtype in dtypes], "name": "x"}

    class Says(nn.Module):
        def forward(self, x):
            return given

    output = Engine(prediction_step(Says(), precision=precision)).run([torch.zeros(1)]).output
    half = (torch.float32, torch.float32) if precision != "fp32" else dtypes[:2]
    assert [one.dtype for one in output["list"]] == [*half, *dtypes[2:]]
    assert output["list"][2] is given["list"][2]
    assert output["name"] == "x"
    assert given["list"][0].dtype == torch.float16  # the model's own is as it was


def test_what_a_plain_module_gives():
    net = model().eval()
    (x, y), *_ = data = batches(1)
    for step in (evaluation_step(net), evaluation_step(net, F.mse_loss)):
        y_pred, target = Engine(step).run(data).output
        assert torch.equal(y_pred, net(x))
        assert target is y


def test_a_model_without_parameters():
    step = prediction_step(nn.Flatten(), precision="bf16")
    assert Engine(step).run([torch.zeros(2, 3, 4)]).output.shape == (2, 12)
