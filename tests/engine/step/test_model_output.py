"""Models that answer with their loss: what they are handed, and what is made of the answer."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple, TypedDict, Unpack

import pytest
import torch
from ignite.metrics import MeanSquaredError
from torch import nn

from footplate import Engine
from footplate.engine.step.contracts import contract_of
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from footplate.engine.step.events import StepEvents
from footplate.engine.step.model_output import ModelOutput
from footplate.engine.step.training import training_step

pytestmark = pytest.mark.covers("C3")


@dataclass
class Answer:
    loss: torch.Tensor | None
    logits: torch.Tensor
    penalty: torch.Tensor | None = None
    hidden: torch.Tensor | None = None


class Named(NamedTuple):
    loss: torch.Tensor | None
    logits: torch.Tensor


KINDS = {
    "a dataclass": Answer,
    "a dict": lambda loss, logits: {"loss": loss, "logits": logits},
    "a named tuple": Named,
    "an object": lambda loss, logits: SimpleNamespace(loss=loss, logits=logits),
}


class Line(nn.Module):
    """Answers by a kind of object, and notes what it was handed."""

    def __init__(self, kind=Answer):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)
        self.kind = kind
        self.handed = []

    def forward(self, x, labels=None, *, weight=1.0, **others):
        self.handed.append({"labels": labels is not None, "weight": weight, **others})
        logits = self.line(x)
        loss = None if labels is None else weight * (logits - labels).square().mean()
        return self.kind(loss, logits)


def batch(**more):
    return {"x": torch.ones(4, 2), "labels": torch.zeros(4, 1), **more}


def trained(model, data, **options):
    contract = ModelOutput(model, **options) if options else "model_output"
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, contract=contract), name="train")
    return trainer.run(data)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_loss_is_found_in_whatever_has_it(kind):
    model = Line(kind)
    before = model.line.weight.clone()
    state = trained(model, [batch()])
    assert list(state.output) == ["loss"]
    assert not torch.equal(model.line.weight, before)
    evaluator = Engine(evaluation_step(model, contract="model_output"), name="val")
    report = evaluator.run([batch()]).output
    assert list(report) == ["y_pred", "y", "loss"]
    bare = evaluator.run([{"x": torch.ones(4, 2)}]).output
    assert list(bare) == ["y_pred"]


def test_other_single_numbers_are_reported_and_nothing_larger():
    def kind(loss, logits):
        return Answer(loss, logits, loss * 2, logits)

    state = trained(Line(kind), [batch()])
    assert state.output["penalty"] == 2 * state.output["loss"]
    assert list(state.output) == ["loss", "penalty"]


def test_what_the_answer_holds_is_gone_before_backward():
    kept = []

    class Watched(torch.Tensor):
        def __del__(self):
            kept.append("gone")

    def kind(loss, logits):
        return Answer(loss, logits, hidden=torch.ones(3).as_subclass(Watched))

    model = Line(kind)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, contract="model_output"), name="train")
    seen = []
    trainer.add_event_handler(StepEvents.BACKWARD_STARTED, lambda: seen.append(list(kept)))
    trainer.run([batch()])
    assert seen == [["gone"]]


def test_keywords_that_the_model_does_not_name_stay_behind():
    model = Line()
    trained(model, [batch(weight=2.0, text=["a"], number=torch.arange(4))])
    assert model.handed == [{"labels": True, "weight": 2.0}]


class Options(TypedDict, total=False):
    num_items_in_batch: int
    scale: float


class Told(Line):
    """One that says what its further keywords are."""

    def forward(self, x, labels=None, **others: Unpack[Options]):
        return super().forward(x, labels, **others)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("kind", "counts", "goes"),
    [
        (Line, True, {"num_items_in_batch": 4}),
        (Line, False, {}),
        (Told, True, {"num_items_in_batch": 4, "scale": 2.0}),
        (Told, False, {"scale": 2.0}),
    ],
)
def test_of_further_keywords_those_go_that_are_known(kind, counts, goes, compiled):
    model = kind()
    if not counts:
        model.accepts_loss_kwargs = False
    called = torch.compile(model, backend="eager") if compiled else model
    trained(called, [batch(num_items_in_batch=4, scale=2.0, text=["a"])])
    assert model.handed == [{"labels": True, "weight": 1.0, **goes}]


def test_a_model_that_takes_no_further_keywords_gets_none():
    class Plain(Line):
        def forward(self, x, labels=None):
            return super().forward(x, labels)

    model = Plain()
    trained(model, [batch(num_items_in_batch=4)])
    assert model.handed == [{"labels": True, "weight": 1.0}]


def test_a_model_that_names_none_is_handed_all():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Line()

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)

    model = Wrapped()
    trained(model, [batch(text=["a"])])
    assert model.inner.handed == [{"labels": True, "weight": 1.0, "text": ["a"]}]


def test_what_unpack_gives_goes_whole():
    model = Line()
    trained(model, [(torch.ones(4, 2), torch.zeros(4, 1))])
    trained(
        model,
        [(torch.ones(4, 2), torch.zeros(4, 1))],
        unpack=lambda pair: {"x": pair[0], "labels": pair[1], "more": 3},
    )
    assert model.handed[0] == {"labels": True, "weight": 1.0}
    assert model.handed[1] == {"labels": True, "weight": 1.0, "more": 3}


def test_other_mappings_and_single_inputs_are_taken():
    model = Line()
    trained(model, [UserDict(batch())])
    predictor = Engine(prediction_step(model, contract="model_output"), name="predict")
    assert predictor.run([torch.ones(3, 2)]).output.shape == (3, 1)
    assert predictor.run([{"x": torch.ones(3, 2)}]).output.shape == (3, 1)


def test_the_output_of_an_evaluation_may_be_chosen():
    contract = ModelOutput(Line(), output=lambda batch, answer: (answer.logits * 2, batch["x"]))
    evaluator = Engine(evaluation_step(contract.model, contract=contract), name="val")
    first, second = evaluator.run([batch()]).output
    assert first.shape == (4, 1)
    assert torch.equal(second, torch.ones(4, 2))


def test_an_answer_without_logits_is_reported_whole():
    def kind(loss, logits):
        return {"loss": loss, "start": logits, "end": logits}

    evaluator = Engine(evaluation_step(Line(kind), contract="model_output"), name="val")
    assert list(evaluator.run([batch()]).output) == ["loss", "start", "end"]


def test_metrics_take_their_pair_from_the_report():
    evaluator = Engine(evaluation_step(Line(), contract="model_output"), name="val")
    MeanSquaredError().attach(evaluator, "mse")
    state = evaluator.run([batch()])
    assert state.metrics["mse"] == pytest.approx(state.output["loss"].item())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"x": torch.ones(4, 2), "label": torch.zeros(4, 1)}, "does not take label; rename"),
        ({"x": torch.ones(4, 2)}, "when it is handed labels. The batch has x"),
        ([torch.ones(4, 2)], "it has logits. Was it handed the labels"),
    ],
)
def test_an_answer_without_a_loss_is_an_error(data, said):
    with pytest.raises(ValueError, match=said):
        trained(Line(), [data])


def test_the_error_names_what_the_model_takes_for_labels():
    class Ends(Line):
        def forward(self, x, start_positions=None, end_positions=None):
            return Answer(None, self.line(x))

    with pytest.raises(ValueError, match=r"handed start_positions or end_positions\."):
        trained(Ends(), [batch()])


def test_a_bare_tuple_is_an_error():
    with pytest.raises(TypeError, match="return_dict = True"):
        trained(Line(lambda loss, logits: (loss, logits)), [batch()])


def test_a_loss_function_besides_is_refused():
    with pytest.raises(ValueError, match="takes the loss from Line"):
        contract_of(Line(), nn.functional.mse_loss, "model_output")
