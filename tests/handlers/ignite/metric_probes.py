"""What each metric of pytorch-ignite is fed with, to see that it measures the same everywhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from ignite import metrics as M
from ignite.metrics import clustering, fairness, nlp, regression
from ignite.metrics.fairness import base as fairness_base
from ignite.metrics.fairness import demographic_parity
from ignite.metrics.metric import (
    RunningBatchWise,
    RunningEpochWise,
    SingleEpochRunningBatchWise,
)
from ignite.metrics.nlp import rouge
from ignite.metrics.vision import object_detection_average_precision_recall as objects
from torch import nn
from torch.nn import functional as F

__all__ = ["PROBES", "Probe"]

G = torch.Generator().manual_seed(0)
SIZES = (5, 4)
"""Samples in the batches of a pass, the last of which is short."""


class Probe(NamedTuple):
    """How to make a metric, and the outputs of the engine that it is to measure."""

    make: Callable[[], Any]
    outputs: Sequence[Any]


def _of(*parts: Callable[[int], Any]) -> list[tuple[Any, ...]]:
    return [tuple(part(size) for part in parts) for size in SIZES]


def _normal(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda size: torch.randn(size, *shape, generator=G)


def _positive(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda size: torch.rand(size, *shape, generator=G) + 0.1


def _whole(below: int, *shape: int) -> Callable[[int], torch.Tensor]:
    return lambda size: torch.randint(0, below, (size, *shape), generator=G)


def _both(size: int) -> torch.Tensor:
    return torch.arange(size) % 2


def _cycled(size: int) -> torch.Tensor:
    return torch.arange(size) % 3


CLASSES = _of(_normal(3), _cycled)
RANKED = _of(_positive(), _both)
BINARY = [((one > 0.6).long(), two) for one, two in RANKED]
NUMBERS = _of(_positive(), _positive())
FEATURES = _of(_normal(6), _normal(6))
CLUSTERS = _of(_normal(4), _cycled)
IMAGES = _of(_positive(3, 16, 16), _positive(3, 16, 16))
LABELS = _of(_whole(2, 3), _whole(2, 3))
GROUPS = _of(_normal(3), _cycled, _both)
TOKENS = [
    ([["the", "cat", "sat"], ["a", "dog"]], [[["the", "cat", "ran"]], [["a", "big", "dog"]]]),
    ([["one", "two", "two"]], [[["one", "two"], ["two", "two"]]]),
]
SENTENCES = [(["the cat sat", "hello"], ["the cat sits", "hullo"]), (["one"], ["two"])]
ITEMS = _of(_normal(6), _whole(2, 6))
SINGLE = _of(_positive(2))
BARE = [one for (one,) in SINGLE]


def _boxes(size: int, *, scored: bool) -> list[dict[str, torch.Tensor]]:
    def one() -> dict[str, torch.Tensor]:
        corner = torch.rand(3, 2, generator=G) * 20
        sides = torch.rand(3, 2, generator=G) * 40 + 5
        found = {
            "bbox": torch.cat([corner, corner + sides], 1),
            "labels": torch.randint(0, 2, (3,), generator=G),
        }
        return {**found, "scores": torch.rand(3, generator=G)} if scored else found

    return [one() for _ in range(size)]


BOXES = [(_boxes(size, scored=True), _boxes(size, scored=False)) for size in SIZES]


def _mean(y_pred: torch.Tensor, y: torch.Tensor) -> float:
    return (y_pred - y).abs().mean().item()


class _Sum(M.Metric):
    """A metric of one's own."""

    def reset(self) -> None:
        self.total = 0.0

    def update(self, output: torch.Tensor) -> None:
        self.total += output.sum().item()

    def compute(self) -> float:
        return self.total


class _Extractor(nn.Module):
    """Features of an image that need no download."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4].softmax(1)


class _Usage(M.MetricUsage):
    """When a metric is measured, in one's own words."""

    def __init__(self) -> None:
        from ignite.engine import Events

        super().__init__(
            started=Events.EPOCH_STARTED,
            completed=Events.EPOCH_COMPLETED,
            iteration_completed=Events.ITERATION_COMPLETED(every=2),
        )


class _ByUsage:
    """Attaches accuracy under a usage."""

    def __init__(self, usage: Any) -> None:
        self.usage = usage

    def attach(self, engine: Any, name: str) -> None:
        M.Accuracy().attach(engine, name, usage=self.usage)


class _Composed:
    """Attaches a metric that is made of another one, which is attached as well."""

    def __init__(self, make: Callable[[Any], Any], kind: Callable[[], Any]) -> None:
        self.make, self.kind = make, kind

    def attach(self, engine: Any, name: str) -> None:
        inner = self.kind()
        inner.attach(engine, "inner")
        self.make(inner).attach(engine, name)


