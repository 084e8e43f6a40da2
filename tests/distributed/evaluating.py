"""What processes do together in the tests of evaluation; and one process alone, to compare."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torchmetrics
from ignite import metrics as ignite
from ignite.metrics import regression
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from footplate import Engine, Events
from footplate.engine.data.order import ordered_loader
from footplate.engine.evaluating import measured
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.step.base_metric import BaseMetric
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.workflow import Workflow
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.metrics import Metrics
from footplate.handlers.sanity_check import SanityCheck
from footplate.recipes.composition.evaluators import Evaluator

CLASSES = {"task": "multiclass", "num_classes": 3}


class Samples(Dataset[Any]):
    """So many scores of three classes with the right ones, always the same."""

    def __init__(self, size: int) -> None:
        generator = torch.Generator().manual_seed(size)
        self.scores = torch.randn(size, 3, generator=generator).softmax(1)
        self.right = torch.randint(3, (size,), generator=generator)

    def __len__(self) -> int:
        return len(self.right)

    def __getitem__(self, index: int) -> Any:
        return self.scores[index], self.right[index]


samples = functools.cache(Samples)


class Kept:
    """The indices of all classes that were right, in the order of the data set."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(data_samples[1].tolist())  # type: ignore[attr-defined]

    def compute_metrics(self, results: list[int]) -> dict[str, Any]:
        return {"kept": list(results)}


class Boxes:
    """Takes one or more entries of a sample, as many as it has boxes."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for label in data_samples[1].tolist():
            self.results.extend([label] * (1 + label % 2))  # type: ignore[attr-defined]

    def compute_metrics(self, results: list[int]) -> dict[str, Any]:
        return {"boxes": sorted(results)}


class OwnBoxes(BaseMetric):
    """The same, of a class that derives."""

    process, compute_metrics = Boxes.process, Boxes.compute_metrics


class Weighing(torchmetrics.Metric):
    """Keeps a list of which torchmetrics knows no reduction, of one entry a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("batches", default=[], dist_reduce_fx=None)

    def update(self, scores: Any, right: Any) -> None:
        self.batches.append(right.sum())

    def compute(self) -> Any:
        return sum(one.item() for one in self.batches)


def lambdas() -> Any:
    precision, recall = ignite.Precision(average=False), ignite.Recall(average=False)
    return ((precision * recall * 2) / (precision + recall + 1e-20)).mean()


def two(output: Any) -> Any:
    return output[0][:, 0], output[1].float()


def binary(output: Any) -> Any:
    return output[0][:, 0], (output[1] > 0).long()


