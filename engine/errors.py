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
    """An event that nobody registered, or one that is used against its declaration."""


class HandlerError(ValueError):
    """A handler or receiver that can't be called the way its event would call it."""


class DataError(ValueError):
    """Data that can't give what the run still needs: empty, exhausted, or missing."""


class StateError(ValueError):
    """A state that can't be loaded or continued from."""


class LaunchError(ValueError):
    """Processes that can't work as one: launched wrongly, or of several minds."""


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

    Example:
        >>> nearest("EPOCH_COMPLETE", ["EPOCH_STARTED", "EPOCH_COMPLETED"])
        " Did you mean 'EPOCH_COMPLETED'?"
        >>> nearest("lr", ["EPOCH_STARTED"])
        ''
    """
    matches = difflib.get_close_matches(given, [str(name) for name in known], n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""
