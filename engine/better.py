"""Whether more or less of a metric is better, as far as its name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

__all__ = ["mode_of", "told_by_name"]

_WORDS: Mapping[Literal["less", "greater"], set[str]] = {
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

_ENDS: Mapping[Literal["less", "greater"], tuple[str, ...]] = {
    "less": ("loss",),
    "greater": ("acc", "accuracy", "auc", "dice", "iou", "precision"),
}
"""What tells, too, where a word ends with it, as in ``valacc``."""


def told_by_name(metric: str) -> Literal["less", "greater"] | None:
    """Which of a metric is better, by the words of its name; ``None`` if they don't tell.

    Example:
        >>> told_by_name("val_loss"), told_by_name("mIoU"), told_by_name("score")
        ('less', 'greater', None)
    """
    words = _words(metric)
    for told, known in _WORDS.items():
        if words & known:
            return told
    for told, ends in _ENDS.items():
        if any(word.endswith(ends) for word in words):
            return told
    return None


def mode_of(metric: str | None, mode: Literal["max", "min"] | None) -> Literal["max", "min"]:
    """Whether the greatest or the least value is the best.

    Args:
        metric: the name of the metric.
        mode: what somebody says; by default the name tells, and if it does not, more is better.

    Raises:
        ValueError: for another mode.

    Example:
        >>> mode_of("val_loss", None), mode_of("score", None), mode_of("gan_loss", "max")
        ('min', 'max', 'max')
    """
    if mode not in ("max", "min", None):
        raise ValueError(f"mode is 'max' or 'min', given {mode!r}.")
    if mode is None:
        return "min" if metric is not None and told_by_name(metric) == "less" else "max"
    return mode


def _words(metric: str) -> set[str]:
    """Its words, whether an upper letter begins one or is amid one, and with no number behind."""
    both = {metric.lower(), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", metric).lower()}
    words = {word for one in both for word in re.findall(r"[a-z0-9]+", one)}
    return words | {word.rstrip("0123456789") for word in words}
