"""Which contract a model has, and what each of them does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.contracts import (
    BatchProcessor,
    Contract,
    LossFunctions,
    StepMethods,
    Supervised,
    contract_of,
)
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from tests.engine.step.models import DoesItAll, Stepping, batches, line, sgd


def weights_after(model, step, data=None):
    Engine(step, name="train").run(data or batches(3))
    return nn.utils.parameters_to_vector(model.parameters())


def expected():
    model = line()
    return weights_after(model, training_step(model, sgd(model), F.mse_loss))


def process(model, data, train_mode, scale=1.0):
    loss = F.mse_loss(model(data[0]), data[1])
    return {"loss": loss, "train_mode": train_mode, "scaled": loss.item() * scale}


@pytest.mark.parametrize(
    ("model", "loss", "kind"),
    [
        (line(), F.mse_loss, Supervised),
        (line(), nn.MSELoss(), Supervised),
        (Stepping(), None, StepMethods),
        (DoesItAll(), None, StepMethods),
        (Stepping(), F.mse_loss, Supervised),
        (line(), {"a": lambda model, batch: None}, LossFunctions),
        (line(), process, BatchProcessor),
    ],
)
def test_the_contract_that_fits_is_picked(model, loss, kind):
    assert type(contract_of(model, loss)) is kind


def test_a_contract_can_be_named_or_given():
    assert type(contract_of(line(), F.mse_loss, "supervised")) is Supervised
    own = Supervised(line(), F.mse_loss)
    assert contract_of(line(), F.mse_loss, own) is own


def test_what_fits_nothing_is_refused_with_what_each_contract_needs():
    with pytest.raises(
        TypeError, match=r"no contract fits Linear with no loss\. Give .*train_step"
    ):
        contract_of(line())
    with pytest.raises(TypeError, match=r"fits Linear with loss='mse'"):
        contract_of(line(), "mse")


@pytest.mark.parametrize("contract", [None, "supervised"])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, {"optimization": nn.CrossEntropyLoss}])
def test_a_class_in_the_place_of_a_loss_is_refused(loss, contract):
    model = line()
    with pytest.raises(TypeError, match=r"is a class, .* instance, loss=CrossEntropyLoss\(\)"):
        training_step(model, sgd(model), loss, contract=contract)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'supervised'"):
        contract_of(line(), F.mse_loss, "supervized")


def test_a_loss_for_a_model_that_computes_its_own_is_refused():
    with pytest.raises(ValueError, match="takes the loss from Stepping; leave loss= out"):
        contract_of(Stepping(), F.mse_loss, "step_methods")


@pytest.mark.covers("C2")
@pytest.mark.covers("C2")
def test_an_evaluation_has_no_optimizer_for_a_val_step_that_asks_for_one():
    class OfOld(nn.Linear):
        def val_step(self, data, optimizer, **kwargs):
            return optimizer, kwargs

    evaluator = Engine(evaluation_step(OfOld(1, 1)), name="val")
    assert evaluator.run([0]).output == (None, {})


def test_train_step_with_an_optimizer_leaves_backward_and_step_to_the_engine():
    model = Stepping()
    assert torch.equal(weights_after(model, training_step(model, sgd(model))), expected())


@pytest.mark.covers("C2")
def test_train_step_reports_all_that_it_returns():
    model = Stepping()
    output = Engine(training_step(model, sgd(model))).run(batches(1)).output
    assert list(output) == ["loss", "log_vars", "num_samples"]
    assert output["num_samples"] == 4


@pytest.mark.covers("C2")
def test_train_step_with_an_optim_wrapper_does_both_itself():
    model = DoesItAll()
    assert torch.equal(weights_after(model, training_step(model, sgd(model))), expected())


@pytest.mark.covers("C2")
@pytest.mark.covers("C7")
def test_an_optim_wrapper_accumulates():
    model, stepped = DoesItAll(), []
    trainer = Engine(training_step(model, sgd(model), accumulate=2))
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    trainer.run(batches(5))
    assert stepped == [2, 4, 5]


@pytest.mark.covers("C2")
def test_train_step_of_the_batch_alone():
    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = line()

        def train_step(self, batch):
            return F.mse_loss(self.line(batch[0]), batch[1])

    model = Alone()
    assert torch.equal(weights_after(model, training_step(model, sgd(model))), expected())


@pytest.mark.covers("C2")
def test_batch_processor():
    model = line()
    step = training_step(model, sgd(model), process)
    assert torch.equal(weights_after(model, step), expected())
    assert Engine(evaluation_step(model, process)).run(batches(1)).output["train_mode"] is False


@pytest.mark.covers("C2")
def test_run_keywords_reach_the_step():
    model = line()
    trainer = Engine(training_step(model, sgd(model), process))
    trainer.state.keywords = {"scale": 10.0}
    output = trainer.run(batches(1)).output
    assert output["scaled"] == pytest.approx(10 * output["loss"].item())

    evaluator = Engine(evaluation_step(stepping := Stepping()))
    plain = evaluator.run(batches(1)).output["error"]
    evaluator = Engine(evaluation_step(stepping))
    evaluator.state.keywords = {"scale": 3.0, "unknown": 1}
    assert evaluator.run(batches(1)).output["error"] == 3 * plain


class Evaluates(nn.Module):
    def __init__(self, *methods):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        for method in methods:
            setattr(self, method, lambda batch, method=method: method)


@pytest.mark.covers("C2")
@pytest.mark.parametrize(
    ("methods", "engine", "called"),
    [
        (("val_step", "test_step"), "val", "val_step"),
        (("val_step", "test_step"), "test", "test_step"),
        (("valid_step",), "val", "valid_step"),
        (("valid_step", "test_step"), "val", "valid_step"),
        (("valid_step",), "test", "valid_step"),
        (("test_step",), "val", "test_step"),
    ],
)
def test_which_step_evaluates(methods, engine, called):
    evaluator = Engine(evaluation_step(Evaluates(*methods)), name=engine)
    assert evaluator.run([0]).output == called


def test_a_model_without_the_step_asked_for_is_refused():
    with pytest.raises(TypeError, match="Evaluates has no val_step or valid_step or test_step; it"):
        Engine(evaluation_step(Evaluates("predict_step"))).run([0])


@pytest.mark.covers("B7")
def test_predict_step_and_without_it_the_model_itself():
    assert Engine(prediction_step(Evaluates("predict_step"))).run([0]).output == "predict_step"
    model = line()
    (x, _), *_ = data = batches(1)
    assert torch.equal(Engine(prediction_step(model)).run(data).output, model(x))
    assert torch.equal(Engine(prediction_step(model)).run([x]).output, model(x))


@pytest.mark.covers("C1")
def test_a_batch_is_a_pair_unless_said_otherwise():
    model = line()
    with pytest.raises(TypeError, match=r"a batch is \(input, target\), given a list of 3 parts"):
        Engine(training_step(model, sgd(model), F.mse_loss)).run([[1, 2, 3]])
    with pytest.raises(TypeError, match="given a dict of no pair; say how to take it apart"):
        Engine(training_step(model, sgd(model), F.mse_loss)).run([{"x": 1}])
    contract = Supervised(model, F.mse_loss, unpack=lambda batch: (batch["x"], batch["y"]))
    data = [{"x": x, "y": y} for x, y in batches(3)]
    step = training_step(model, sgd(model), contract=contract)
    assert torch.equal(weights_after(model, step, data), expected())
    assert Engine(prediction_step(model, contract=contract)).run(data).output.shape == (4, 1)


def test_training_a_plain_module_needs_a_loss():
    model = line()
    step = training_step(model, sgd(model), contract=Supervised(model))
    with pytest.raises(TypeError, match="needs a loss function"):
        Engine(step).run(batches(1))


def test_an_own_contract():
    class Doubled(Contract):
        name = "doubled"
        needs = "nothing"

        def forward(self, engine, batch, turn=None):
            return self.model(batch)

        def loss(self, outputs, batch):
            return {"loss": (outputs - 2 * batch).square().mean(), "epoch": 1}

        def evaluate(self, engine, batch):
            return engine.name

    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    trainer = Engine(training_step(model, sgd(model), contract=Doubled(model)))
    trainer.run([torch.randn(8, 1) for _ in range(200)])
    assert model.weight.item() == pytest.approx(2.0, abs=1e-3)
    evaluator = Engine(evaluation_step(model, contract=Doubled(model)), name="val")
    assert evaluator.run([0]).output == "val"


def test_what_an_own_contract_lacks_is_named():
    class Lacking(Contract):
        name = "lacking"

    model = line()
    with pytest.raises(NotImplementedError, match=r"Lacking.forward\(\) is missing"):
        Engine(training_step(model, sgd(model), contract=Lacking(model))).run(batches(1))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda m: training_step(m, "adam", F.mse_loss), TypeError, "an optimizer of torch, given"),
        (lambda m: training_step(m, {}, F.mse_loss), ValueError, "needs an optimizer"),
        (lambda m: training_step(m, sgd(m), F.mse_loss, clip=1.0), TypeError, r"ClipNorm\(1.0\)"),
        (
            lambda m: training_step(m, sgd(m), F.mse_loss, precision="fp61"),
            ValueError,
            "'fp32', 'bf16', 'fp16', given 'fp61'. Did you mean 'fp16'",
        ),
        (
            lambda m: training_step(m, Optimization(sgd(m)), F.mse_loss, accumulate=2),
            ValueError,
            "accumulate= can't be set for 'optimization', which is an Optimization already",
        ),
        (
            lambda m: training_step(m, {"a": sgd(m)}, F.mse_loss, clip={"b": print}),
            ValueError,
            "clip= names 'b', but the optimizers are 'a'",
        ),
        (
            lambda m: training_step(m, {"a": sgd(m), "b": sgd(m)}, F.mse_loss),
            ValueError,
            r"'a' and 'b' share a parameter of shape \(1, 3\)",
        ),
        (
            lambda m: training_step(m, torch.optim.SGD([m.weight], lr=0.1), F.mse_loss),
            ValueError,
            "in no group, so not trained: bias. Add it, or set requires_grad to False",
        ),
        (
            lambda m: training_step(DoesItAll(), sgd(m), turns=lambda iteration: []),
            ValueError,
            r"turns= says whose turn it is, but DoesItAll.train_step steps its optimizers itself",
        ),
        (
            lambda m: training_step(m, {"first": sgd(m)}, {"frist": print}),
            ValueError,
            "losses for 'frist', but the optimizers are 'first'. Did you mean 'first'",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make(line())
