"""Life-cycle points: the names that class handlers give to an event of an engine with a role.

An engine's name is its role. ``before_train_epoch`` is EPOCH_STARTED of the engine named
``train``, ``after_val_iter`` is ITERATION_COMPLETED of the one named ``val``, and
``after_epoch`` is EPOCH_COMPLETED of any. The names are those of MMEngine, MMCV and wall_e.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .events import Event, Events

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["POINTS", "ROLES", "Point", "points_of"]

ROLES = ("train", "val", "test", "predict", "tune")
"""The roles that engines usually have; any other name is a role, too."""


@dataclass(frozen=True)
class Point:
    """One life-cycle point.

    Attributes:
        pattern: its name; ``{role}`` stands for the engine's name.
        event: the event that it is.
        values: what it hands to a method that names it, and how that is read from the engine.
    """

    pattern: str
    event: Event
    values: Mapping[str, Callable[[Engine], Any]] = field(default_factory=dict)


def _batch_idx(engine: Engine) -> int:
    return engine.progress.epoch_iteration


_ITERATION: dict[str, Callable[[Engine], Any]] = {
    "batch_idx": _batch_idx,
    "data_batch": lambda engine: engine.state.batch,
}
_STEPPED = {**_ITERATION, "outputs": lambda engine: engine.state.output}
_METRICS: dict[str, Callable[[Engine], Any]] = {"metrics": lambda engine: engine.state.metrics}

POINTS = (
    Point("before_run", Events.OPENED),
    Point("before_{role}", Events.STARTED),
    Point("before_{role}_epoch", Events.EPOCH_STARTED),
    Point("before_{role}_iter", Events.ITERATION_STARTED, _ITERATION),
    Point("after_{role}_iter", Events.ITERATION_COMPLETED, _STEPPED),
    Point("after_{role}_epoch", Events.EPOCH_COMPLETED, _METRICS),
    Point("after_{role}", Events.COMPLETED, _METRICS),
    Point("before_epoch", Events.EPOCH_STARTED),
    Point("before_iter", Events.ITERATION_STARTED, _ITERATION),
    Point("after_iter", Events.ITERATION_COMPLETED, _STEPPED),
    Point("after_epoch", Events.EPOCH_COMPLETED, _METRICS),
    Point("on_exception", Events.EXCEPTION_RAISED),
    Point("after_run", Events.CLOSED),
)
"""Every point, in the order of the loop; those without a role are points of any engine."""


def points_of(role: str | None) -> dict[str, Point]:
    """The points of an engine with this role, by name.

    Example:
        >>> points_of("val")["after_val_iter"].event
        ITERATION_COMPLETED
    """
    of_role = {p.pattern.format(role=role): p for p in POINTS if "{role}" in p.pattern}
    of_any = {point.pattern: point for point in POINTS if "{role}" not in point.pattern}
    return {**(of_role if role is not None else {}), **of_any}
