"""Monitoring: what a metric of the validation is called in training, and when it is better."""

from __future__ import annotations

import re
from typing import Literal

from ..config.problems import OptionError

__all__ = ["Rule", "monitored", "rule_of"]

Rule = Literal["greater", "less"]

_LESS = {
    "cer", "distance", "ece", "eer", "err", "error", "errors", "fid", "loss", "losses", "mae",
    "mape", "mse", "nll", "perplexity", "ppl", "rmse", "wer",
}  # fmt: skip
_GREATER = {
    "acc", "accuracy", "ap", "ar", "auc", "auroc", "bleu", "dice", "f1", "iou", "jaccard", "kappa",
    "map", "miou", "ndcg", "precision", "psnr", "r2", "recall", "return", "reward", "rocauc",
    "rouge", "ssim", "top1", "top5",
}  # fmt: skip


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
    """
    if rule is not None:
        return rule
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", metric).lower()))
    if words & _LESS:
        return "less"
    if words & _GREATER:
        return "greater"
    raise OptionError(
        "rule", f"is 'greater' or 'less', whichever of {metric!r} is better; its name does not tell"
    )
