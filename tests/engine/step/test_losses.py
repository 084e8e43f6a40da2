"""What a step may return as its loss, and what of it is reported."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.losses import read_loss, reported
from footplate.engine.step.training import training_step
from tests.engine.step.models import batches, line, sgd

WEIGHT = torch.nn.Parameter(torch.tensor(2.0))


def step_with(loss):
    model = line()
    return model, Engine(training_step(model, sgd(model), loss))


@pytest.mark.covers("C5")
def test_a_tensor_is_the_loss():
    model, engine = step_with(F.mse_loss)
    (x, y), *_ = data = batches(1)
    expected = F.mse_loss(model(x), y).item()
    output = engine.run(data).output
    assert output.keys() == {"loss"}
    assert output["loss"].item() == expected
    assert not output["loss"].requires_grad
    assert not torch.equal(model.weight, line().weight)  # it is trained on


@pytest.mark.covers("C5")
def test_a_dict_is_trained_on_its_loss_alone_and_never_changed():
    given = []

    def loss(y_pred, y):
        mse = F.mse_loss(y_pred, y)
        given.append({"loss": mse, "other_loss": 100 * mse, "seen": {"y": [y_pred]}, "n": 4})
        return given[-1]

    model, engine = step_with(loss)
    expected, plain = step_with(F.mse_loss)
    plain.run(batches(1))
    output = engine.run(batches(1)).output
    assert torch.equal(model.weight, expected.weight)
    assert not torch.equal(model.weight, line().weight)
    assert list(output) == ["loss", "other_loss", "seen", "n"]
    assert output["n"] == 4
    assert not output["seen"]["y"][0].requires_grad
    assert list(given[0]) == list(output)
    assert given[0]["loss"].requires_grad
    assert given[0]["seen"]["y"][0].requires_grad


@pytest.mark.covers("C5")
@pytest.mark.parametrize("nothing", [None, {"loss": None, "reason": "empty"}])
def test_none_skips_the_batch(nothing):
    model, engine = step_with(lambda y_pred, y: nothing)
    before = model.weight.detach().clone()
    assert engine.run(batches(2)).output == nothing
    assert engine.state.iteration == 2
    assert torch.equal(model.weight, before)
    assert engine.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 0


@pytest.mark.parametrize(
    ("returned", "error", "says"),
    [
        (
            {"loss_cls": WEIGHT * 1, "loss_box": WEIGHT * 1},
            ValueError,
            r"needs the key 'loss'.* this one has 'loss_cls', 'loss_box'\. Did you mean 'loss_",
        ),
        ({}, ValueError, "this one has none"),
        (0.5, TypeError, r"needs a tensor, a dict .* or None to skip the batch; given a float"),
        ({"loss": 0.5}, TypeError, "given a float under 'loss': 0.5"),
        ([WEIGHT * 1], TypeError, "given a list"),
        (WEIGHT * torch.ones(3), ValueError, r"shape \(3,\); reduce it with .mean"),
        (torch.tensor(1.0), ValueError, "depends on no parameter .*return None to skip"),
    ],
)
def test_anything_else_is_refused(returned, error, says):
    with pytest.raises(error, match=says):
        read_loss(returned)


def test_a_refusal_says_where_it_came_from():
    _, engine = step_with(lambda y_pred, y: {"los": y_pred.sum()})
    with pytest.raises(ValueError, match="Did you mean 'los'") as caught:
        engine.run(batches(1))
    assert any("the step of" in note for note in caught.value.__notes__)


def test_a_loss_of_one_element_may_have_any_shape():
    assert read_loss(WEIGHT * torch.ones(1, 1)).shape == (1, 1)


def test_what_is_reported_shares_no_graph():
    loss = WEIGHT * 3
    assert not reported(loss)["loss"].requires_grad
    assert reported({"loss": loss})["loss"].item() == 6.0


def test_output_is_made_of_batch_outputs_and_report():
    model = line()
    step = training_step(
        model,
        sgd(model),
        F.mse_loss,
        output=lambda batch, outputs, report: (outputs, batch[1], report["loss"]),
    )
    y_pred, y, loss = Engine(step).run(batches(1)).output
    assert not y_pred.requires_grad
    assert loss.item() == F.mse_loss(y_pred, y).item()
