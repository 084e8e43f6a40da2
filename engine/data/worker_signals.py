"""Signals of loader workers: what stops a run is the main process's business alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from threading import Thread
from typing import Any

from torch.utils.data import DataLoader

__all__ = ["Sheltered", "sheltered_from_birth"]

_IGNORED = ("SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP")


class Sheltered:
    """A ``worker_init_fn`` that keeps a worker alive when all processes of a job are told to stop.

    Terminals and schedulers send a signal to every process. A worker that died of it would fail
    the run before its safe point; so it ignores such signals, and ends on SIGTERM only if that
    comes from its own main process, as at the end of a pass, or if that process is gone. Who sends
    SIGTERM is known to workers that were started within :func:`sheltered_from_birth`; others die
    of it. Programs that a worker starts inherit all this: end them by SIGKILL.

    Args:
        init: the user's ``worker_init_fn``, which is called behind it.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader(range(4), num_workers=1, worker_init_fn=Sheltered(None))
        >>> with sheltered_from_birth(loader):
        ...     batches = iter(loader)
        >>> [batch.item() for batch in batches]
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
        if parent is not None and parent.pid is not None and _is_held_back():
            Thread(target=_end_with, args=(parent.pid,), name="sigterm", daemon=True).start()
        if self.init is not None:
            self.init(worker_id)


@contextmanager
def sheltered_from_birth(loader: DataLoader[Any]) -> Iterator[None]:
    """Within it, start the workers of a loader: SIGTERM waits until they look who sends it.

    A signal goes to any thread that does not block it, and a forked worker may have several before
    it does anything of ours: torch starts them if their number was set in the main process, and
    other libraries start theirs again. But all of them inherit what is blocked here. Workers that
    a fork server starts are not sheltered.

    Args:
        loader: whose workers they are, each with a :class:`Sheltered`.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> with sheltered_from_birth(DataLoader(range(4))):  # has no workers
        ...     signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        False
    """
    method = _start_method(loader)
    if method not in ("fork", "spawn"):  # a fork server would hand it on to all that it ever forks
        yield
        return
    if method == "spawn":
        resource_tracker.ensure_running()  # as its start would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_method(loader: DataLoader[Any]) -> str | None:
    """How its workers are started; ``None`` if there are none, or nobody can look who sends."""
    if not loader.num_workers or not hasattr(signal, "sigwaitinfo"):
        return None
    method: str = (loader.multiprocessing_context or multiprocessing).get_start_method()
    return method


def _is_held_back() -> bool:
    """Whether this process has been started so."""
    if not hasattr(signal, "sigwaitinfo"):
        return False
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _end_with(parent: int) -> None:
    """Wait for the main process to end this one; what others send while it lives is nothing."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent and os.getppid() == parent:
        continue
    os._exit(0)
