"""Metrics of three libraries, attached by the same call."""

from __future__ import annotations

import io
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from ignite.metrics import (
    ROC_AUC,
    Accuracy,
    Average,
    ConfusionMatrix,
    EpochMetric,
    Fbeta,
    Frequency,
    IoU,
    Loss,
    MeanSquaredError,
    MetricGroup,
    MetricsLambda,
    Precision,
    Recall,
    RunningAverage,
    TopKCategoricalAccuracy,
)
from ignite.metrics.metric import BatchFiltered
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset

from footplate import Engine, Events
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import StateError
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.stream.scalars import METRICS_COMPUTED
from footplate.handlers.metrics import Metrics
from footplate.handlers.sanity_check import SanityCheck
from tests.engine.placement.launching import called_in_processes

torchmetrics = pytest.importorskip("torchmetrics")


@pytest.mark.covers("A12")
def test_metrics_equal_those_over_all_samples_at_once():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(23, 4, generator=generator)
    labels = torch.randint(4, (23,), generator=generator)
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}))
    batches = list(zip(scores.split(5), labels.split(5), strict=True))
    metrics = evaluator.run(batches).metrics
    assert metrics["accuracy"] == (scores.argmax(1) == labels).double().mean().item()
    assert metrics["loss"] == pytest.approx(F.cross_entropy(scores, labels).item())


def test_an_epoch_begins_from_nothing():
    engine = Engine(lambda engine, batch: batch)
    engine.attach(Metrics({"mean": Average()}))
    seen = []
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: seen.append(e.state.metrics["mean"]), priority="LOW"
    )
    data = iter([1.0, 3.0, 10.0, 30.0])
    engine.run(data, max_epochs=2, epoch_length=2)
    assert seen == [2.0, 20.0]


def test_a_running_average_stands_in_the_state_after_each_iteration():
    engine = Engine(lambda engine, batch: batch)
    engine.attach(Metrics(running={"loss": lambda output: output}, alpha=0.5))
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.metrics["loss"]), priority="LOW"
    )
    engine.run([1.0, 2.0, 4.0])
    assert seen == [1.0, 1.5, 2.75]


def test_accumulation_goes_on_in_the_midst_of_an_epoch():
    def made() -> Engine:
        engine = Engine(lambda engine, batch: batch)
        engine.attach(Metrics({"mean": Average()}, running={"loss": lambda x: x}))
        return engine

    expected = made().run([1.0, 2.0, 6.0]).metrics
    first, saved = made(), []
    first.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    first.run([1.0, 2.0, 6.0])
    second = made()
    second.load_state_dict(saved[0])
    assert second.run([1.0, 2.0, 6.0]).metrics == expected


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Metrics, ValueError, "no metric"),
        (lambda: Metrics({"a": Accuracy}), TypeError, "give an instance"),
        (lambda: Metrics(Accuracy()), TypeError, "given by name, as .* given <ignite.metrics"),
        (lambda: Metrics([Accuracy()]), TypeError, "given by name"),
        (lambda: Metrics({"a": 3}), TypeError, "'a' is a int; give an instance"),
        (lambda: Metrics({"a": Average()}, running={"a": abs}), ValueError, "given twice"),
        (lambda: Metrics({"a": Average()}, usage="day"), ValueError, "usage 'day' is none of"),
        (
            lambda: Metrics({"loss": Average()}, usage={"los": "batch"}),
            ValueError,
            r"usage= names metric 'los', but there are only 'loss'. Did you mean 'loss'",
        ),
        (
            lambda: Metrics({"loss": Average()}, output_transform={"x": abs}),
            ValueError,
            "output_transform= names metric 'x'",
        ),
        (
            lambda: Metrics({"loss": Average()}, output_transform=abs),
            ValueError,
            r"of pytorch-ignite; give it its output_transform: Average\(",
        ),
    ],
)
def test_nonsense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ------------------------------------------------------------------ all of pytorch-ignite


N, CLASSES = 23, 4
generator = torch.Generator().manual_seed(0)
SCORES = torch.rand(N, CLASSES, generator=generator)
LABELS = torch.randint(CLASSES, (N,), generator=generator)
BATCHES = list(zip(SCORES.split(5), LABELS.split(5), strict=True))


