"""The last resort: ending a process that was told to stop, and can't."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Collection

__all__ = ["LastResort"]

_GOODBYE = b"\0"  # which is no signal
_EXIT = 128  # what a signal's number is added to


class LastResort:
    """Ends this process the hard way when a signal was not served in time.

    Python runs the handler of a signal between two of its own instructions. A process that waits in
    a collective for one that is gone never comes there, and one that sleeps comes to no safe point.
    So a thread hears the signal besides, by the file that Python writes its number to at once. When
    the time is up it prints where each thread stands, and ends the process with 128 and the number.

    Args:
        seconds: how long a signal may wait.

    Example:
        >>> last = LastResort(20.0)
        >>> last.arm({signal.SIGTERM})
        >>> last.is_armed
        True
        >>> last.disarm()
        >>> last.is_armed
        False
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._signums: frozenset[int] = frozenset()
        self._served = threading.Event()
        self._ears: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._knows_children = False

    @property
    def is_armed(self) -> bool:
        """Whether it listens."""
        return self._ears is not None

    def arm(self, signums: Collection[int]) -> None:
        """Begin to listen, in the main thread, and unless an event loop listens that way.

        Args:
            signums: signals that have handlers in Python.
        """
        if self.is_armed or threading.current_thread() is not threading.main_thread():
            return
        ear, mouth = socket.socketpair()
        mouth.setblocking(False)
        found = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        if found != -1:
            signal.set_wakeup_fd(found)
            ear.close()
            mouth.close()
            return
        self._signums, self._ears = frozenset(signums), (ear, mouth)
        self._served.clear()
        self._know_children()
        self._thread = threading.Thread(
            target=self._listen, args=(ear,), name="last resort", daemon=True
        )
        self._thread.start()

    def stand_down(self) -> None:
        """Let the process live, since the signal is served."""
        self._served.set()

    def disarm(self) -> None:
        """Listen no more."""
        self.stand_down()
        if self._ears is None or self._thread is None:
            return
        self._deafen()
        ear, mouth = self._ears
        mouth.send(_GOODBYE)  # to close it would not do: children may hold it open
        self._thread.join()
        ear.close()
        mouth.close()
        self._ears = self._thread = None

    def _deafen(self) -> None:
        """Have Python write signals here no longer."""
        found = signal.set_wakeup_fd(-1)
        if self._ears is not None and found not in (-1, self._ears[1].fileno()):
            signal.set_wakeup_fd(found)

    def _know_children(self) -> None:
        """Have processes that are forked, as workers of a loader, not write to this one's ears."""
        if not self._knows_children and hasattr(os, "register_at_fork"):
            self._knows_children = True
            deafen = weakref.WeakMethod(self._deafen)
            os.register_at_fork(after_in_child=lambda: (method := deafen()) and method())

    def _listen(self, ear: socket.socket) -> None:
        while (heard := ear.recv(1)) and heard != _GOODBYE:
            signum = heard[0]
            if signum in self._signums and not self._served.wait(self.seconds):
                self._end(signum)

    def _end(self, signum: int) -> None:
        with contextlib.suppress(Exception):  # what it says is not worth staying for
            print(
                f"process {os.getpid()} was told to stop by {signal.Signals(signum).name}, and "
                f"came to no safe point in {self.seconds:g} s. It ends here; this is where its "
                f"threads stand:",
                file=sys.__stderr__,
                flush=True,
            )
            faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
        os._exit(_EXIT + signum)