IGNITE: dict[str, Callable[[], Any]] = {
    "accuracy": ignite.Accuracy,
    "top_k": lambda: ignite.TopKCategoricalAccuracy(2),
    "loss": lambda: ignite.Loss(F.cross_entropy),
    "precision": lambda: ignite.Precision(average=False),
    "weighted": lambda: ignite.Precision(average="weighted"),
    "recall": lambda: ignite.Recall(average="macro"),
    "f1": lambdas,
    "confusion": lambda: ignite.ConfusionMatrix(3),
    "iou": lambda: ignite.mIoU(ignite.ConfusionMatrix(3)),
    "mean": lambda: ignite.Average(lambda output: output[0]),
    "squares": lambda: ignite.RootMeanSquaredError(two),
    "largest": lambda: regression.MaximumAbsoluteError(two),
    "median": lambda: regression.MedianAbsoluteError(two),
    "correlation": lambda: regression.PearsonCorrelation(output_transform=two),
    "ranks": lambda: regression.KendallRankCorrelation(output_transform=two),
    "geometric": lambda: regression.GeometricMeanRelativeAbsoluteError(two),
    "r2": lambda: regression.R2Score(two),
    "auc": lambda: ignite.ROC_AUC(binary),
    "curve": lambda: ignite.PrecisionRecallCurve(binary),
    "kappa": lambda: ignite.CohenKappa(lambda output: (output[0].argmax(1), output[1])),
    "seen": lambda: ignite.EpochMetric(lambda scores, right: len(right), check_compute_fn=False),
    "group": lambda: ignite.MetricGroup({"a": ignite.Accuracy(), "l": ignite.Loss(F.nll_loss)}),
    "average_precision": ignite.MeanAveragePrecision,
}
TORCH: dict[str, Callable[[], Any]] = {
    "t_accuracy": lambda: torchmetrics.Accuracy(**CLASSES),
    "t_auroc": lambda: torchmetrics.AUROC(**CLASSES),
    "t_calibration": lambda: torchmetrics.CalibrationError(**CLASSES),
    "t_collection": lambda: torchmetrics.MetricCollection(
        {
            "a": torchmetrics.Accuracy(**CLASSES),
            "p": torchmetrics.Precision(**CLASSES, average="macro"),
            "c": torchmetrics.ConfusionMatrix(**CLASSES),
        }
    ),
    "t_composed": lambda: torchmetrics.Accuracy(**CLASSES) + torchmetrics.Recall(**CLASSES),
    "t_weighing": Weighing,
}
TORCH_OF_TWO: dict[str, Callable[[], Any]] = {
    "t_pearson": torchmetrics.PearsonCorrCoef,
    "t_spearman": torchmetrics.SpearmanCorrCoef,
    "t_mse": torchmetrics.MeanSquaredError,
}
PLAIN: dict[str, Callable[[], Any]] = {
    "t_cat": torchmetrics.CatMetric,
    "t_max": torchmetrics.MaxMetric,
    "t_mean": torchmetrics.MeanMetric,
    "t_minmax": lambda: torchmetrics.wrappers.MinMaxMetric(torchmetrics.MeanMetric()),
}
NAMES = [*IGNITE, *TORCH, *TORCH_OF_TWO, *PLAIN, "kept"]


def metrics_named(name: str, **options: Any) -> Metrics:
    """A handler with one metric, as it is given what it takes."""
    if name in IGNITE:
        return Metrics({name: IGNITE[name]()}, **options)
    if name in TORCH:
        return Metrics({name: TORCH[name]()}, **options)
    if name in TORCH_OF_TWO:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some say that they keep all samples
            metric = TORCH_OF_TWO[name]()
        return Metrics({name: metric}, output_transform=two, **options)
    if name in PLAIN:
        transform = lambda output: output[1].float()  # noqa: E731
        return Metrics({name: PLAIN[name]()}, output_transform=transform, **options)
    return Metrics({name: Kept()}, **options)


def loader_of(size: int, batch_size: int, kind: str = "order") -> Any:
    """This process's share of so many samples."""
    if kind == "padded":
        sampler = DistributedSampler(samples(size), world_size(), rank(), shuffle=False)
        return DataLoader(samples(size), batch_size, sampler=sampler)
    if kind == "last has most":
        last = world_size() - 1 - rank()
        return ordered_loader(
            samples(size), batch_size, rank=last, world_size=world_size(), even=False
        )
    return ordered_loader(
        samples(size), batch_size, rank=rank(), world_size=world_size(), even=False
    )


def plain(value: Any) -> Any:
    """A value that JSON has; floats as they are, to the bit."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def outcome(make: Callable[[], Any]) -> Any:
    """What comes out, or what is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(make())
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def measures(examples: list[Any], names: list[str]) -> list[dict[str, Any]]:
    """What metrics say of so many samples in batches of a size, for each example in turn."""
    told: list[dict[str, Any]] = [{} for _ in examples]
    for name in names:
        evaluator = Engine(lambda engine, batch: batch, name="val")
        evaluator.attach(metrics_named(name))
        for values, (size, batch_size) in zip(told, examples, strict=True):
            data = loader_of(size, batch_size)
            values[name] = outcome(lambda: measured(evaluator, data))  # noqa: B023
    return told


