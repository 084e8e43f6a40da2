"""Gradients are bounded by norm or by value, and their norms noted."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.clipping import ClipNorm, ClipValue
from footplate.engine.step.events import StepEvents
from footplate.engine.step.training import training_step
from footplate.handlers.anomaly import DetectAnomaly
from footplate.handlers.gradient_norms import GradientNorms
from tests.engine.step.models import Both, batches, line, sgd


def trained_with(clip):
    """The norms that the handler of the clipping saw, and the gradients that were stepped with."""
    net, norms, gradients = line(), [], []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, clip=clip))
    trainer.on(StepEvents.CLIPPING_COMPLETED)(lambda norm: norms.extend([norm]))

    @trainer.on(StepEvents.OPTIMIZER_STEP_STARTED)
    def note():
        gradients.append(torch.cat([one.grad.flatten().clone() for one in net.parameters()]))

    trainer.run(batches(1))
    return norms[0], gradients[0]


def gradients():
    net = line()
    (x, y), *_ = batches(1)
    F.mse_loss(net(x), y).backward()
    return torch.cat([one.grad.flatten() for one in net.parameters()])


@pytest.mark.covers("C8")
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_clipping_by_norm(p):
    norm, clipped = trained_with(ClipNorm(0.1, p))
    assert norm.item() == pytest.approx(torch.linalg.vector_norm(gradients(), p).item(), rel=1e-5)
    assert torch.linalg.vector_norm(clipped, p).item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.covers("C8")
def test_clipping_by_value():
    norm, clipped = trained_with(ClipValue(0.1))
    assert norm is None
    assert torch.equal(clipped, gradients().clamp(-0.1, 0.1))


def test_a_norm_that_is_no_number_can_be_an_error():
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([math.nan])
    with pytest.raises(RuntimeError, match="non-finite"):
        ClipNorm(1.0, error_if_nonfinite=True)([weight])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ClipNorm(0), "max_norm is a number above 0, given 0"),
        (lambda: ClipNorm(-1.0), "max_norm is a number above 0"),
        (lambda: ClipNorm(True), "max_norm is a number above 0"),
        (lambda: ClipNorm(math.inf), "bounds nothing; leave clipping out"),
        (lambda: ClipNorm(1.0, 0), "norm_type is a number above 0"),
        (lambda: ClipValue(math.nan), "max_value is a number above 0, given nan"),
        (lambda: GradientNorms(line(), -2), "norm_type is a number above 0 or math.inf, given -2"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.covers("C8")
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_norms_of_gradients_in_all_and_by_group(p):
    net = Both()
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, clip=ClipNorm(1e-3)))
    trainer.attach(GradientNorms(net, p))
    metrics = trainer.run(batches(1)).metrics
    twin = Both()
    (x, y), *_ = batches(1)
    F.mse_loss(twin(x), y).backward()

    def norm(module):
        flat = torch.cat([one.grad.flatten() for one in module.parameters()])
        return pytest.approx(torch.linalg.vector_norm(flat, p).item(), rel=1e-5)

    assert {name: value.item() for name, value in metrics.items()} == {
        "grad_norm": norm(twin),
        "grad_norm/first": norm(twin.first),
        "grad_norm/second": norm(twin.second),
    }


@pytest.mark.covers("C8")
def test_norms_are_noted_when_asked_for_and_grouped_as_asked():
    net, seen = Both(), []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss))
    by_kind = GradientNorms(net, groups=lambda n: n.split(".")[1] if "bias" in n else None, every=2)
    trainer.attach(by_kind)
    trainer.on("ITERATION_COMPLETED")(lambda e: seen.append(sorted(e.state.metrics)))
    trainer.run(batches(2))
    assert seen == [[], ["grad_norm", "grad_norm/bias"]]


@pytest.mark.covers("C8")
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_anomaly_detection_names_the_operation_and_is_put_back():
    net = line()
    loss = lambda y_pred, y: ((y_pred * 0).sqrt() * y_pred * 0).sum()  # noqa: E731
    trainer = Engine(training_step(net, sgd(net), loss))
    trainer.attach(DetectAnomaly())
    with pytest.raises(RuntimeError, match=r"SqrtBackward0.* returned nan values"):
        trainer.run(batches(1))
    assert not torch.is_anomaly_enabled()
    assert torch.is_anomaly_check_nan_enabled()