def evaluator_with(*given: Any, data: Any = None, **options: Any) -> Engine:
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.attach(Metrics(*given, **options))
    return engine


def f1() -> MetricsLambda:
    precision, recall = Precision(average=False), Recall(average=False)
    return (precision * recall * 2 / (precision + recall)).mean()


def certainty(y_pred: torch.Tensor, y: torch.Tensor) -> float:
    return y_pred.gather(1, y[:, None]).median().item()


EVERYWHERE = {
    "accuracy": Accuracy,
    "loss": lambda: Loss(F.cross_entropy),
    "top 2": lambda: TopKCategoricalAccuracy(2),
    "precision": lambda: Precision(average=True),
    "by class": lambda: Recall(average=False),
    "confusion": lambda: ConfusionMatrix(CLASSES),
    "matrix": lambda: IoU(ConfusionMatrix(CLASSES)),
    "epoch": lambda: EpochMetric(certainty, check_compute_fn=False),
    "arithmetic": f1,
    "lambda": lambda: MetricsLambda(lambda a, b: a - b, Accuracy(), TopKCategoricalAccuracy(2)),
    "fbeta": lambda: Fbeta(1.0),
    "item": lambda: Precision(average=False)[1],
    "mean": lambda: Average(lambda output: output[0]),
    "error": lambda: MeanSquaredError(lambda output: (output[0].amax(1), output[1].float())),
}


@pytest.mark.covers("E1")
@pytest.mark.parametrize("name", EVERYWHERE)
def test_any_metric_of_ignite_equals_that_over_all_samples_at_once(name):
    make = EVERYWHERE[name]
    value = evaluator_with({name: make()}).run(BATCHES).metrics[name]
    if name in ("mean", "error"):
        expected = make()
        expected.iteration_completed(holding((SCORES, LABELS)))
    else:
        expected = make()
        expected.update((SCORES, LABELS))
    expected = torch.as_tensor(expected.compute())
    torch.testing.assert_close(torch.as_tensor(value), expected, check_dtype=False)


def holding(output: Any) -> Engine:
    engine = Engine(lambda engine, batch: None)
    engine.state.output = output
    return engine


@pytest.mark.covers("E1")
def test_metrics_that_share_parts_and_metrics_of_ignite_in_groups():
    precision = Precision(average=False)
    group = MetricGroup({"group_accuracy": Accuracy(), "group_loss": Loss(F.cross_entropy)})
    engine = evaluator_with({"f1": (precision * 2).mean(), "precision": precision, "both": group})
    metrics = engine.run(BATCHES).metrics
    assert metrics["f1"] == pytest.approx(2 * metrics["precision"].mean().item())
    assert metrics["both"] == {key: metrics[key] for key in ("group_accuracy", "group_loss")}


@pytest.mark.covers("E1")
def test_a_metric_of_ignite_is_still_attached_to_the_engine_itself():
    accuracy, double = Accuracy(), Accuracy() * 2
    engine = evaluator_with({"accuracy": accuracy, "double": double})
    assert accuracy.is_attached(engine)
    assert double.is_attached(engine)
    accuracy.detach(engine)
    double.detach(engine)
    assert not accuracy.is_attached(engine)
    assert engine.run(BATCHES).metrics == {}


@pytest.mark.covers("E1")
def test_metrics_with_a_way_of_their_own_are_attached_in_it():
    engine = evaluator_with(
        {
            "rate": Frequency(output_transform=lambda output: len(output[1])),
            "smooth": RunningAverage(Loss(F.cross_entropy), alpha=0.5),
        }
    )
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: seen.append(dict(e.state.metrics)),
        priority="ABOVE_NORMAL",
    )
    engine.run(BATCHES)
    expected = None
    for scores, labels in BATCHES:
        loss = F.cross_entropy(scores, labels).item()
        expected = loss if expected is None else 0.5 * expected + 0.5 * loss
    assert seen[-1]["smooth"] == pytest.approx(expected)
    assert all(one["rate"] > 0 for one in seen)


@pytest.mark.usefixtures("no_collector")
def test_no_metric_keeps_the_engine():
    engine = evaluator_with({"f1": f1()})
    metrics = engine.handlers["metrics"]
    died = weakref.ref(engine)
    del engine
    assert died() is None
    assert metrics.metrics


# ------------------------------------------------------------------ when


