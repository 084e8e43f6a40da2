"""The points of a run's life that hooks are named after, in the words of four systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...engine.engine import Engine
from ...engine.errors import nearest
from ...engine.events import Event, Events
from ...engine.step.events import StepEvents

__all__ = [
    "CALLS",
    "EVERYWHERE",
    "KEEPING",
    "POINTS",
    "ROLES",
    "VALUES",
    "CallPoint",
    "HookPoint",
    "hint",
    "offered_at",
]

ROLES = ("train", "val", "test", "predict")
"""The engines of a runner."""

_TRAIN, _VAL = ("train",), ("val",)
_BATCH = ("batch_idx", "data_batch", "batch", "dataloader_idx")
_DONE = (*_BATCH, "outputs")
_STEP = ("optimizer", "optimization")
_METRICS = ("metrics",)


@dataclass(frozen=True)
class HookPoint:
    """A point, and which event of which engines it is.

    Attributes:
        system: whose word it is.
        name: the method's name.
        event: the event.
        roles: the names of the engines.
        values: what a method may ask for by name, besides what it may ask for everywhere.
        outer: whether it is one of an engine that runs within no other.
    """

    system: str
    name: str
    event: Event
    roles: tuple[str, ...] = ROLES
    values: tuple[str, ...] = ()
    outer: bool = False


_OF_A_ROLE = (
    ("MMEngine", "before_{}", Events.STARTED, ()),
    ("MMEngine", "before_{}_epoch", Events.EPOCH_STARTED, ()),
    ("MMEngine", "before_{}_iter", Events.ITERATION_STARTED, _BATCH),
    ("MMEngine", "after_{}_iter", Events.ITERATION_COMPLETED, _DONE),
    ("MMEngine", "after_{}_epoch", Events.EPOCH_COMPLETED, _METRICS),
    ("MMEngine", "after_{}", Events.COMPLETED, _METRICS),
    ("Lightning", "on_{}_start", Events.STARTED, ()),
    ("Lightning", "on_{}_epoch_start", Events.EPOCH_STARTED, ()),
    ("Lightning", "on_{}_batch_start", Events.ITERATION_STARTED, _BATCH),
    ("Lightning", "on_{}_batch_end", Events.ITERATION_COMPLETED, _DONE),
    ("Lightning", "on_{}_epoch_end", Events.EPOCH_COMPLETED, _METRICS),
    ("Lightning", "on_{}_end", Events.COMPLETED, _METRICS),
)
_WORDS = {"Lightning": {"val": "validation"}}

_SINGLE = (
    HookPoint("MMCV", "before_epoch", Events.EPOCH_STARTED),
    HookPoint("MMCV", "before_iter", Events.ITERATION_STARTED, ROLES, _BATCH),
    HookPoint("MMCV", "after_iter", Events.ITERATION_COMPLETED, ROLES, _DONE),
    HookPoint("MMCV", "after_epoch", Events.EPOCH_COMPLETED, ROLES, _METRICS),
    HookPoint("wall_e", "before_fit", Events.OPENED, _TRAIN),
    HookPoint("wall_e", "before_running_epoch", Events.EPOCH_STARTED),
    HookPoint("wall_e", "before_running_batch", Events.ITERATION_STARTED, ROLES, _BATCH),
    HookPoint("wall_e", "after_running_batch", Events.ITERATION_COMPLETED, ROLES, _DONE),
    HookPoint("wall_e", "after_running_epoch", Events.EPOCH_COMPLETED, ROLES, _METRICS),
    HookPoint("wall_e", "before_valid", Events.STARTED, _VAL),
    HookPoint("wall_e", "after_valid", Events.COMPLETED, _VAL, _METRICS),
    HookPoint("wall_e", "after_fit", Events.CLOSED, _TRAIN),
    HookPoint("wall_e", "on_exception", Events.EXCEPTION_RAISED, ROLES, ("exception",), True),
    HookPoint("Lightning", "on_fit_start", Events.OPENED, _TRAIN),
    HookPoint("Lightning", "on_before_backward", StepEvents.BACKWARD_STARTED, _TRAIN, ("loss",)),
    HookPoint("Lightning", "on_after_backward", StepEvents.BACKWARD_COMPLETED, _TRAIN),
    HookPoint(
        "Lightning", "on_before_optimizer_step", StepEvents.OPTIMIZER_STEP_STARTED, _TRAIN, _STEP
    ),
    HookPoint("Lightning", "on_before_zero_grad", StepEvents.ZERO_GRAD_STARTED, _TRAIN, _STEP),
    HookPoint("Lightning", "on_fit_end", Events.CLOSED, _TRAIN),
)


def _points() -> Iterator[HookPoint]:
    for system, pattern, event, values in _OF_A_ROLE:
        for role in ROLES:
            word = _WORDS.get(system, {}).get(role, role)
            yield HookPoint(system, pattern.format(word), event, (role,), values)
    yield from _SINGLE


POINTS: Mapping[str, HookPoint] = {point.name: point for point in _points()}
"""The points of engines, by name."""


@dataclass(frozen=True)
class CallPoint:
    """A point of a call of the runner, and of no engine.

    Attributes:
        when: when it is.
        values: what a method may ask for by name, besides the runner and the model.
    """

    when: str
    values: tuple[str, ...] = ()


CALLS: Mapping[str, CallPoint] = {
    "setup": CallPoint("a call of the runner begins, `stage` is its name: `train`, …", ("stage",)),
    "before_run": CallPoint("all that the call needs is built, nothing is loaded or run"),
    "after_load_weights": CallPoint("weights alone were loaded into the model", ("path",)),
    "after_run": CallPoint("the call is over, whatever ended it"),
    "teardown": CallPoint("behind that", ("stage",)),
}
"""Points of a call of the runner, by name."""

KEEPING: Mapping[str, str] = {
    "before_save_checkpoint": "put into `checkpoint` what the hook keeps there",
    "on_save_checkpoint": "put into `checkpoint` what the hook keeps there",
    "after_load_checkpoint": "`checkpoint` has what the hook has put there",
    "on_load_checkpoint": "`checkpoint` has what the hook has put there",
}
"""Points of the hook's own part of each checkpoint."""