def measures_each(examples: list[Any]) -> list[dict[str, Any]]:
    """As :func:`measures`, with the metrics that each example names."""
    return [measures([(size, batch_size)], names)[0] for size, batch_size, names in examples]


def same(one: Any, other: Any, error: float = 1e-7) -> bool:
    """Whether two are equal; floats to a millionth or an absolute error, and nan to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k], error) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair, error) for pair in zip(one, other))  # noqa: B905
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-6, abs_tol=error)
    return type(one) is type(other) and one == other


# ---------------------------------------------------------------------- running


def runs(examples: list[Any], name: str, usage: str, kind: str = "order") -> list[Any]:
    """What stands in the metrics behind each iteration, and at the end."""
    told = []
    for size, batch_size in examples:
        evaluator = Engine(lambda engine, batch: batch, name="val")
        evaluator.attach(metrics_named(name, usage=usage))
        seen: list[Any] = []
        evaluator.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine, seen=seen: seen.append(plain(engine.state.metrics)),
        )
        data = loader_of(size, batch_size, kind)
        told.append([seen, outcome(lambda: measured(evaluator, data))])  # noqa: B023
    return told


def averages(sizes: list[int]) -> list[Any]:
    """The running average of a number over uneven shares, twice, and that of a metric."""
    told = []
    for size in sizes:
        evaluator = Engine(lambda engine, batch: float(batch.sum()), name="val")
        running = ignite.RunningAverage(ignite.Average())
        evaluator.attach(Metrics({"metric": running}, running={"plain": lambda output: output}))
        data = ordered_loader(range(size), 1, rank=rank(), world_size=world_size(), even=False)
        told.append([outcome(lambda: measured(evaluator, data)) for _ in range(2)])  # noqa: B023
    return told


# ---------------------------------------------------------------------- failing, stopping


class Failing:
    """Fails on one process alone, before or behind an exchange with the others."""

    def __init__(self, where: str) -> None:
        self.where = where

    def attach_to(self, engine: Engine, failing: int) -> None:
        where = self.where

        class Broken(ignite.Average):
            def compute(self) -> Any:
                if where == "before" and rank() == failing:
                    raise ValueError("not to be computed")
                value = super().compute()
                if where == "behind" and rank() == failing:
                    raise ValueError("not to be computed")
                return value

        engine.attach(Metrics({"broken": Broken(), "fine": ignite.Average()}))


def failures(where: str, failing: int, size: int) -> list[Any]:
    """What is raised everywhere if a metric fails on one process; and that all goes on then."""
    evaluator = Engine(lambda engine, batch: float(batch.sum()), name="val")
    Failing(where).attach_to(evaluator, failing)
    data = ordered_loader(range(size), 1, rank=rank(), world_size=world_size(), even=False)
    return [outcome(lambda: measured(evaluator, data)), measures([[5, 2]], ["accuracy"])]


def out_of_step() -> Any:
    """What is raised where the processes measure different things."""
    evaluator = Engine(lambda engine, batch: batch, name="val")
    name = "accuracy" if rank() else "loss"
    evaluator.attach(metrics_named(name))
    return outcome(lambda: measured(evaluator, loader_of(8, 2)))


def cut(size: int, at: int) -> list[Any]:
    """What metrics say if the run is interrupted behind a batch, saved, and goes on in another."""
    data = loader_of(size, 1)
    told = []
    for name in ("accuracy", "auc", "t_auroc", "kept"):
        whole, first, second = (Engine(lambda engine, batch: batch, name="val") for _ in range(3))
        for engine in (whole, first, second):
            engine.attach(metrics_named(name))
        unbroken = outcome(lambda: measured(whole, data))  # noqa: B023
        first.add_event_handler(
            Events.ITERATION_COMPLETED(once=at), lambda engine: engine.interrupt()
        )
        first.run(data)
        second.load_state_dict(first.state_dict())
        told.append([unbroken, outcome(lambda: dict(second.run(data).metrics))])  # noqa: B023
    return told


def epoch_events(size: int) -> list[Any]:
    """What fires where the share may be empty, and what the trainer's metrics are then."""
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.attach(metrics_named("accuracy"))
    fired: list[str] = []
    for event in Events:
        evaluator.add_event_handler(event, lambda event=event: fired.append(str(event)))
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Evaluation(evaluator, loader_of(size, 2)))
    trainer.attach(SanityCheck(evaluator, loader_of(size, 2)))
    trainer.run([0], max_epochs=2)
    return [fired, plain(trainer.state.metrics), evaluator.state.iteration]


