"""Signals of loader workers: what stops a run is the main process's business alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from threading import Thread

__all__ = ["Sheltered"]

_IGNORED = ("SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP")


class Sheltered:
    """A ``worker_init_fn`` that keeps a worker alive when all processes of a job are told to stop.

    Terminals and schedulers send a signal to every process. A worker that died of it would fail
    the run before its safe point; so it ignores such signals, and ends on SIGTERM only if that
    comes from its own main process, as at the end of a pass. Who sends SIGTERM can be told in
    workers that are forked, as they are on Linux by default; others still die of it.

    Args:
        init: the user's ``worker_init_fn``, which is called behind it.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader(range(4), num_workers=1, worker_init_fn=Sheltered(None))
        >>> [batch.item() for batch in loader]
        [0, 1, 2, 3]
    """

    def __init__(self, init: Callable[[int], object] | None) -> None:
        self.init = init

    def __call__(self, worker_id: int) -> None:
        """Shelter this process, a worker's."""
        for name in _IGNORED:
            if (signum := getattr(signal, name, None)) is not None:
                signal.signal(signum, signal.SIG_IGN)
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None and _has_one_thread():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # for all threads to come
            Thread(target=_end_with, args=(parent.pid,), name="sigterm", daemon=True).start()
        if self.init is not None:
            self.init(worker_id)


def _has_one_thread() -> bool:
    """Whether no other thread could get the signal; one that a library has started can."""
    tasks = "/proc/self/task"
    return hasattr(signal, "sigwaitinfo") and os.path.isdir(tasks) and len(os.listdir(tasks)) == 1


def _end_with(parent: int) -> None:
    """Wait for the main process to end this one; what others send comes to nothing."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)
