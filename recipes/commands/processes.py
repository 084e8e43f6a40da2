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

from ..composition.restarts import first_error
from .outcome import INTERRUPTED, STOPPED

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

__all__ = ["Processes", "run_in"]

_PORT = 29_400  # torchrun's own
_PORTS = 2**16
_PATIENCE = 300  # seconds that processes have to save before they are killed
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_TAIL = 20  # lines of what one has printed that ended without a word
_STACK = 200  # lines of where the threads of one stand that came to no safe point
_HUNG = "came to no safe point"  # as it says itself


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
        host, colon, port = self.master.partition(":")
        if self.master and self.nodes == 1:
            raise typer.BadParameter(
                f"--master is where several machines meet, given {self.master!r} for one; give "
                f"--nodes, the number of machines, too, or leave it out."
            )
        if self.nodes > 1 and not self.master:
            raise typer.BadParameter(
                "on several machines they have to know where they meet; give --master node-1, the "
                "name or address of one of them, on all of them."
            )
        is_port = port.isdecimal() and 0 < int(port) < _PORTS
        if self.master and not (host and (is_port or not colon)):
            raise typer.BadParameter(
                f"--master is a machine's name or address, and a port from 1 to {_PORTS - 1} if "
                f"need be, node-1:{_PORT} say, given {self.master!r}."
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
        the code to end with: 0; 1 if one has failed, whose error is printed then, even if it was
        told to stop; 128 and the number of a signal that has stopped them.
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
            return _stopped(stop, processes, Path(folder))
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


def _stopped(stop: SignalException, processes: Processes, folder: Path) -> int:
    """The code to end with behind a signal; prints what has failed, or hung, as it came."""
    attempt = _last_attempt(folder)
    _print_stacks(attempt)
    failed = first_error(attempt)
    if failed is None:
        return INTERRUPTED + int(stop.sigval)
    _, number, text = failed
    total, where = processes.each, "" if processes.nodes == 1 else " on this machine"
    print(f"rank {number} of {total}{where}: {text}", file=sys.stderr)
    return 1


def _told(error: ChildFailedError, processes: Processes, folder: Path) -> int:
    """Print what the first that has failed says; returns the code to end with."""
    rank, failure = error.get_first_failure()
    attempt = _last_attempt(folder)
    if (attempt / str(failure.local_rank) / STOPPED).exists():  # by a signal, as it has said
        return failure.exitcode
    total = processes.each * processes.nodes
    words = _words(failure, attempt)
    if "imed out" in words:  # another did not come
        _print_stacks(attempt)
    print(f"rank {rank} of {total}: {words}", file=sys.stderr)
    return 1


def _last_attempt(folder: Path) -> Path:
    """Where the files of the processes are, as they were started last."""
    attempts = folder.glob("*/attempt_*")
    first = folder / "attempt_0"  # of none
    return max(attempts, key=lambda one: int(one.name.partition("_")[2]), default=first)


def _print_stacks(attempt: Path) -> None:
    """Print where those hung that were told to stop and could not; the first has done so."""
    for file in sorted(attempt.glob("*/stderr.log")):
        said = file.read_text(errors="replace").splitlines()
        begun = next((at for at, line in enumerate(said) if _HUNG in line), None)
        if begun is not None:
            lines = said[begun : begun + _STACK]
            print(f"rank {file.parent.name}: " + "\n".join(lines), file=sys.stderr)


def _words(failure: ProcessFailure, attempt: Path) -> str:
    """The error of a process; or how it ended, and what it said last, if it has written none."""
    message: Any = failure.message
    if isinstance(message, dict):
        return str(message["message"])
    how = f"it ended with {failure.exitcode}"
    if failure.exitcode < 0:
        how = f"it was ended by {failure.signal_name()}"
    file = attempt / str(failure.local_rank) / "stderr.log"
    said = file.read_text(errors="replace").splitlines()[-_TAIL:] if file.exists() else []
    return "\n".join([f"{how}, and wrote no error", *said])