class Right:
    """What MMEngine asks of a metric: one entry a sample."""

    def __init__(self) -> None:
        self.results: list = []

    def process(self, data_batch: Any, data_samples: Any) -> None:
        scores, labels = data_samples
        self.results.extend((scores.argmax(1) == labels).tolist())

    def compute_metrics(self, results: list) -> dict:
        return {"right": sum(results) / len(results)}


def of_torch() -> Any:
    return torchmetrics.Accuracy(task="multiclass", num_classes=CLASSES)


KINDS = {"ignite": Accuracy, "torchmetrics": of_torch, "process": Right}


def accuracy_of(samples: slice) -> float:
    return (SCORES.argmax(1) == LABELS)[samples].float().mean().item()


@pytest.mark.covers("E1")
@pytest.mark.covers("E2")
@pytest.mark.covers("E3")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("usage", ["epoch", "batch", "running"])
def test_each_kind_has_each_usage(kind, usage):
    engine, seen = evaluator_with({"right": KINDS[kind]()}, usage=usage), []
    event = Events.EPOCH_COMPLETED if usage == "epoch" else Events.ITERATION_COMPLETED
    engine.add_event_handler(
        event, lambda e: seen.append(float(e.state.metrics["right"])), priority="ABOVE_NORMAL"
    )
    engine.run(BATCHES, max_epochs=2)
    ends = [5, 10, 15, 20, 23]
    expected = {
        "epoch": [accuracy_of(slice(None))],
        "batch": [accuracy_of(slice(start, start + 5)) for start in range(0, N, 5)],
        "running": [accuracy_of(slice(end)) for end in ends],
    }[usage]
    assert seen == pytest.approx(expected * 2)


@pytest.mark.covers("E2")
def test_an_epochs_single_value_is_a_number_and_an_iterations_stays_on_its_device():
    for usage, kind in (("epoch", float), ("running", torch.Tensor)):
        metrics = evaluator_with({"right": of_torch()}, usage=usage).run(BATCHES).metrics
        assert type(metrics["right"]) is kind


@pytest.mark.covers("E2")
def test_what_stands_in_mappings_are_numbers_too():
    class Two(Right):
        def compute_metrics(self, results: list) -> dict:
            return {"float": np.float32(0.5), "deep": {"one": torch.tensor(2), "two": (1, 2)}}

    group = MetricGroup({"mean": Average(lambda one: one[0].mean().item()), "by class": Recall()})
    metrics = evaluator_with({"group": group, "two": Two()}).run(BATCHES).metrics
    assert type(metrics["mean"]) is type(metrics["group"]["mean"]) is float
    assert metrics["by class"].shape == (CLASSES,)
    assert type(metrics["float"]) is float
    assert metrics["deep"] == {"one": 2, "two": (1, 2)}
    assert type(metrics["deep"]["one"]) is int


@pytest.mark.covers("E1")
def test_what_is_told_in_each_iteration_is_what_the_metric_made():
    class Array(Right):
        def compute_metrics(self, results: list) -> dict:
            return {"array": np.ones(2), "number": np.float64(0.5), "tensor": torch.tensor(1.0)}

    engine, told = evaluator_with({"array": Array()}, usage="batch"), []
    engine.on(METRICS_COMPUTED)(lambda metrics, on: told.append((on, metrics)))
    engine.run(BATCHES[:1])
    ((on, metrics),) = told
    assert on == "iteration"
    assert [type(one) for one in metrics.values()] == [np.ndarray, np.float64, torch.Tensor]


@pytest.mark.covers("E1")
@pytest.mark.parametrize(("usage", "told"), [("epoch", ["epoch"]), ("running", ["iteration"] * 5)])
def test_a_metric_that_takes_an_event_for_a_usage_has_one(usage, told):
    rate = Frequency(output_transform=lambda output: len(output[1]))
    engine, heard = evaluator_with({"rate": rate}, usage=usage), []
    engine.on(METRICS_COMPUTED)(lambda metrics, on: heard.append((on, metrics["rate"] > 0)))
    engine.run(BATCHES)
    assert heard == [(on, True) for on in told]


@pytest.mark.parametrize("usage", ["batch", "running_batch_wise", BatchFiltered(every=2)])
def test_a_usage_that_such_a_metric_can_t_follow_is_refused(usage):
    with pytest.raises(ValueError, match=r"'rate', a Frequency is .* 'epoch' or 'running', given"):
        evaluator_with({"rate": Frequency()}, usage=usage)