def turns(size: int, unit: str, n: int) -> Any:
    """What a workflow's turns of validation measure, cycle by cycle."""
    trainer, evaluator = (Engine(lambda engine, batch: batch, name=one) for one in ("train", "val"))
    evaluator.attach(metrics_named("accuracy"))
    seen: list[Any] = []
    completed = Events.EPOCH_COMPLETED if unit == "epoch" else Events.ITERATION_COMPLETED
    workflow = Workflow([("train", 1), ("val", n)], {"train": trainer, "val": evaluator}, unit)
    trainer.add_event_handler(completed, lambda: seen.append(plain(trainer.state.metrics)))
    limit = {"max_epochs" if unit == "epoch" else "max_iters": 2}
    said = outcome(lambda: bool(workflow.run([[0], loader_of(size, 2)], **limit)))
    return [said, seen]


def meta() -> Any:
    """What all processes know of the data set."""
    data = ordered_loader(Samples(1), 2, rank=rank(), world_size=world_size(), even=False)
    data.dataset.metainfo = {"classes": ["a", "b", "c"]}
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.attach(metrics_named("accuracy"))
    measured(evaluator, data)
    return evaluator.state.dataset_meta


def boxes(size: int, kind: str, derives: bool) -> Any:
    """What a metric says that has more entries than samples."""
    data = samples(size)
    if kind == "even":
        loader: Any = DataLoader(data, 2, sampler=DistributedSampler(data, shuffle=False))
    else:
        loader = ordered_loader(data, 2, rank=rank(), world_size=world_size(), even=False)
    evaluator = Engine(lambda engine, batch: batch, name="val")
    evaluator.attach(Metrics({"boxes": OwnBoxes() if derives else Boxes()}))
    return outcome(lambda: measured(evaluator, loader))


# ---------------------------------------------------------------------- in step


class Waiting(torch.nn.Module):
    """A model whose forward pass waits for those of all processes, as a spread one's does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.passes = 0

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        here = torch.ones(1)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(here)
        assert here.item() == world_size()
        return scores


def in_step(examples: list[Any], usage: str | None = None) -> list[Any]:
    """What a model in step says, how often it was called, and how often the handlers were."""
    told = []
    for size, batch_size in examples:
        model = Waiting()
        evaluator = Engine(evaluation_step(model, in_step=True), name="val")
        evaluator.attach(metrics_named("accuracy", usage=usage))
        calls: list[int] = []
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda c=calls: c.append(1))
        data = loader_of(size, batch_size)
        values = outcome(lambda: measured(evaluator, data))  # noqa: B023
        told.append([values, model.passes, len(calls), len(data)])
    return told


def without_length() -> Any:
    """What is raised where it is not known how many batches the others have."""
    evaluator = Engine(evaluation_step(Waiting(), in_step=True), name="val")
    return outcome(lambda: measured(evaluator, (batch for batch in loader_of(8, 2))))


# ---------------------------------------------------------------------- by hand


def by_hand(size: int) -> Any:
    """What metrics say that are driven by a loop of one's own."""
    evaluator = Evaluator({"accuracy": ignite.Accuracy(), "kept": Kept(), "t": TORCH["t_auroc"]()})
    for batch in loader_of(size, 2):
        evaluator.process(batch)
    return outcome(lambda: evaluator.evaluate(size))
