"""Models that are told by a mode what is wanted of them."""

from __future__ import annotations

from collections import UserDict

import pytest
import torch
from ignite.metrics import Accuracy as IgniteAccuracy
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate import Engine
from footplate.engine.step.base_metric import BaseMetric
from footplate.engine.step.base_model import BaseModel
from footplate.engine.step.contracts import Modes, StepMethods, Supervised, contract_of
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from footplate.engine.step.events import StepEvents
from footplate.engine.step.modes import summed
from footplate.engine.step.training import training_step
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.metrics import Metrics
from tests.engine.step.models import Stepping, batches, line, sgd

pytestmark = pytest.mark.covers("C3")


class Line(BaseModel):
    """Names the parts of its loss, and tells of what it was called with."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.line = line()
        self.calls = []

    def forward(self, x, y=None, mode="tensor"):
        self.calls.append(mode)
        answer = self.line(x)
        if mode == "loss":
            return {"loss_fit": F.mse_loss(answer, y), "loss_size": answer.square(), "n": len(x)}
        return (answer, y) if mode == "predict" else answer


def vector(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def trained(model, data, **options):
    engine = Engine(training_step(model, sgd(model), **options), name="train")
    engine.run(data)
    return engine


# ------------------------------------------------------------------ the example of the tutorial


class Digits(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
        )

    def forward(self, imgs, labels, mode):
        x = self.net(imgs)
        if mode == "loss":
            return {"loss": F.cross_entropy(x, labels)}
        elif mode == "predict":
            return x, labels


class Accuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        score, gt = data_samples
        self.results.append(
            {
                "batch_size": len(gt),
                "correct": (score.argmax(dim=1) == gt).sum().cpu(),
            }
        )

    def compute_metrics(self, results):
        total_correct = sum(item["correct"] for item in results)
        total_size = sum(item["batch_size"] for item in results)
        return dict(accuracy=100 * total_correct / total_size)  # noqa: C408


@pytest.mark.covers("E3")
def test_the_example_of_the_tutorial_learns_digits():
    torch.manual_seed(0)
    bunch = load_digits()
    data = TensorDataset(
        torch.from_numpy(bunch.images).float().unsqueeze(1) / 16, torch.from_numpy(bunch.target)
    )
    train, val = torch.utils.data.random_split(data, [1500, 297])
    model, val_loader = Digits(), DataLoader(val, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = Engine(training_step(model, optimizer), name="train")
    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy()}))
    trainer.attach(Evaluation(evaluator, val_loader))
    state = trainer.run(DataLoader(train, 32, shuffle=True), max_epochs=4)
    assert state.metrics["val_accuracy"] > 95
    assert list(state.output) == ["loss"]

    model.eval()
    with torch.no_grad():
        images, labels = val[:]
        right = (model.net(images).argmax(1) == labels).sum().item()
    assert state.metrics["val_accuracy"] == pytest.approx(100 * right / 297, rel=1e-6)


# ------------------------------------------------------------------ which contract


def test_it_is_found_by_the_parameter():
    assert type(contract_of(Line())) is Modes
    assert type(contract_of(Line(), None, "modes")) is Modes
    assert type(evaluation_step(Line()).contract) is Modes
    assert type(prediction_step(Line()).contract) is Modes


def test_a_loss_that_is_given_decides():
    assert type(contract_of(Line(), F.mse_loss)) is Supervised
    with pytest.raises(ValueError, match="takes the loss from Line; leave loss= out"):
        contract_of(Line(), F.mse_loss, "modes")


def test_step_methods_go_before_a_mode():
    class Both(Stepping):
        def forward(self, x, y, mode):
            raise AssertionError

    assert type(contract_of(Both())) is StepMethods
    assert type(evaluation_step(Both()).contract) is StepMethods


def test_a_mode_of_another_kind_is_none():
    class Resize(nn.Module):
        def forward(self, x, mode="bilinear"):
            return x

    assert type(evaluation_step(Resize()).contract) is Supervised
    with pytest.raises(TypeError, match=r"no contract fits Resize with no loss.*modes: a model"):
        contract_of(Resize())
    with pytest.raises(
        TypeError, match=r"needs a model with forward.* not Resize.forward\(x, mode\)"
    ):
        contract_of(Resize(), None, "modes")


# ------------------------------------------------------------------ what forward is given


def seen_by(batch, preprocessor=None):
    """The arguments that a model was called with in training and in evaluation."""
    seen = []

    class Listening(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = line()
            if preprocessor is not None:
                self.data_preprocessor = preprocessor

        def forward(self, *args, mode, **kwargs):
            seen.append((mode, args, kwargs))
            return self.line(torch.ones(3)).sum() if mode == "loss" else "predicted"

    model = Listening()
    train = trained(model, [batch])
    val = Engine(evaluation_step(model), name="val")
    val.run([batch])
    assert train.state.batch is batch
    assert val.state.batch is batch
    assert val.state.output == "predicted"
    return seen


@pytest.mark.parametrize(
    ("batch", "args", "kwargs"),
    [
        ({"x": 1, "y": 2}, (), {"x": 1, "y": 2}),
        (UserDict(x=1), (), {"x": 1}),
        ([1, 2], (1, 2), {}),
        ((1,), (1,), {}),
        (7, (7,), {}),
        ("text", ("text",), {}),
    ],
)
def test_a_batch_is_unpacked(batch, args, kwargs):
    assert seen_by(batch) == [("loss", args, kwargs), ("predict", args, kwargs)]


def test_a_preprocessor_is_told_whether_it_is_training():
    def prepare(batch, training):
        return {"x": batch["x"], "training": training}

    assert seen_by({"x": 1}, preprocessor=prepare) == [
        ("loss", (), {"x": 1, "training": True}),
        ("predict", (), {"x": 1, "training": False}),
    ]


def test_a_preprocessor_that_takes_the_batch_alone():
    assert [args for _, args, _ in seen_by(3, preprocessor=lambda batch: (batch, -batch))] == [
        (3, -3),
        (3, -3),
    ]


def test_a_preprocessor_may_be_a_module_or_take_any_keyword():
    class Prepare(nn.Module):
        def forward(self, data, training=False):
            return [training]

    assert [args for _, args, _ in seen_by(0, preprocessor=Prepare())] == [(True,), (False,)]

    class Plain(nn.Module):
        def forward(self, data):
            return [data]

    assert [args for _, args, _ in seen_by(0, preprocessor=Plain())] == [(0,), (0,)]
    told = seen_by(0, preprocessor=lambda batch, **options: [options])
    assert [args for _, args, _ in told] == [({"training": True},), ({"training": False},)]


def test_a_preprocessor_may_be_exchanged():
    model = Line(lambda batch: batch)
    contract = Modes(model)
    pair = torch.ones(4, 3), torch.ones(4, 1)
    contract.evaluate(None, pair)
    model.data_preprocessor = lambda batch, training: (batch[0] * 0, training)
    answer, training = contract.evaluate(None, pair)
    assert training is False
    assert torch.equal(answer, model.line(torch.zeros(4, 3)))


def test_what_can_not_be_called_prepares_nothing():
    assert [args for _, args, _ in seen_by(3, preprocessor="none")] == [(3,), (3,)]


def test_hooks_of_the_model_hear_it():
    model, heard = Line(), []
    model.register_forward_hook(lambda *_: heard.append(1))
    trained(model, batches(2))
    assert len(heard) == 2


def test_prediction_asks_for_predictions():
    model = Line()
    answer, y = Engine(prediction_step(model)).run([torch.ones(2, 3)]).output
    assert (model.calls, y) == (["predict"], None)
    assert torch.equal(answer, model.line(torch.ones(2, 3)))


def test_metrics_see_the_batch_as_it_was_loaded():
    class Raw(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(data_batch)

        def compute_metrics(self, results):
            return {"raw": results == ["a", "b"]}

    class Model(BaseModel):
        def forward(self, x, mode):
            return x

    evaluator = Engine(evaluation_step(Model(lambda batch: batch.upper())), name="val")
    evaluator.attach(Metrics({"raw": Raw()}))
    state = evaluator.run(["a", "b"])
    assert (state.metrics, state.output) == ({"raw": True}, "B")


def test_a_metric_of_another_library_takes_the_pair():
    class Sure(BaseModel):
        def forward(self, x, y, mode):
            return torch.eye(2)[y], y

    evaluator = Engine(evaluation_step(Sure()), name="val")
    evaluator.attach(Metrics({"accuracy": IgniteAccuracy()}))
    assert evaluator.run([(None, torch.tensor([0, 1]))]).metrics == {"accuracy": 1.0}


# ------------------------------------------------------------------ losses


def test_losses_are_summed_as_by_hand():
    model, other = Line(), line()
    engine = trained(model, batches(3))
    optimizer = sgd(other)
    for x, y in batches(3):
        answer = other(x)
        loss = F.mse_loss(answer, y) + answer.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(vector(model), vector(other))
    report = engine.state.output
    assert list(report) == ["loss", "loss_fit", "loss_size", "n"]
    assert report["n"] == 4
    assert torch.equal(report["loss"], report["loss_fit"] + report["loss_size"])
    assert not report["loss"].requires_grad


def test_what_the_model_returned_is_not_changed():
    returned, heard = [], []

    class Keeping(Line):
        def forward(self, x, y, mode):
            returned.append(super().forward(x, y, mode))
            return returned[-1]

    model = Keeping()
    engine = Engine(training_step(model, sgd(model)), name="train")

    @engine.on(StepEvents.FORWARD_COMPLETED)
    def hear(engine, outputs):
        heard.append(outputs)

    engine.run(batches(1))
    assert heard[0] is returned[0]
    assert list(returned[0]) == ["loss_fit", "loss_size", "n"]
    assert returned[0]["loss_size"].shape == (4, 1)


def test_a_tensor_is_the_loss():
    class Bare(BaseModel):
        def __init__(self):
            super().__init__()
            self.line = line()

        def forward(self, x, y, mode):
            return F.mse_loss(self.line(x), y)

    assert list(trained(Bare(), batches(1)).state.output) == ["loss"]


def test_none_skips_the_batch():
    class Skipping(BaseModel):
        def __init__(self):
            super().__init__()
            self.line = line()

        def forward(self, x, y, mode):
            return None

    model = Skipping()
    before = vector(model)
    assert trained(model, batches(2)).state.output is None
    assert torch.equal(vector(model), before)


def test_a_loss_beside_others_is_part_of_the_sum():
    report = summed({"loss": torch.tensor(1.0), "aux_loss": torch.tensor(2.0)})
    assert report == {"loss": torch.tensor(3.0), "aux_loss": torch.tensor(2.0)}


def test_lists_of_tensors_count_as_the_sum_of_their_means():
    losses = {"loss_heads": (torch.tensor([1.0, 3.0]), torch.tensor(5.0)), "loss_none": []}
    report = summed(losses)
    assert report["loss"] == report["loss_heads"] == torch.tensor(7.0)
    assert report["loss_none"] == 0


def test_what_is_no_loss_is_reported_only():
    flags = torch.tensor([True, False])
    losses = {"loss": torch.tensor(1.0), "hits": flags, "heads": [torch.ones(2)], "name": "a"}
    report = summed(losses)
    assert (report["loss"], report["hits"], report["heads"]) == (1.0, 0.5, 1.0)
    assert report["name"] == "a"
    assert losses["hits"] is flags


def test_a_dict_with_no_loss_is_refused_with_its_keys():
    with pytest.raises(ValueError, match=r"this one has 'los', 'accuracy'\. Did you mean 'los'"):
        summed({"los": torch.tensor(1.0), "accuracy": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="this one has none"):
        summed({})


@pytest.mark.parametrize("value", [0.5, "much", [1.0], None, {"a": torch.ones(1)}])
def test_a_loss_of_another_kind_is_refused(value):
    with pytest.raises(TypeError, match=r"loss 'loss_x' is a tensor, or a list of tensors, given"):
        summed({"loss": torch.tensor(1.0), "loss_x": value})


def test_accumulation_and_precision_work_as_ever():
    model, stepped = Line(), []
    step = training_step(model, sgd(model), accumulate=2, precision="bf16")
    engine = Engine(step, name="train")
    engine.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    engine.run(batches(5))
    assert stepped == [2, 4, 5]


# ------------------------------------------------------------------ the base


def test_weights_are_initialized_once():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.line, self.asked = nn.Linear(2, 2), 0

        def init_weights(self):
            self.asked += 1
            nn.init.ones_(self.line.weight)

    class Model(BaseModel):
        def __init__(self):
            super().__init__(init_cfg=lambda one: isinstance(one, nn.Linear) and zero(one))
            self.body = nn.Linear(2, 2)
            self.heads = nn.Sequential(Head(), nn.ReLU())

    def zero(one):
        nn.init.zeros_(one.weight)

    model = Model()
    assert not model.is_init
    model.init_weights()
    assert model.is_init
    assert not model.body.weight.any()
    assert torch.equal(model.heads[0].line.weight, torch.ones(2, 2))
    nn.init.ones_(model.body.weight)
    model.init_weights()
    assert model.heads[0].asked == 1
    assert model.body.weight.all()


def test_steps_do_not_initialize():
    model = Line()
    trained(model, batches(1))
    assert not model.is_init


@pytest.mark.parametrize("option", ["data_preprocessor", "init_cfg"])
def test_configurations_are_refused(option):
    with pytest.raises(TypeError, match=rf"BaseModel: {option} is .*given \{{'type': 'X'\}}"):
        BaseModel(**{option: {"type": "X"}})


def test_a_preprocessor_that_is_a_module_is_part_of_the_model():
    class Normalize(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, batch, training=False):
            return batch[0] - self.mean, batch[1]

    model = Line(Normalize())
    assert "data_preprocessor.mean" in model.state_dict()
    trained(model, batches(1))
