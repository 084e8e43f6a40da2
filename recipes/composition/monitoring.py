"""Monitoring: what a metric of the validation is called in training, and when it is better."""

from __future__ import annotations

from typing import Any, Literal

from ignite.metrics.metric import Metric

from ...engine.better import told_by_name
from ..config.problems import OptionError

__all__ = ["Rule", "monitored", "names_its_values", "rule_of"]

Rule = Literal["greater", "less"]


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
    if (told := told_by_name(metric)) is not None:
        return told
    raise OptionError(
        "rule", f"is 'greater' or 'less', whichever of {metric!r} is better; its name does not tell"
    )
