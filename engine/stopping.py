"""Who runs, and which signals of the operating system stop it.

The outermost engine in the main thread, and only it, listens to signals for the length of its
run. A first signal sets a flag, which the engine serves between two iterations; a second one of
any kind is raised at once. Where several processes run as one, the flag is held until they have
agreed on an iteration at which all of them stop.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from .errors import Signalled
from .state import Reason

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["SignalWatch", "current_engine", "running", "stop_of"]

_ONE_AND_THE_SAME = 2.0  # seconds in which a launcher hands on what its processes got, too


class _ThisThread(threading.local):
    """What runs in the thread that asks."""

    engine: Engine | None = None


_this_thread = _ThisThread()


def current_engine() -> Engine | None:
    """The innermost engine that runs in this thread; ``None`` outside of any run.

    Example:
        >>> from footplate import Engine
        >>> current_engine() is None
        True
        >>> inside = Engine(lambda engine, batch: current_engine() is engine)
        >>> inside.run([1]).output
        True
    """
    return _this_thread.engine


class SignalWatch:
    """Listens to signals for an outermost engine, and restores what it found.

    Attributes:
        engine: the outermost engine, which serves the signal.
        signum: the signal that was heard; ``None`` until one is.
        due: the signal that the safe point at hand serves.
        held: whether a signal waits, once it is heard, until somebody calls :meth:`serve`.
        notes: what went wrong in nested runs that gave way to it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.signum: int | None = None
        self.due: int | None = None
        self.held = False
        self.notes: list[str] = []
        self._heard_at = 0.0
        self._found: dict[int, Any] = {}

    @property
    def signums(self) -> frozenset[int]:
        """The signals that it listens to."""
        return frozenset(self._found)

    @property
    def cuts(self) -> bool:
        """Whether a signal was heard that a nested run gives way to."""
        return self.signum is not None and not self.held

    def listen(self, signums: Iterable[int]) -> None:
        """Take over signals.

        Left be are a SIGINT handler of the user's own, or an ignored SIGINT, and handlers that
        were not installed from Python, since they could not be put back.
        """
        in_main = threading.current_thread() is threading.main_thread()
        for signum in signums if in_main else ():
            found = signal.getsignal(signum)
            theirs = signum == signal.SIGINT and found is not signal.default_int_handler
            if signum not in self._found and not theirs and found is not None:
                self._found[signum] = found
                signal.signal(signum, self._hear)

    def serve(self, signum: int) -> None:
        """Have the safe point at hand stop the run, behind its handlers."""
        self.signum = self.due = signum
        self.engine.state.reason = Reason.SIGNALLED

    def error(self, signum: int) -> BaseException:
        """What is raised when the signal is served."""
        error = stop_of(signum)
        for note in self.notes:
            error.add_note(note)
        return error

    def restore(self) -> None:
        """Put back what was found."""
        while self._found:
            signal.signal(*self._found.popitem())

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if self._is_the_same(signum):
                return
            raise stop_of(signum)
        self.signum, self._heard_at = signum, time.monotonic()
        found = self._found.get(signum)
        if callable(found) and found is not signal.default_int_handler:
            found(signum, frame)

    def _is_the_same(self, signum: int) -> bool:
        """Whether it is no second signal: launchers hand on what the processes got themselves.

        They send it as well to those that still save when the first has ended.
        """
        soon = time.monotonic() - self._heard_at < _ONE_AND_THE_SAME
        return self.held and signum == self.signum and (soon or self.due is not None)


def stop_of(signum: int) -> BaseException:
    """What is raised for a signal: ``KeyboardInterrupt`` for Ctrl-C, else ``Signalled``."""
    return KeyboardInterrupt() if signum == signal.SIGINT else Signalled(signum)


@contextmanager
def running(engine: Engine, signums: Iterable[int]) -> Generator[SignalWatch, None, None]:
    """Be the engine that runs in this thread; the outermost one brings the watch for all."""
    outer = current_engine()
    watch = (outer and outer.watch) or SignalWatch(engine)
    _this_thread.engine = engine
    try:
        watch.listen((signal.SIGINT, *signums))
        yield watch
    finally:
        _this_thread.engine = outer
        if watch.engine is engine:
            watch.restore()
