"""Orphans: processes whose launcher was killed, and that nobody would end."""

from __future__ import annotations

import os
import signal
import threading
import time

__all__ = ["end_with_launcher"]

_EVERY = 1.0  # seconds


def end_with_launcher() -> None:
    """From now on, have the end of the process that has started this one be heard as SIGTERM.

    A launcher that is killed can end nobody any more. What trains saves and ends then, as it does
    when it is told to stop.
    """
    threading.Thread(
        target=_watch, args=(os.getppid(),), name="watch over the launcher", daemon=True
    ).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
