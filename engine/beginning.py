"""How a run begins: which limits it has, and whether it starts anew or goes on."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from .errors import DataError, StateError
from .source import length_of
from .state import Next, Progress, State
from .whole import whole

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["begin", "is_done", "is_spent", "set_limit"]


def is_done(state: State) -> bool:
    """Whether a limit is reached. Read afresh each time, since handlers move the limits."""
    max_epochs = state.max_epochs
    return is_spent(state) or (max_epochs is not None and state.epoch >= max_epochs)


def is_spent(state: State) -> bool:
    """Whether ``max_iters`` is reached, which ends a run within an epoch, too."""
    return state.max_iters is not None and state.iteration >= state.max_iters


def begin(
    engine: Engine,
    data: Any,
    max_epochs: float | None,
    max_iters: float | None,
    epoch_length: int | None,
) -> None:
    """Settle limits, data and whether the run starts anew, before anything is fired.

    A run starts anew if it has no limits yet, or if the last one is done. Otherwise it goes on.

    Raises:
        TypeError: for data that can't be iterated over, or limits that are neither whole numbers
            nor ``math.inf``.
        ValueError: for limits that contradict each other or the state.
        DataError: for data that are empty or missing.
    """
    check_data(data)
    state = engine.state
    limits = _checked(state, max_epochs, max_iters)
    length = _whole("epoch_length", epoch_length, least=0)
    before = {limit: getattr(state, limit) for limit in limits}
    try:
        if length == 0 and max_iters is not None:
            raise ValueError("epoch_length=0 never gets to max_iters; give max_epochs.")
        for limit, value in limits.items():
            if before[limit] is not None:
                set_limit(state, limit, value)
        unlimited = state.max_epochs is None and state.max_iters is None
        if unlimited or (engine.progress.next is Next.NOTHING and is_done(state)):
            _start_anew(engine, data, max_epochs, max_iters, length)
        else:
            extended = any(limits[name] not in (None, before[name]) for name in limits)
            _go_on(engine, data, length, extended=extended)
    except BaseException:  # what is refused leaves no trace
        state.max_epochs, state.max_iters = before["max_epochs"], before["max_iters"]
        raise


def _checked(
    state: State, max_epochs: float | None, max_iters: float | None
) -> dict[str, float | None]:
    """The limits by name, if they are limits and the run may count by them."""
    limits = {
        "max_epochs": _limit("max_epochs", max_epochs),
        "max_iters": _limit("max_iters", max_iters),
    }
    if None not in limits.values():
        raise ValueError(
            f"max_epochs={max_epochs} and max_iters={max_iters} exclude each other; give one."
        )
    for limit, other in (("max_epochs", "max_iters"), ("max_iters", "max_epochs")):
        if limits[limit] is not None and getattr(state, other) is not None:
            raise ValueError(
                f"{limit}={limits[limit]}: the run so far counts by {other}; "
                f"set engine.state.{other} = None to start anew with {limit}."
            )
    return limits


def check_data(data: Any) -> None:
    """Refuse what can't be iterated over.

    Raises:
        TypeError: if it can't.
    """
    if data is not None and not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise TypeError(
            f"data of type {type(data).__name__} can't be iterated over; "
            f"give a DataLoader, a list, a generator, or nothing together with epoch_length."
        )


def set_limit(state: State, name: str, value: float | None) -> None:
    """Set ``max_epochs`` or ``max_iters``; ``None`` leaves it as it is.

    Raises:
        ValueError: if the state stands beyond the limit already.
    """
    value = _limit(name, value)
    if value is None:
        return
    stands = state.epoch if name == "max_epochs" else state.iteration
    if value < stands:
        unit = "epoch" if name == "max_epochs" else "iteration"
        raise ValueError(
            f"{name}={value}, but the run stands at {unit} {stands}; give a larger limit, "
            f"or set engine.state.{name} = None to start anew."
        )
    setattr(state, name, value)


def _start_anew(
    engine: Engine,
    data: Any,
    max_epochs: float | None,
    max_iters: float | None,
    epoch_length: int | None,
) -> None:
    state = engine.state
    if engine.progress.loaded and is_done(state):
        raise StateError(
            f"the loaded run is finished: {_standing(state)}. Give a larger limit to go on, or "
            f"set engine.state.max_epochs = engine.state.max_iters = None to start anew."
        )
    had_data = state.dataloader is not None
    if data is None and epoch_length is None:
        if had_data or state.epoch_length is None:
            raise DataError("run() was given no data; give it data, or epoch_length for none.")
        epoch_length = state.epoch_length
    if data is not None and epoch_length is None:
        epoch_length = _not_empty(length_of(data))
    state.iteration = state.epoch = 0
    state.measured = {}
    state.epoch_length = epoch_length
    if max_iters is None:
        set_limit(state, "max_epochs", 1 if max_epochs is None else max_epochs)
    else:
        set_limit(state, "max_iters", max_iters)
    state.dataloader = data
    engine.progress = Progress()
    engine.notes.clear()
    engine.source = engine.source.anew()


def _go_on(engine: Engine, data: Any, epoch_length: int | None, *, extended: bool) -> None:
    state, source = engine.state, engine.source
    if data is None:
        if state.dataloader is None and source.passes:
            raise DataError(
                f"the run goes on in the midst of its data ({_standing(state)}), "
                f"but run() was given none; give the data that it was begun with."
            )
        if state.dataloader is None and state.epoch_length is None and epoch_length is None:
            raise DataError("run() was given no data; give it data, or epoch_length for none.")
    length = state.epoch_length
    if length is None:
        there = state.dataloader if data is None else data
        length = _not_empty(length_of(there)) if epoch_length is None else epoch_length
    elif epoch_length is not None and epoch_length != length:
        raise ValueError(
            f"epoch_length={epoch_length}, but the run goes on with {length}; leave it "
            f"out, or set engine.state.max_epochs = engine.state.max_iters = None to start anew."
        )
    if data is not None and data is not state.dataloader:
        source.close()  # other data take over from the same position
        state.dataloader = data
    source.expect(state.dataloader)
    progress = engine.progress
    if source.moved:
        at, (before, now, there) = source.position, source.refit(state.dataloader)
        if length == before:  # else an epoch is no pass
            length = now
            if progress.epoch_iteration == at and there is not None:
                progress.epoch_iteration = there
    state.epoch_length = length
    if progress.next is Next.NOTHING or (progress.next is Next.COMPLETED and extended):
        progress.next, progress.delivered = Next.STARTED, 0  # beyond the end that was reached


def _limit(name: str, value: float | None) -> float | None:
    """A whole number, or infinity for a run that something else ends."""
    return value if value == math.inf else _whole(name, value)


def _whole(name: str, value: float | None, *, least: int = 1) -> int | None:
    try:
        return None if value is None else whole(name, value, least=least)
    except ValueError:
        if isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0:
            raise
        raise TypeError(f"{name} is a whole number or None, given {value!r}.") from None


def _not_empty(length: int | None) -> int | None:
    if length == 0:
        raise DataError(
            "the data have zero size; give at least one batch, or say epoch_length=0 where none is "
            "meant, as on the empty share of one of several processes."
        )
    return length


def _standing(state: State) -> str:
    return (
        f"epoch {state.epoch}, iteration {state.iteration}, "
        f"max_epochs={state.max_epochs}, max_iters={state.max_iters}"
    )
