"""Validation: on which events a training run is validated, and how long the run is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...engine.amount import Amount
from ...engine.events import Event, EventList, Events
from ...engine.intervals import batches, interval
from ...engine.phases import phases_of
from .options import TrainCfg

__all__ = ["run_length", "validation_events"]


def validation_events(options: TrainCfg) -> Event | EventList:
    """The events of the train engine on which it is validated.

    Example:
        >>> validation_events(TrainCfg(max_epochs=9, val_interval=3))
        EPOCH_COMPLETED(interval(3))
    """
    if options.workflow is not None:
        return _by_turns(options)
    if options.batches is not None:  # a trial is one epoch
        return Events.EPOCH_COMPLETED
    first = _by_interval(options)
    if options.val_iters is None:
        return first
    within = not options.across_epochs
    besides = Events.ITERATION_COMPLETED(batches(options.val_iters, within_epoch=within))
    return first | besides


def _by_turns(options: TrainCfg) -> Event | EventList:
    """Those that the workflow's phases of validation are connected to."""
    pairs = [(str(name), int(number)) for name, number in options.workflow or ()]
    unit = "epoch" if options.by_epoch else "iteration"
    no_engines: Any = dict.fromkeys(("train", "val"))  # the phases are only asked for their events
    phases = [one for one in phases_of(pairs, no_engines, unit, "train") if one.name == "val"]
    return EventList([phase.event() for phase in phases])


def _by_interval(options: TrainCfg) -> Event:
    amount = Amount.of(options.val_interval)
    if amount.count is None:
        return Events.ITERATION_COMPLETED(batches(options.val_interval))
    dynamic = [(int(milestone), int(n)) for milestone, n in options.dynamic_intervals or ()]
    due = interval(amount.count, options.val_begin, dynamic=dynamic)
    event = Events.EPOCH_COMPLETED if options.by_epoch else Events.ITERATION_COMPLETED
    return event(due)


def run_length(
    options: TrainCfg, batches_in: Callable[[], int | None], accumulate: int
) -> Callable[[str], int | None]:
    """What tells how long a run is, in epochs, iterations or optimizer steps.

    Args:
        options: what limits the run.
        batches_in: tells how many batches an epoch has; asked only where that counts.
        accumulate: batches that make one step.

    Example:
        >>> length = run_length(TrainCfg(max_epochs=3), lambda: 10, accumulate=4)
        >>> length("epoch"), length("iteration"), length("step")
        (3, 30, 9)
    """

    def length(unit: str) -> int | None:
        limits = options.limits
        epochs, iters = _finite(limits.get("max_epochs")), _finite(limits.get("max_iters"))
        if unit == "step" and options.max_steps is not None:
            return options.max_steps
        if unit == "epoch" and epochs is not None:
            return epochs
        in_epoch = options.epoch_length or (None if unit == "iteration" and iters else batches_in())
        if unit == "epoch":
            return None if iters is None or not in_epoch else math.ceil(iters / in_epoch)
        if unit == "iteration" and iters is not None:
            return iters
        return _steps(epochs, iters, in_epoch, accumulate if unit == "step" else 1)

    return length


def _steps(epochs: int | None, iters: int | None, in_epoch: int | None, every: int) -> int | None:
    """Windows of so many batches; the last one of an epoch may be short."""
    if not in_epoch:
        return None if iters is None else math.ceil(iters / every)
    if epochs is not None:
        return epochs * math.ceil(in_epoch / every)
    if iters is None:
        return None
    whole_epochs, rest = divmod(iters, in_epoch)
    return whole_epochs * math.ceil(in_epoch / every) + math.ceil(rest / every)


def _finite(limit: Any) -> int | None:
    return None if limit is None or limit == math.inf else int(limit)
