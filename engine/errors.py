"""The few exceptions of the library. Each says what was given, why it is refused and what to do."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable

__all__ = [
    "DataError",
    "EventError",
    "HandlerError",
    "LaunchError",
    "Signalled",
    "StateError",
    "nearest",
]


class EventError(ValueError):
    """An event that nobody registered, or one that is used against its declaration.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> try:
        ...     engine.fire_event("EPOCH_COMPLETE")
        ... except EventError as error:
        ...     print("Did you mean 'EPOCH_COMPLETED'?" in str(error))
        True
    """


class HandlerError(ValueError):
    """A handler or receiver that can't be called the way its event would call it.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> def show(engine, loss): ...
        >>> try:
        ...     engine.add_event_handler("STARTED", show)
        ... except HandlerError as error:
        ...     print(str(error).partition(": ")[2])
        it takes (engine, loss) but would be called as (engine) or ().
    """


class DataError(ValueError):
    """Data that can't give what the run still needs: empty, exhausted, or missing.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> try:
        ...     engine.run(iter([]))
        ... except DataError as error:
        ...     print(error)
        the data gave not one batch; give at least one.
    """


class StateError(ValueError):
    """A state that can't be loaded or continued from.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> try:
        ...     engine.load_state_dict({"iteration": -3, "epoch_length": 2, "max_epochs": 2})
        ... except StateError as error:
        ...     print(error)
        a state's iteration is a whole number from 0 on, given -3.
    """


class LaunchError(ValueError):
    """Processes that can't work as one: launched wrongly, or of several minds.

    Example:
        >>> from footplate.engine.placement.launchers import place_in
        >>> try:
        ...     place_in({"SHELL": "/bin/sh"}, launcher="slurm")
        ... except LaunchError as error:
        ...     print(str(error).partition(";")[0])
        launcher='slurm', but srun has left no trace in the environment
    """


class Signalled(BaseException):
    """The run was stopped by a signal of the operating system, at a safe point.

    Like :class:`KeyboardInterrupt` it is no :class:`Exception`, so that ``except Exception``
    does not keep a process alive that was asked to end.

    Args:
        signum: the signal's number.

    Example:
        >>> error = Signalled(15)
        >>> error.signum, str(error)
        (15, 'stopped by SIGTERM')
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        named = signum in signal.Signals.__members__.values()
        name = signal.Signals(signum).name if named else f"signal {signum}"
        super().__init__(f"stopped by {name}")


def nearest(given: str, known: Iterable[str]) -> str:
    """The end of an error message: the known name that is closest to the one given, if any is.

    Args:
        given: the name that nobody knows.
        known: the names that there are.

    Example:
        >>> nearest("EPOCH_COMPLETE", ["EPOCH_STARTED", "EPOCH_COMPLETED"])
        " Did you mean 'EPOCH_COMPLETED'?"
        >>> nearest("epoch_complete", ["EPOCH_STARTED", "EPOCH_COMPLETED"])
        " Did you mean 'EPOCH_COMPLETED'?"
        >>> nearest("lr", ["EPOCH_STARTED"])
        ''
    """
    names = [str(name) for name in known]
    matches = difflib.get_close_matches(given, names, n=1)
    if not matches:  # written in capitals, or without
        folded = {name.casefold(): name for name in names}
        close = difflib.get_close_matches(given.casefold(), folded, n=1)
        matches = [folded[name] for name in close]
    return f" Did you mean {matches[0]!r}?" if matches else ""
