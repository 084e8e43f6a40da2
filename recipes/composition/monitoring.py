"""Monitoring: what a metric of the validation is called in training, and when it is better."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from ignite.metrics.metric import Metric

from ..config.problems import OptionError

__all__ = ["Rule", "monitored", "names_its_values", "rule_of"]

Rule = Literal["greater", "less"]

_WORDS: Mapping[Rule, set[str]] = {
    "less": {
        "cer", "distance", "ece", "eer", "err", "error", "errors", "fid", "loss", "losses", "mae",
        "mape", "mse", "nll", "perplexity", "ppl", "rmse", "wer",
    },
    "greater": {
        "acc", "accuracy", "ap", "ar", "auc", "auroc", "bleu", "dice", "f1", "iou", "jaccard",
        "kappa", "map", "miou", "ndcg", "precision", "psnr", "r2", "recall", "return", "reward",
        "rocauc", "rouge", "ssim", "top",
    },
}  # fmt: skip
"""Words of a metric's name that tell; a number behind them does not count."""

_ENDS: Mapping[Rule, tuple[str, ...]] = {
    "less": ("loss",),
    "greater": ("acc", "accuracy", "auc", "dice", "iou", "precision"),
}
"""What tells, too, where a word ends with it, as in ``valacc``."""


def monitored(metric: str, as_it_is: bool = False) -> str:
    """The name that a metric of the validation has in the train engine's metrics.

    Args:
        metric: its name.
        as_it_is: whether the model has given it, and nothing stands before it.

    Example:
        >>> monitored("accuracy"), monitored("val_accuracy")
        ('val_accuracy', 'val_accuracy')
    """
    return metric if as_it_is or metric.startswith("val_") else f"val_{metric}"


def names_its_values(metric: Any) -> bool:
    """Whether a metric gives values under names of its own: one of MMEngine's, or a collection.

    Example:
        >>> from ignite.metrics import Accuracy
        >>> names_its_values(Accuracy())
        False
    """
    return not isinstance(metric, Metric) and (
        hasattr(metric, "process") or hasattr(metric, "keys")
    )


def rule_of(metric: str, rule: Rule | None = None) -> Rule:
    """Whether more or less of a metric is better.

    Args:
        metric: its name, whose words tell where nobody says.
        rule: what somebody says.

    Raises:
        OptionError: if nobody says, and no word of the name tells.

    Example:
        >>> rule_of("val_loss"), rule_of("power_accuracy"), rule_of("score", "less")
        ('less', 'greater', 'less')
        >>> rule_of("mIoU"), rule_of("coco/AP50"), rule_of("decode.acc_seg")
        ('greater', 'greater', 'greater')
    """
    if rule is not None:
        return rule
    words = _words(metric)
    for told, known in _WORDS.items():
        if words & known:
            return told
    for told, ends in _ENDS.items():
        if any(word.endswith(ends) for word in words):
            return told
    raise OptionError(
        "rule", f"is 'greater' or 'less', whichever of {metric!r} is better; its name does not tell"
    )


def _words(metric: str) -> set[str]:
    """Its words, whether an upper letter begins one or is amid one, and with no number behind."""
    both = {metric.lower(), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", metric).lower()}
    words = {word for one in both for word in re.findall(r"[a-z0-9]+", one)}
    return words | {word.rstrip("0123456789") for word in words}
