"""What the names of scalars tell: whose they are, what they measure, and which way is better."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Name", "Topic", "better", "is_rate", "name_of"]

Topic = Literal["loss", "metric", "rate", "gradient", "speed"]

_ROLES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_ROLES |= {"eval": "val", "dev": "val", "heldout": "val"}
_LOW = {"loss", "losses", "error", "err", "mae", "mse", "rmse", "perplexity", "ppl", "nll", "bce"}
_LOW |= {"wer", "cer", "fid", "kl", "divergence"}
_LOWER = {"brier", "calibration", "ece"}  # also of a score
_RATES = {"accuracy", "acc", "precision", "recall", "f1", "iou", "miou", "dice", "auc", "auroc"}
_RATES |= {"map", "ap", "sensitivity", "specificity", "top1", "top5"}
_HIGH = _RATES | {"score", "bleu", "rouge", "psnr", "ssim", "r2", "reward", "return", "correlation"}
_SPEED = {"time", "eta", "memory", "seconds", "throughput"}


@dataclass(frozen=True)
class Name:
    """What a scalar's name tells.

    Attributes:
        role: ``"train"``, ``"val"``, ``"test"``, or another engine's name.
        subject: what it measures; scalars of one subject are shown together.
        topic: what kind of thing that is.
        over_epoch: whether it is a mean over an epoch of what is there by iteration, too.
    """

    role: str
    subject: str
    topic: Topic
    over_epoch: bool = False


def name_of(name: str, engine: str = "train") -> Name:
    """What a scalar's name tells.

    Example:
        >>> name_of("val_accuracy")
        Name(role='val', subject='accuracy', topic='metric', over_epoch=False)
        >>> name_of("loss_epoch")
        Name(role='train', subject='loss', topic='loss', over_epoch=True)
        >>> name_of("grad_norm/head").subject, name_of("samples/s").subject
        ('grad_norm', 'samples/s')
    """
    first, sign, rest = _first(name)
    role, bare = (_ROLES[first], rest) if sign and first in _ROLES else (engine, name)
    over_epoch = bare.endswith("_epoch")
    bare = bare.removesuffix("_epoch")
    words = _words(bare)
    head = bare if bare.endswith("/s") else bare.partition("/")[0]
    if "scale" in words:
        return Name(role, head.replace("_", " "), "rate", over_epoch)
    if words and (words[0] == "lr" or words[:2] == ["learning", "rate"]):
        return Name(role, "learning rate", "rate", over_epoch)
    if {"grad", "gradient", "gradients"} & set(words) and "norm" in words:
        return Name(role, head, "gradient", over_epoch)
    if bare.endswith("/s") or _SPEED & set(words):
        return Name(role, _speed(head), "speed", over_epoch)
    last = next((word for word in reversed(words) if word in _LOW | _HIGH), None)
    topic: Topic = "loss" if last in ("loss", "losses") else "metric"
    return Name(role, head if last is None else last, topic, over_epoch)


def better(name: str, compared_by: str | None = None) -> Literal["max", "min"] | None:
    """Whether more or less of a scalar is better; ``None`` if its name does not tell.

    Args:
        name: of the scalar.
        compared_by: what the run's checkpoints are compared by, as ``"max val_accuracy"``.

    Example:
        >>> better("val_loss"), better("val_top1_accuracy"), better("lr")
        ('min', 'max', None)
    """
    way, _, told = (compared_by or "").partition(" ")
    if told == name and way in ("max", "min"):
        return "max" if way == "max" else "min"
    words = _words(name)
    if "scale" in words:
        return None
    if _LOWER & set(words):
        return "min"
    for word in reversed(words):
        if word in _LOW:
            return "min"
        if word in _HIGH:
            return "max"
    return None


def is_rate(name: str) -> bool:
    """Whether a scalar is a share of 1, as an accuracy is."""
    return next((w in _RATES for w in reversed(_words(name)) if w in _LOW | _HIGH), False)


def _first(name: str) -> tuple[str, str, str]:
    found = re.match(r"([^_/.]+)([_/.])(.+)", name)
    return (found[1].lower(), found[2], found[3]) if found else (name, "", "")


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^0-9a-z]+", name.lower()) if word]


def _speed(head: str) -> str:
    if head in ("time", "data_time"):
        return "seconds an iteration"
    return "memory in MiB" if head == "memory" else head