Read = Callable[[Any, Engine, Mapping[str, Any]], Any]
"""What reads a value, of the runner, the engine, and what the event hands over."""

VALUES: Mapping[str, Read] = {
    "runner": lambda runner, engine, given: runner,
    "trainer": lambda runner, engine, given: runner,
    "engine": lambda runner, engine, given: engine,
    "model": lambda runner, engine, given: runner.model,
    "pl_module": lambda runner, engine, given: runner.model,
    "stage": lambda runner, engine, given: engine.name,
    "batch_idx": lambda runner, engine, given: engine.progress.epoch_iteration,
    "data_batch": lambda runner, engine, given: engine.state.batch,
    "batch": lambda runner, engine, given: engine.state.batch,
    "dataloader_idx": lambda runner, engine, given: runner.dataloader_idx(engine),
    "outputs": lambda runner, engine, given: engine.state.output,
    "metrics": lambda runner, engine, given: engine.state.metrics,
    "exception": lambda runner, engine, given: given["exception"],
    "loss": lambda runner, engine, given: given["loss"],
    "optimization": lambda runner, engine, given: given["optimization"],
    "optimizer": lambda runner, engine, given: given["optimization"].optimizer,
}
"""What a method may ask for by the names of its parameters, and how each is read."""

EVERYWHERE = ("runner", "trainer", "engine", "model", "pl_module", "stage")
"""What a method at any point of an engine may ask for."""


def offered_at(point: HookPoint) -> tuple[str, ...]:
    """What a method at a point may ask for.

    Example:
        >>> offered_at(POINTS["on_before_backward"])[-1]
        'loss'
    """
    return (*EVERYWHERE, *point.values)


def hint(name: str) -> str:
    """The end of an error message: the point that has nearly this name, if any has."""
    return nearest(name, [*POINTS, *CALLS, *KEEPING])