class _Often:
    """How often something happens; what is the same on any day is that it is a positive number."""

    def attach(self, engine: Any, name: str) -> None:
        from ignite.engine import Events

        M.Frequency(output_transform=len).attach(engine, f"{name}/s")

        @engine.on(Events.EPOCH_COMPLETED)
        def judge() -> None:
            rate = engine.state.metrics.pop(f"{name}/s")
            engine.state.metrics[name] = rate > 0


def _confusion(make: Callable[[Any], Any]) -> _Composed:
    return _Composed(make, lambda: M.ConfusionMatrix(num_classes=3))


def _quiet(make: Callable[[], Any]) -> Callable[[], Any]:
    def made() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experimental metrics
            return make()

    return made


def _usages() -> dict[str, Probe]:
    kinds = (
        M.EpochWise,
        M.BatchWise,
        RunningBatchWise,
        RunningEpochWise,
        SingleEpochRunningBatchWise,
    )
    found = {kind.__name__: Probe(lambda kind=kind: _ByUsage(kind()), CLASSES) for kind in kinds}
    every = Probe(lambda: _ByUsage(M.BatchFiltered(every=2)), CLASSES)
    return {
        **found,
        "BatchFiltered": every,
        "MetricUsage": Probe(lambda: _ByUsage(_Usage()), CLASSES),
    }


def _regression() -> dict[str, Probe]:
    kinds = {name: one for name, one in vars(regression).items() if isinstance(one, type)}
    return {name: Probe(kind, NUMBERS) for name, kind in kinds.items() if name[0] != "_"}


def _nlp() -> dict[str, Probe]:
    reducers = {
        "MultiRefReducer": rouge.MultiRefBestReducer,
        "MultiRefBestReducer": rouge.MultiRefBestReducer,
        "MultiRefAverageReducer": rouge.MultiRefAverageReducer,
    }
    return {
        "Bleu": Probe(lambda: nlp.Bleu(ngram=2, smooth="smooth1"), TOKENS),
        "CharacterErrorRate": Probe(nlp.CharacterErrorRate, SENTENCES),
        "Perplexity": Probe(nlp.Perplexity, CLASSES),
        "Rouge": Probe(lambda: nlp.Rouge(variants=["L", 1]), TOKENS),
        "RougeL": Probe(nlp.RougeL, TOKENS),
        "RougeN": Probe(lambda: nlp.RougeN(ngram=1), TOKENS),
        "Score": Probe(lambda: nlp.RougeN(ngram=2), TOKENS),
        **{
            name: Probe(lambda kind=kind: _reduced(kind), TOKENS) for name, kind in reducers.items()
        },
    }


def _reduced(kind: type) -> Any:
    multiref = "average" if kind is rouge.MultiRefAverageReducer else "best"
    return nlp.RougeL(multiref=multiref)


def _fairness() -> dict[str, Probe]:
    return {
        "SubgroupMetric": Probe(lambda: fairness_base.SubgroupMetric(M.Accuracy(), [0, 1]), GROUPS),
        "SubgroupDifference": Probe(
            lambda: fairness_base.SubgroupDifference(M.Accuracy(), [0, 1]), GROUPS
        ),
        "SubgroupAccuracyDifference": Probe(
            lambda: fairness.SubgroupAccuracyDifference([0, 1]), GROUPS
        ),
        "DemographicParityDifference": Probe(
            lambda: fairness.DemographicParityDifference([0, 1]), GROUPS
        ),
        "SelectionRate": Probe(demographic_parity.SelectionRate, BINARY),
    }


def _of_confusion() -> dict[str, Probe]:
    made_of = {
        "IoU": M.IoU,
        "mIoU": M.mIoU,
        "DiceCoefficient": M.DiceCoefficient,
        "JaccardIndex": M.JaccardIndex,
    }
    return {
        "ConfusionMatrix": Probe(lambda: M.ConfusionMatrix(num_classes=3), CLASSES),
        **{
            name: Probe(lambda make=make: _confusion(make), CLASSES)
            for name, make in made_of.items()
        },
    }


def _of_images() -> dict[str, Probe]:
    extractor = {"num_features": 4, "feature_extractor": _Extractor()}
    return {
        "PSNR": Probe(lambda: M.PSNR(data_range=1.0), IMAGES),
        "SSIM": Probe(lambda: M.SSIM(data_range=1.0), IMAGES),
        "FID": Probe(lambda: M.FID(**extractor), IMAGES),
        "InceptionScore": Probe(lambda: M.InceptionScore(**extractor), [x for x, _ in IMAGES]),
        "ObjectDetectionAvgPrecisionRecall": Probe(
            lambda: objects.ObjectDetectionAvgPrecisionRecall(num_classes=2), BOXES
        ),
        "CommonObjectDetectionMetrics": Probe(
            lambda: objects.CommonObjectDetectionMetrics(num_classes=2), BOXES
        ),
        "coco_tensor_list_to_dict_list": Probe(
            lambda: objects.ObjectDetectionAvgPrecisionRecall(
                num_classes=2, output_transform=objects.coco_tensor_list_to_dict_list
            ),
            [([_coco(b) for b in one], [_coco(b) for b in two]) for one, two in BOXES],
        ),
    }