@pytest.mark.covers("E1")
def test_usages_by_name():
    engine = evaluator_with(
        {"now": Accuracy(), "all": Accuracy(), "half": Accuracy(), "rest": Accuracy()},
        usage={"now": "batch", "all": "running_batch_wise", "half": BatchFiltered(every=2)},
    )
    metrics = engine.run(BATCHES, max_epochs=2).metrics
    assert metrics["now"] == pytest.approx(accuracy_of(slice(20, 23)))
    assert metrics["rest"] == metrics["all"] == pytest.approx(accuracy_of(slice(None)))
    assert metrics["half"] != metrics["rest"]


# ------------------------------------------------------------------ names


@pytest.mark.covers("E2")
def test_values_by_name_stand_under_these():
    four = {"task": "multiclass", "num_classes": CLASSES, "average": "macro"}
    scores = torchmetrics.MetricCollection(
        {"precision": torchmetrics.Precision(**four), "recall": torchmetrics.Recall(**four)},
        prefix="macro_",
    )
    metrics = evaluator_with({"scores": scores, "right": Right()}).run(BATCHES).metrics
    assert list(metrics) == ["macro_precision", "macro_recall", "right"]
    alone = torchmetrics.Precision(**four)
    alone.update(SCORES, LABELS)
    assert metrics["macro_precision"] == alone.compute().item()


@pytest.mark.parametrize("usage", ["epoch", "batch"])
def test_one_name_for_two_metrics_is_an_error_that_names_both(usage):
    engine = evaluator_with({"right": Accuracy(), "mine": Right()}, usage=usage)
    with pytest.raises(
        ValueError, match=r"'right' is computed by metric 'right', a Accuracy, and by metric 'mine'"
    ):
        engine.run(BATCHES)


def test_one_name_in_two_handlers_is_an_error_that_names_both():
    engine = evaluator_with({"right": Accuracy()})
    engine.attach(Metrics({"mine": Right()}), name="others")
    with pytest.raises(ValueError, match=r"'mine', a Right and, for handler 'metrics', by metric"):
        engine.run(BATCHES)
    engine.detach(engine.handlers["others"])


def test_a_metric_that_fails_leaves_the_others_values():
    engine = evaluator_with({"right": Right()})
    engine.state.metrics["mine"] = 1.0
    engine.handlers["metrics"].metrics["right"].compute_metrics = lambda results: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.run(BATCHES)
    assert engine.state.metrics == {"mine": 1.0}


# ------------------------------------------------------------------ who hears


def heard_by(engine: Engine) -> list:
    heard: list = []
    engine.add_event_handler(
        METRICS_COMPUTED, lambda metrics, on: heard.append((on, dict(metrics)))
    )
    return heard


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_announced_once_an_epoch_when_all_are_there(kind):
    engine = evaluator_with({"right": KINDS[kind](), "loss": Loss(F.cross_entropy)})
    heard = heard_by(engine)
    metrics = engine.run(BATCHES, max_epochs=2).metrics
    assert heard == [("epoch", metrics)] * 2
    assert set(metrics) == {"right", "loss"}


def test_each_usage_is_announced():
    engine = evaluator_with({"a": Accuracy()}, running={"b": lambda output: output[0].mean()})
    heard = heard_by(engine)
    engine.run(BATCHES[:2])
    assert [(on, list(metrics)) for on, metrics in heard] == [
        ("iteration", ["b"]), ("iteration", ["b"]), ("epoch", ["a"])
    ]  # fmt: skip


def test_metrics_are_there_before_evaluation_and_before_all_that_look():
    trainer = Engine(lambda engine, batch: batch, name="train")
    seen = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: seen.append(list(e.state.metrics)), priority=40
    )
    trainer.attach(Metrics({"a": Average()}, running={"b": lambda output: output}))
    trainer.run([1.0])
    assert seen == [["b", "a"]]


# ------------------------------------------------------------------ what the data set says


class Pets(Dataset):
    metainfo = {"classes": ("cat", "dog", "cow", "pig")}  # noqa: RUF012

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple:
        return SCORES[index], LABELS[index]


