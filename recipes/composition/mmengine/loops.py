"""Loops that derive from MMEngine's: what they are given in the place of its own runner's parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....engine.step.guests import descends_from
from ..evaluators import metrics_of
from .parts import evaluator_of
from .runner import as_mmengine

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["is_mmengine_loop", "offered_to"]

_TRAIN = ("EpochBasedTrainLoop", "IterBasedTrainLoop")


def is_mmengine_loop(kind: object) -> bool:
    """Whether a class derives from MMEngine's base of loops.

    Example:
        >>> is_mmengine_loop(dict)
        False
    """
    return isinstance(kind, type) and descends_from(kind, "BaseLoop", "mmengine")


def offered_to(kind: type, offered: Mapping[str, Any], runner: Runner) -> dict[str, Any]:
    """What such a loop is given: the runner as MMEngine's parts see it, and MMEngine's evaluator.

    Args:
        kind: the loop's class.
        offered: what a loop of ours would be given.
        runner: the runner.

    Raises:
        TypeError: for one that derives from MMEngine's train loops, which would leave the engine
            out, and with it checkpoints, schedules and logs.
    """
    if any(descends_from(kind, name, "mmengine") for name in _TRAIN):
        raise TypeError(
            f"{kind.__name__} derives from a train loop of MMEngine's, which would train without "
            f"checkpoints, schedules and logs; put what it does besides into a hook or the model's "
            f"train_step, or derive it from EpochBasedTrainLoop of "
            f"footplate.recipes.composition.loops."
        )
    given = {**offered, "runner": as_mmengine(runner)}
    if offered.get("evaluator") is not None:
        metrics = metrics_of(offered["evaluator"], runner.objects, "evaluator")
        given["evaluator"] = evaluator_of(offered["evaluator"], metrics)
    return given
