"""How a raw loop is stopped by a signal: behind a batch, saved, and in all processes at once."""

from __future__ import annotations

import signal
from collections.abc import Collection, Generator
from contextlib import contextmanager
from types import FrameType

from ...engine.engine import Engine
from ...engine.errors import Signalled
from ...engine.placement.agreement import agreement_of
from ...engine.placement.last_resort import LastResort
from ...engine.placement.ranks import world_size
from ...engine.stopping import SignalWatch

__all__ = ["Stopped", "Stopping", "stop_for"]

_GRACE = 20.0  # seconds; launchers kill half a minute after SIGTERM
_IN_TIME = {signal.SIGINT, signal.SIGTERM}  # others are sent well ahead of time


class Stopped(Signalled, SystemExit):
    """The loop was stopped by a signal; it ends a script with 128 and the signal's number.

    Args:
        signum: the signal's number.

    Example:
        >>> try:
        ...     raise Stopped(15)
        ... except SystemExit as error:
        ...     print(error.code, error)
        143 stopped by SIGTERM
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + signum


class _Watch(SignalWatch):
    """Listens, and knows whether a second signal was raised at once."""

    has_raised = False

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        try:
            super()._hear(signum, frame)
        except BaseException:
            self.has_raised = True
            raise


class Stopping:
    """Hears signals while a raw loop is under way, and says behind which batch they are served.

    Among several processes, one that hears a signal stops all of them at the same batch; it may
    take a second until they have agreed. One that does not come there in time, as it waits for
    another that is gone, is ended the hard way.

    Args:
        engine: what holds where the loop stands.
        signums: the signals, besides Ctrl-C.
    """

    def __init__(self, engine: Engine, signums: Collection[int]) -> None:
        self._engine = engine
        self._signums = (signal.SIGINT, *signums)
        self._watch: _Watch | None = None
        self._agreement = agreement_of(engine) if world_size() > 1 else None
        self._last = LastResort(_GRACE)

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Hear signals within; one that was not served is left to whoever listened before."""
        if self._watch is not None or _somebody_of_ours_listens():
            yield
            return
        watch = self._watch = _Watch(self._engine)
        watch.listen(self._signums)
        if self._agreement is not None:
            with self._watched(watch):
                self._agreement.opened(self._engine)
            self._last.arm(watch.signums & _IN_TIME)
        try:
            yield
        finally:
            self._last.disarm()
            watch.restore()
            self._watch = None
            if watch.signum is not None and watch.due is None and not watch.has_raised:
                signal.raise_signal(watch.signum)

    def due(self) -> int | None:
        """The signal to be served now, behind a batch or an epoch; all processes ask alike."""
        if (watch := self._watch) is None:
            return None
        if self._agreement is not None:
            with self._watched(watch):
                self._agreement.safe_point(self._engine)
        elif watch.signum is not None:
            watch.serve(watch.signum)
        if watch.due is not None:
            self._last.stand_down()
        return watch.due

    @contextmanager
    def _watched(self, watch: SignalWatch) -> Generator[None, None, None]:
        """Have the engine know who listens; but for that it is one that does not run."""
        self._engine.watch = watch
        try:
            yield
        finally:
            self._engine.watch = None


def stop_for(signum: int) -> BaseException:
    """What ends the loop: ``KeyboardInterrupt`` for Ctrl-C, else :class:`Stopped`."""
    return KeyboardInterrupt() if signum == signal.SIGINT else Stopped(signum)


def _somebody_of_ours_listens() -> bool:
    """Whether another loop or a run around this one does; it stops both."""
    found = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return isinstance(found, SignalWatch)