class ByClass(Right):
    dataset_meta = None

    def compute_metrics(self, results: list) -> dict:
        return {"classes": self.dataset_meta["classes"]}


@pytest.mark.covers("E3")
def test_metrics_know_what_the_data_set_says():
    engine = evaluator_with({"names": ByClass()})
    state = engine.run(DataLoader(Subset(Pets(), range(9)), 4))
    assert state.metrics == {"classes": ("cat", "dog", "cow", "pig")}
    assert state.dataset_meta == Pets.metainfo
    engine = evaluator_with({"right": Right()})
    assert engine.run(BATCHES).dataset_meta is None


@pytest.mark.covers("E3")
def test_a_resumed_run_knows_it_too():
    first = evaluator_with({"names": ByClass()})
    first.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.interrupt())
    first.run(DataLoader(Pets(), 4))
    second = evaluator_with({"names": ByClass()})
    second.load_state_dict(first.state_dict())
    assert second.run(DataLoader(Pets(), 4)).metrics == {"classes": Pets.metainfo["classes"]}


# ------------------------------------------------------------------ going on


@pytest.mark.covers("E1")
@pytest.mark.covers("E2")
@pytest.mark.covers("E3")
@pytest.mark.parametrize("cut", [1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("usage", ["epoch", "running"])
def test_a_restored_run_comes_to_the_same_bits(kind, cut, usage):
    def made() -> Engine:
        metrics = {"right": KINDS[kind]()}
        return evaluator_with(metrics, usage=usage, running={"mean": lambda o: o[0].mean()})

    whole, first, file = made(), made(), io.BytesIO()
    expected = whole.run(BATCHES, max_epochs=2).metrics
    first.on(Events.SAFE_POINT(once=cut))(lambda e: torch.save(e.state_dict(), file))
    first.run(BATCHES, max_epochs=2)
    file.seek(0)
    second = made()
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.run(BATCHES, max_epochs=2).metrics == expected


def test_the_state_of_other_metrics_is_refused():
    state = evaluator_with({"a": Average()}).state_dict()
    with pytest.raises(StateError, match=r"the state has metrics \['a'\], not \['b'\]"):
        evaluator_with({"b": Average()}).load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sanity_check_leaves_no_trace(kind):
    evaluator = evaluator_with({"right": KINDS[kind]()})
    heard = heard_by(evaluator)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(SanityCheck(evaluator, BATCHES))
    trainer.run([0])
    assert evaluator.state.metrics == {}
    heard.clear()
    assert evaluator.run(BATCHES).metrics["right"] == pytest.approx(accuracy_of(slice(None)))
    assert len(heard) == 1


# ------------------------------------------------------------------ half precision


@pytest.mark.covers("E5")
def test_metrics_over_an_evaluation_in_half_precision():
    torch.manual_seed(0)
    model, y = torch.nn.Linear(3, CLASSES), torch.arange(8) % CLASSES
    x = torch.randn(8, 3)
    evaluator = Engine(evaluation_step(model, precision="bf16"), name="val")
    four = {"task": "multiclass", "num_classes": CLASSES}
    evaluator.attach(
        Metrics(
            {
                "accuracy": Accuracy(),
                "loss": Loss(F.cross_entropy),
                "roc": ROC_AUC(lambda output: (output[0].softmax(1)[:, 0], output[1] == 0)),
                "torch": of_torch(),
                "auroc": torchmetrics.AUROC(**four),
                "right": Right(),
            }
        )
    )
    data = list(zip(x.split(3), y.split(3), strict=True))
    metrics = evaluator.run(data).metrics
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(x)
    assert scores.dtype == torch.bfloat16
    right = (scores.argmax(1) == y).float().mean().item()
    assert metrics["accuracy"] == metrics["torch"] == metrics["right"] == right
    assert metrics["loss"] == pytest.approx(F.cross_entropy(scores.float(), y).item(), rel=0.02)
    assert 0 <= metrics["auroc"] <= 1
    assert 0 <= metrics["roc"] <= 1  # by numpy, which knows no bf16


# ------------------------------------------------------------------ MMEngine's own


@pytest.mark.covers("E3")
def test_a_metric_of_mmengine():
    evaluators = pytest.importorskip("mmengine.evaluator")

    class Score(evaluators.BaseMetric):
        default_prefix = "mm"

        def process(self, data_batch: Any, data_samples: Any) -> None:
            Right.process(self, data_batch, data_samples)  # type: ignore[arg-type]

        def compute_metrics(self, results: list) -> dict:
            return {"right": sum(results) / len(results), "n": len(self.dataset_meta["classes"])}

    engine = evaluator_with({"score": Score()})
    loader = DataLoader(Pets(), 5)
    for _ in range(2):
        metrics = engine.run(loader).metrics
        assert metrics == {"mm/right": pytest.approx(accuracy_of(slice(None))), "mm/n": 4}
    several = evaluator_with({"all": evaluators.Evaluator([Score(prefix="a"), Score(prefix="b")])})
    metrics = several.run(loader).metrics
    assert list(metrics) == ["a/right", "a/n", "b/right", "b/n"]
    fails = several.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        several.run(loader)
    several.state.max_epochs = None
    assert several.run(loader).metrics == metrics


# ------------------------------------------------------------------ over processes


class InOrder(Right):
    """Which samples it saw, in order."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        scores, labels = data_samples
        for score, label in zip(scores, labels, strict=True):
            self.results.append({"score": score, "right": (score.argmax() == label).item()})

    def compute_metrics(self, results: list) -> dict:
        places = [int((one["score"] == SCORES).all(1).nonzero()) for one in results]
        right = sum(one["right"] for one in results) / len(results)
        return {"places": places, "right": right, "rank": rank()}


def padded() -> DataLoader:
    return DataLoader(Pets(), 5, sampler=DistributedSampler(Pets(), shuffle=False))


def uneven() -> DataLoader:
    return ordered_loader(Pets(), 5, rank=rank(), world_size=world_size(), even=False)


def refused() -> str:
    metric = InOrder()
    metric.process = lambda data_batch, data_samples: metric.results.extend([0] * 10)
    try:
        evaluator_with({"order": metric}).run(padded())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def mmengines_own() -> dict | None:
    try:
        from mmengine.evaluator import BaseMetric
    except ImportError:
        return None
    own = {"process": InOrder.process, "compute_metrics": InOrder.compute_metrics}
    score = type("Score", (BaseMetric,), own)(prefix="mm")
    return evaluator_with({"score": score}).run(padded()).metrics


def each_process_sees() -> dict:
    return {
        "taken": len(padded().sampler),
        "padded": evaluator_with({"order": InOrder()}).run(padded()).metrics,
        "uneven": evaluator_with({"order": InOrder()}).run(uneven()).metrics,
        "too many": refused(),
        "mmengine": mmengines_own(),
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("processes")
    return called_in_processes("tests.handlers.test_metrics:each_process_sees", folder)


@pytest.mark.covers("E3")
def test_all_processes_have_what_one_alone_would_have(told):
    first, second = told
    alone = evaluator_with({"order": InOrder()}).run(DataLoader(Pets(), 5)).metrics
    assert alone["places"] == list(range(N))
    assert first["padded"] == first["uneven"] == second["padded"] == second["uneven"] == alone
    assert first["taken"] * 2 == N + 1


@pytest.mark.covers("E3")
def test_more_results_than_samples_cannot_be_cut(told):
    first, second = told
    assert "ValueError: metric 'order', a InOrder has 60 results of 23 samples" in first["too many"]
    assert "RuntimeError: the first process failed with ValueError" in second["too many"]


@pytest.mark.covers("E3")
def test_a_metric_of_mmengine_over_processes(told):
    first, second = told
    if first["mmengine"] is None:
        pytest.skip("mmengine is not installed")
    assert first["mmengine"] == second["mmengine"]
    assert first["mmengine"]["mm/places"] == list(range(N))


def test_metrics_that_are_detached_measure_nothing_more():
    engine = Engine(lambda engine, batch: batch)
    ratio = Average() / Average()
    metrics = engine.attach(Metrics({"mean": Average(), "ratio": ratio}, running={"now": float}))
    engine.run([1.0, 3.0])
    engine.detach(metrics)
    assert str(engine.describe()) == "no handlers"
    engine.state.metrics.clear()
    engine.run([1.0, 3.0], max_epochs=2)
    assert engine.state.metrics == {}
    engine.attach(metrics)
    engine.state.max_epochs = None
    assert engine.run([5.0]).metrics == {"mean": 5.0, "ratio": 1.0, "now": 5.0}