def _coco(box: dict[str, torch.Tensor]) -> torch.Tensor:
    """Boxes as the rows of one tensor."""
    last = box.get("scores", torch.zeros(len(box["labels"])))
    columns = [box["bbox"], *(c[:, None] for c in _columns(box, last))]
    return torch.cat([one.float() for one in columns], 1)


def _columns(box: dict[str, torch.Tensor], last: torch.Tensor) -> list[torch.Tensor]:
    return [last, box["labels"]] if "scores" in box else [box["labels"], last]


def _plain() -> dict[str, Probe]:
    pair = {"a": M.Accuracy(), "p": M.Precision()}
    return {
        "Metric": Probe(_Sum, BARE),
        "Accuracy": Probe(M.Accuracy, CLASSES),
        "Precision": Probe(lambda: M.Precision(average=False), CLASSES),
        "Recall": Probe(lambda: M.Recall(average="macro"), CLASSES),
        "Fbeta": Probe(lambda: M.Fbeta(beta=1.0), CLASSES),
        "ClassificationReport": Probe(lambda: M.ClassificationReport(output_dict=True), CLASSES),
        "TopKCategoricalAccuracy": Probe(lambda: M.TopKCategoricalAccuracy(k=2), CLASSES),
        "Loss": Probe(lambda: M.Loss(F.cross_entropy), CLASSES),
        "Entropy": Probe(M.Entropy, CLASSES),
        "MutualInformation": Probe(M.MutualInformation, CLASSES),
        "MatthewsCorrCoef": Probe(M.MatthewsCorrCoef, CLASSES),
        "CohenKappa": Probe(M.CohenKappa, BINARY),
        "MultiLabelConfusionMatrix": Probe(lambda: M.MultiLabelConfusionMatrix(3), LABELS),
        "AveragePrecision": Probe(M.AveragePrecision, RANKED),
        "MeanAveragePrecision": Probe(M.MeanAveragePrecision, RANKED),
        "PrecisionRecallCurve": Probe(M.PrecisionRecallCurve, RANKED),
        "ROC_AUC": Probe(M.ROC_AUC, RANKED),
        "RocCurve": Probe(M.RocCurve, RANKED),
        "MeanAbsoluteError": Probe(M.MeanAbsoluteError, NUMBERS),
        "MeanSquaredError": Probe(M.MeanSquaredError, NUMBERS),
        "RootMeanSquaredError": Probe(M.RootMeanSquaredError, NUMBERS),
        "EpochMetric": Probe(lambda: M.EpochMetric(_mean), NUMBERS),
        "MeanPairwiseDistance": Probe(M.MeanPairwiseDistance, FEATURES),
        "CosineSimilarity": Probe(M.CosineSimilarity, FEATURES),
        "MaximumMeanDiscrepancy": Probe(M.MaximumMeanDiscrepancy, FEATURES),
        "HSIC": Probe(M.HSIC, FEATURES),
        "KLDivergence": Probe(M.KLDivergence, FEATURES),
        "JSDivergence": Probe(M.JSDivergence, FEATURES),
        "Average": Probe(M.Average, BARE),
        "GeometricAverage": Probe(M.GeometricAverage, BARE),
        "VariableAccumulation": Probe(
            lambda: M.VariableAccumulation(lambda a, x: a + x.sum()), BARE
        ),
        "Frequency": Probe(_Often, BARE),
        "MetricGroup": Probe(lambda: M.MetricGroup(dict(pair)), CLASSES),
        "MetricsLambda": Probe(
            lambda: _Composed(lambda one: M.MetricsLambda(lambda a: 1 - a, one), M.Accuracy),
            CLASSES,
        ),
        "RunningAverage": Probe(lambda: M.RunningAverage(M.Accuracy()), CLASSES),
        "HitRate": Probe(lambda: M.HitRate(top_k=[1, 2]), ITEMS),
        "NDCG": Probe(lambda: M.NDCG(top_k=[1, 2]), ITEMS),
    }


def _clustering() -> dict[str, Probe]:
    return {name: Probe(getattr(clustering, name), CLUSTERS) for name in _CLUSTERING}


_CLUSTERING = ("SilhouetteScore", "DaviesBouldinScore", "CalinskiHarabaszScore")

PROBES: dict[str, Probe] = {
    **_plain(),
    **_usages(),
    **_of_confusion(),
    **_regression(),
    **_clustering(),
    **_nlp(),
    **_fairness(),
    **_of_images(),
}
"""By the metric's name."""
