"""Processes: a command that runs in several, which it starts itself by torchrun's launcher.

The first process has the console. What others print goes to files that are kept as long as they
run, and the end of which is shown if one of them ends without a word.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .outcome import INTERRUPTED

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

__all__ = ["Processes", "run_in"]

_PORT = 29_400  # torchrun's own
_PATIENCE = 300  # seconds that processes have to save before they are killed
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_TAIL = 20  # lines of what one has printed that ended without a word


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How many processes there are to be, and where.

    Attributes:
        each: how many on each machine.
        nodes: how many machines; the command is given on each of them.
        master: of several machines the one where all meet: its name or address, and a port if
            it is not 29400.
        restarts: how often all of them are started again after one has failed.
    """

    each: int = 1
    nodes: int = 1
    master: str = ""
    restarts: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.nodes > 1 and not self.master:
            raise typer.BadParameter(
                "on several machines they have to know where they meet; give --master node-1, the "
                "name or address of one of them, on all of them."
            )

    @property
    def are_several(self) -> bool:
        """Whether there is something to launch."""
        return self.each * self.nodes > 1 or self.restarts > 0


def run_in(processes: Processes, arguments: Sequence[str]) -> int:
    """Run a command in several processes, and wait for them.

    Signals are handed on to all of them; a second one ends them at once.

    Args:
        processes: how many, and where.
        arguments: of the command, its name first.

    Returns:
        the code to end with: 0; 1 if one has failed, whose error is printed then; 128 and the
        number of a signal that has stopped them.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    # The folder is not looked into for modules, which would beat those of the same name
    command = ("-P", "-m", "footplate.recipes.cli", *arguments)
    _share_cores(processes.each)
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # which restarts need
    with tempfile.TemporaryDirectory(prefix="footplate-") as folder, _silence():
        try:
            elastic_launch(_config(processes, folder), sys.executable)(*command)
        except SignalException as stop:
            return INTERRUPTED + stop.sigval
        except ChildFailedError as error:
            return _told(error, processes, Path(folder))
    return 0


def _config(processes: Processes, folder: str) -> LaunchConfig:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    alone = processes.nodes == 1
    host, _, port = processes.master.partition(":")
    return LaunchConfig(
        min_nodes=processes.nodes,
        max_nodes=processes.nodes,
        nproc_per_node=processes.each,
        max_restarts=processes.restarts,
        run_id=uuid.uuid4().hex if alone else "footplate",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if alone else f"{host}:{port or _PORT}",
        local_addr="127.0.0.1" if alone else None,
        logs_specs=DefaultLogsSpecs(folder, dict.fromkeys(range(1, processes.each), Std.ALL)),
        signals_to_handle=",".join(_SIGNALS),
        shutdown_timeout=_PATIENCE,
    )


def _share_cores(processes: int) -> None:
    """Have the processes of a machine share its cores, where nobody has said how many threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // processes)))


@contextmanager
def _silence() -> Generator[None, None, None]:
    """Keep what the launcher says itself off the console, unless its level was asked for."""
    before = logging.root.manager.disable
    if "LOGLEVEL" not in os.environ:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _told(error: ChildFailedError, processes: Processes, folder: Path) -> int:
    """Print what the first that has failed says; returns the code to end with."""
    rank, failure = error.get_first_failure()
    if failure.exitcode > INTERRUPTED:  # stopped by a signal, as it has said
        return failure.exitcode
    total = processes.each * processes.nodes
    print(f"rank {rank} of {total}: {_words(failure, folder)}", file=sys.stderr)
    return 1


def _words(failure: ProcessFailure, folder: Path) -> str:
    """The error of a process; or how it ended, and what it said last, if it has written none."""
    message: Any = failure.message
    if isinstance(message, dict):
        return str(message["message"])
    how = f"it ended with {failure.exitcode}"
    if failure.exitcode < 0:
        how = f"it was ended by {failure.signal_name()}"
    files = sorted(folder.glob(f"*/attempt_*/{failure.local_rank}/stderr.log"))
    said = files[-1].read_text(errors="replace").splitlines()[-_TAIL:] if files else []
    return "\n".join([f"{how}, and wrote no error", *said])
