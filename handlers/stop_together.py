"""Processes that run as one stop together, and none is left behind."""

from __future__ import annotations

import math
import signal
import traceback
from collections.abc import Collection
from typing import Any

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.placement.agreement import agreement_of
from ..engine.placement.failures import error_file, follows_from_another, write_error
from ..engine.placement.last_resort import LastResort
from ..engine.placement.ranks import world_size
from ..engine.priority import Priority

__all__ = ["StopTogether"]

_GONE = "another process has ended, which is why this one failed; its error is the one to read"
_NOT_COME = "another process did not come; see what that one does, or whether it has ended"
_STOPPING = (signal.SIGTERM,)
_AHEAD_OF_TIME = {getattr(signal, name, None) for name in ("SIGUSR1", "SIGUSR2")}


class StopTogether(Handler):
    """Has all processes of a run stop at the same iteration when one of them is told to.

    Whichever process hears a signal, all save at one safe point, and then all raise
    :class:`~footplate.engine.errors.Signalled`, or ``KeyboardInterrupt``. Nested evaluations are
    finished first; see :class:`~footplate.engine.placement.agreement.Agreement` for how long it
    takes to agree.

    A process that can't come to a safe point, since it waits for one that is gone or hangs itself,
    is ended with 128 and the signal's number when the signal has waited for ``grace``: launchers
    kill half a minute after SIGTERM. SIGUSR1 and SIGUSR2 are sent well ahead of time, and may wait
    for as long as it takes.

    An error that says no more than that another process has ended, or does not come, gets a note to
    look there. In one process alone it does nothing but ask for the signals.

    Args:
        grace: seconds that a signal may wait for a safe point; ``None`` for as long as it takes.
        signals: signals of the operating system on which to stop, besides Ctrl-C and those that
            others ask for.

    Raises:
        ValueError: for a grace that is not positive; for what is no signal.
        HandlerError: for an engine that evaluates, among several processes.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> together = trainer.attach(StopTogether(grace=25))
        >>> trainer.run([0, 1]).iteration
        2
    """

    priority = Priority.VERY_HIGH  # behind the agreement
    for_one_engine = True

    def __init__(self, *, grace: float | None = 20.0, signals: Collection[int] = _STOPPING) -> None:
        if grace is not None and not 0 < grace < math.inf:
            raise ValueError(f"grace is a finite number of seconds above 0, given {grace!r}.")
        self.grace = grace
        self.signals = tuple(signals)
        self._last = None if grace is None else LastResort(grace)

    @property
    def is_armed(self) -> bool:
        """Whether a signal that is not served in time ends this process."""
        return self._last is not None and self._last.is_armed

    def on_register(self, engine: Engine) -> None:
        """Have the signals stop the run, and the processes agree on where."""
        engine.stop_on(*self.signals)
        if world_size() > 1:
            agreement_of(engine)

    def opened(self, engine: Engine) -> None:
        """Watch over the signals that stop this run."""
        watch: Any = engine.watch
        if self._last is not None and world_size() > 1 and watch.engine is engine:
            self._last.arm(watch.signums - _AHEAD_OF_TIME)

    def safe_point(self, engine: Engine) -> None:
        """Be content once the signal is served."""
        if self._last is not None and engine.watch is not None and engine.watch.due is not None:
            self._last.stand_down()

    def exception_raised(self, engine: Engine, exception: BaseException) -> None:
        """Tell the launcher of a failure, and say of one that follows from another that it does."""
        if world_size() == 1:
            return
        follows = follows_from_another(exception)
        if (file := error_file()) is not None:  # torchrun shows the first of all
            write_error(file, "".join(traceback.format_exception(exception)), follows=follows)
        if follows:
            exception.add_note(_GONE)
        elif isinstance(exception, RuntimeError) and "imed out" in str(exception):
            exception.add_note(_NOT_COME)

    def closed(self, engine: Engine) -> None:
        """Watch no longer."""
        if self._last is not None:
            self._last.disarm()
