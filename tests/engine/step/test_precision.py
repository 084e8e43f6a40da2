"""Precision by name, and gradients that overflow."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.events import StepEvents
from footplate.engine.step.precision import Precision
from footplate.engine.step.training import training_step
from footplate.handlers.lr_schedule import LRSchedule
from tests.engine.step.models import batches, line, sgd


@pytest.mark.covers("C9")
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_the_forward_pass_computes_in_it_and_the_weights_stay(kind, dtype):
    net, seen = line(), []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, precision=kind))
    trainer.on(StepEvents.FORWARD_COMPLETED)(lambda outputs: seen.append(outputs.dtype))
    trainer.run(batches(1))
    assert seen == [dtype]
    assert net.weight.dtype == torch.float32


@pytest.mark.covers("C9")
def test_fp16_trains_as_fp32_does_to_its_precision():
    def trained(precision):
        net = line()
        Engine(training_step(net, sgd(net), F.mse_loss, precision=precision)).run(batches(50))
        return net.weight

    half = trained(Precision("fp16", init_scale=256.0))
    torch.testing.assert_close(half, trained("fp32"), rtol=2e-2, atol=2e-3)


@pytest.mark.covers("C9")
@pytest.mark.covers("D1")
@pytest.mark.parametrize("unit", ["step", "iteration", "epoch"])
def test_a_forced_overflow_moves_no_step_no_schedule_and_warns_of_nothing(unit):
    net = line()
    before = net.weight.detach().clone()
    optimizer = sgd(net)
    step = training_step(
        net, optimizer, lambda y_pred, y: y_pred.float().sum() * float("inf"), precision="fp16"
    )
    trainer, skipped = Engine(step, name="train"), []
    trainer.attach(LRSchedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), unit))
    trainer.on(StepEvents.OPTIMIZER_STEP_SKIPPED)(lambda reason: skipped.extend([reason]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.run(batches(3))
    assert skipped == ["overflow"] * 3
    assert trainer.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 0
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert torch.equal(net.weight, before)


@pytest.mark.covers("C9")
def test_clipping_sees_unscaled_gradients():
    net, norms = line(), []
    precision = Precision("fp16", init_scale=1024.0)
    step = training_step(
        net, sgd(net), F.mse_loss, precision=precision, clip=lambda p: norms.append(p[0].grad)
    )
    Engine(step).run(batches(1))
    plain = line()
    (x, y), *_ = batches(1)
    F.mse_loss(plain(x), y).backward()
    torch.testing.assert_close(norms[0], plain.weight.grad, rtol=1e-2, atol=1e-3)


@pytest.mark.covers("C9")
def test_a_model_that_does_it_all_computes_in_it_too():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = line()

        def train_step(self, data, optim_wrapper):
            with optim_wrapper.optim_context(self):
                y_pred = self.line(data[0])
                loss = F.mse_loss(y_pred.float(), data[1])
            optim_wrapper.update_params(loss)
            return {"dtype": y_pred.dtype}

    net = Wrapped()
    trainer = Engine(training_step(net, sgd(net), precision="bf16"))
    assert trainer.run(batches(1)).output == {"dtype": torch.bfloat16}


@pytest.mark.parametrize(
    ("kind", "keywords", "error", "says"),
    [
        ("bf61", {}, ValueError, "Did you mean 'bf16'"),
        (16, {}, ValueError, "'fp32', 'bf16', 'fp16', given 16"),
        ("bf16", {"init_scale": 2.0}, ValueError, "init_scale= set the scaler, and 'bf16' has"),
        ("fp16", {"scale": 2.0}, TypeError, "scale"),
    ],
)
def test_what_is_no_precision_is_refused(kind, keywords, error, says):
    with pytest.raises(error, match=says):
        Precision(kind, **keywords)
