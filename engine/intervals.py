"""Intervals: when to validate, as filters of an event.

>>> from footplate import Events
>>> Events.EPOCH_COMPLETED(interval(2, begin=4))
EPOCH_COMPLETED(interval(2, begin=4))
>>> Events.ITERATION_COMPLETED(batches("25%"))
ITERATION_COMPLETED(batches('25%'))
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from .amount import Amount, Given
from .filters import Filter
from .whole import whole

__all__ = ["batches", "interval"]

_LIMITS = {"epoch": "max_epochs", "iteration": "max_iters"}
"""The limit of a run by the attribute of its state that counts towards it."""


def interval(
    n: int, begin: int = 1, *, dynamic: Iterable[tuple[int, int]] = (), last: bool = True
) -> Filter:
    """Each n-th count from ``begin`` on, and the last of the run: MMEngine's rule of validation.

    It lets a count pass that is at least ``begin``, and that the interval in force divides or
    that is the run's last. The interval in force is that of the last milestone which the *next*
    count reaches: with ``dynamic=[(20, 1)]`` it is 1 from count 19 on.

    The run's last count is ``max_epochs`` for an event that epochs count, and ``max_iters`` for
    one that iterations count. So a run that is limited in epochs has no last iteration, and no
    run has one that something else ends.

    Args:
        n: the interval until the first milestone.
        begin: the first count that may pass.
        dynamic: pairs of a milestone and the interval from there on, in ascending order.
        last: whether the run's last count passes in any case.

    Raises:
        ValueError: for numbers that are not positive and whole, or milestones out of order.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None)
        >>> @trainer.on(Events.EPOCH_COMPLETED(interval(3, dynamic=[(8, 1)])))
        ... def validate(engine):
        ...     due.append(engine.state.epoch)
        >>> due = []
        >>> state = trainer.run([0], max_epochs=9)
        >>> due
        [3, 6, 7, 8, 9]
    """
    n, begin = whole("an interval", n), whole("begin", begin)
    pairs = [
        (whole("a milestone of dynamic=", milestone), whole("an interval of dynamic=", value))
        for milestone, value in dynamic
    ]
    milestones = [milestone for milestone, _ in pairs]
    if milestones != sorted(set(milestones)):
        raise ValueError(f"the milestones of dynamic= ascend, given {milestones}.")
    intervals = [n, *(value for _, value in pairs)]

    def is_due(engine: Any, count: int) -> bool:
        if count < begin:
            return False
        current = intervals[bisect_right(milestones, count + 1)]
        return count % current == 0 or (last and _is_last(engine, count))

    said = [str(n)]
    said += [f"begin={begin}"] if begin != 1 else []
    said += [f"dynamic={pairs}"] if pairs else []
    said += [] if last else ["last=False"]
    return Filter(is_due, f"interval({', '.join(said)})")


def batches(n: Given, *, within_epoch: bool = True) -> Filter:
    """Each n-th batch, or the first batches by which such fractions of an epoch are done.

    A fraction stands for its multiples: ``"25%"`` passes behind the first batch by which 25% of
    the epoch's batches are done, and likewise 50%, 75%, and all of them, which is the epoch's
    end. No batch passes twice. A fraction that does not divide 1 has no multiple at the epoch's
    end; counted across epochs, its multiples go on into the next.

    Args:
        n: a whole number of batches, or a fraction of an epoch: ``"25%"``, ``"1/4"`` or
            ``Fraction(1, 4)``.
        within_epoch: whether counting begins anew in each epoch.

    Raises:
        TypeError: for what is no amount.
        ValueError: for zero, negative numbers and more than 100%; when the event fires, for a
            fraction while ``epoch_length`` is not known.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None)
        >>> @trainer.on(Events.ITERATION_COMPLETED(batches("1/3")))
        ... def validate(engine):
        ...     due.append(engine.state.iteration)
        >>> due = []
        >>> state = trainer.run(range(10), max_epochs=2)
        >>> due
        [4, 7, 10, 14, 17, 20]
    """
    amount = Amount.of(n)

    def is_due(engine: Any, count: int) -> bool:
        state, progress = engine.state, engine.progress
        done: int = state.iteration
        if within_epoch:
            done += progress.epoch_iteration - progress.iteration
        step = _batches_of(amount, state.epoch_length)
        return done // step > (done - 1) // step

    said = str(amount) if amount.fraction is None else repr(str(amount))
    return Filter(is_due, f"batches({said}{'' if within_epoch else ', within_epoch=False'})")


def _is_last(engine: Any, count: int) -> bool:
    """Whether the event that is delivered is the run's last of its kind."""
    event = engine.delivering or engine.last_event_name
    limit = _LIMITS.get(engine.channels[event].counter)
    return limit is not None and count == getattr(engine.state, limit)


def _batches_of(amount: Amount, epoch_length: int | None) -> Fraction:
    """How many batches an amount of an epoch is, exactly."""
    if amount.fraction is None:
        return Fraction(amount.count or 0)
    if epoch_length is None:
        raise ValueError(
            f"batches({str(amount)!r}) asks for a fraction of an epoch, whose length is not known "
            f"yet; give run(…, epoch_length=), or a whole number of batches."
        )
    return amount.fraction * epoch_length
