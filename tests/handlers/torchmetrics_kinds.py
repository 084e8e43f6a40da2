"""Metrics, collections and wrappers of torchmetrics, and the loop that its pages show."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torchmetrics
from torchmetrics import wrappers

__all__ = ["CLASSES", "KINDS", "batches", "own_loop", "plain"]

CLASSES = 4
_FOUR = {"task": "multiclass", "num_classes": CLASSES}


def _accuracy(average: Any = "micro") -> Any:
    return torchmetrics.Accuracy(average=average, **_FOUR)


def _collection(**options: Any) -> Any:
    macro = {"average": "macro", **_FOUR}
    return torchmetrics.MetricCollection(
        {
            "precision": torchmetrics.Precision(**macro),
            "recall": torchmetrics.Recall(**macro),
            "auroc": torchmetrics.AUROC(**_FOUR),
        },
        **options,
    )


KINDS: dict[str, Callable[[], Any]] = {
    "metric": _accuracy,
    "lists": lambda: torchmetrics.AUROC(**_FOUR),
    "matrix": lambda: torchmetrics.ConfusionMatrix(**_FOUR),
    "composition": lambda: _accuracy() + 2 * _accuracy("macro"),
    "collection": lambda: _collection(prefix="p_", postfix="_q"),
    "collection without groups": lambda: _collection(compute_groups=False),
    "collections in one": lambda: torchmetrics.MetricCollection(
        [_collection(postfix="_one"), torchmetrics.MetricCollection([_accuracy()], prefix="two_")]
    ),
    "bootstrap": lambda: wrappers.BootStrapper(_accuracy(), num_bootstraps=5),
    "by class": lambda: wrappers.ClasswiseWrapper(_accuracy(None), labels=list("abcd")),
    "extremes": lambda: wrappers.MinMaxMetric(_accuracy()),
    "window": lambda: wrappers.Running(_accuracy(), window=2),
    "tracker": lambda: wrappers.MetricTracker(_accuracy()),
    "tracked collection": lambda: wrappers.MetricTracker(_collection()),
    "by class, collected": lambda: torchmetrics.MetricCollection(
        {"each": wrappers.ClasswiseWrapper(_accuracy(None), prefix="acc_"), "all": _accuracy()}
    ),
}


def batches(count: int = 6, size: int = 20) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Probabilities of four classes, and the right ones."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count * size, CLASSES, generator=generator).softmax(1)
    labels = torch.randint(CLASSES, (count * size,), generator=generator)
    return list(zip(scores.split(size), labels.split(size), strict=True))


def own_loop(metric: Any, data: Any, usage: str, epochs: int = 2) -> list[Any]:
    """What a metric says in a loop by hand: after each epoch, each batch, or so far in an epoch."""
    said = []
    begin = getattr(metric, "increment", metric.reset)
    for _ in range(epochs):
        begin()
        for number, batch in enumerate(data):
            if usage == "batch" and number:
                begin()
            metric.update(*batch)
            if usage != "epoch":
                said.append(plain(metric.compute()))
        if usage == "epoch":
            said.append(plain(metric.compute()))
    return said


def plain(value: Any) -> Any:
    """A value of a metric in lists and numbers."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return copy.copy(torch.as_tensor(value).float().tolist())
