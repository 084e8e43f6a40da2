"""Directories that are being written or taken away: whose they are, and which were left behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

__all__ = ["claim", "disclaim", "part", "remove", "sweep"]

_LONGEST = 64  # characters of a run's identity
_in_use: set[Path] = set()  # by this process: a save may go on in another thread
_lock = threading.Lock()


@contextmanager
def part(place: Path, run: str) -> Iterator[Path]:
    """A name beside a place that is this run's and this process's, for as long as it is in use.

    Nobody takes for a checkpoint what has such a name. Those of other runs, of other hosts that
    share the disk, and of processes that are alive stay where they are; see :func:`sweep`.

    Raises:
        FileExistsError: if another thread has the same name in use.
    """
    ending = f"{_told(run)}.{_told(socket.gethostname())}.{os.getpid()}.part"
    path = place.with_name(f".{place.name}.{ending}")
    with _lock:
        if path in _in_use:
            raise FileExistsError(f"another thread of this run is at {place} already; wait for it.")
        _in_use.add(path)
    try:
        yield path
    finally:
        with _lock:
            _in_use.discard(path)


def sweep(directory: Path, run: str) -> None:
    """Take away what processes of this run on this host left when they were killed."""
    ours = re.compile(
        rf"\..+\.{re.escape(_told(run))}\.{re.escape(_told(socket.gethostname()))}\.(\d+)\.part"
    )
    for path in directory.glob(".*.part"):
        found = ours.fullmatch(path.name)
        if found and not _is_written(path, int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def claim(directory: Path, run: str) -> bool:
    """Whether this process is the first of a run's to come here, since :func:`disclaim`."""
    try:
        os.close(os.open(directory / f".{_told(run)}.failed", os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    return True


def disclaim(directory: Path, run: str) -> None:
    """Let the next one that comes be the first."""
    (directory / f".{_told(run)}.failed").unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Take a directory away; somebody else may be doing the same.

    Raises:
        OSError: if some of it can't be.
    """
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        shutil.rmtree(directory, ignore_errors=True)


def _told(name: str) -> str:
    """A name such that it has neither dots nor slashes; no two have the same."""
    told = quote(name, safe="").replace(".", "%2E")
    return told if len(told) <= _LONGEST else hashlib.sha256(name.encode()).hexdigest()


def _is_written(path: Path, pid: int) -> bool:
    if pid == os.getpid():
        with _lock:
            return path in _in_use
    return _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
