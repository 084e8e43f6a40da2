"""TensorBoard's event files: written at once, cut where a run goes on, and set aside."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.writer import FileWriter

__all__ = ["EventFile", "EventWriter", "cut", "set_files_aside"]


class EventFile:
    """One event file, in the place of tensorboardX's queue, thread and file.

    Each event is handed to the operating system at once, so that a kill of the process loses none.

    Args:
        folder: where it goes; made if need be.
        run: whose it is; the file's name ends with it.
    """

    def __init__(self, folder: Path, run: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()  # files are read by name, and so those of one second in order
        name = f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now}.{_plain(run)}"
        self.path = folder / name
        self.size = 0
        self._file = self.path.open("xb", buffering=0)
        self.add_event(Event(wall_time=now / 1e9, file_version="brain.Event:2"))

    def add_event(self, event: Any) -> None:
        """Write an event, as a record: its length and itself, each with a checksum."""
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
        record = length + next(sums) + data + next(sums)
        self._file.write(record)
        self.size += len(record)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """See to it that all is on the disk, and close the file. Doing so again does nothing."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def get_logdir(self) -> str:
        """The folder, as tensorboardX asks for it."""
        return str(self.path.parent)


class EventWriter(SummaryWriter):  # type: ignore[misc]
    """tensorboardX's writer, into an :class:`EventFile`.

    Args:
        folder: where the file goes.
        run: whose it is.
        purge_step: from which step on TensorBoard hides what was written before.

    Attributes:
        file: the file.
    """

    file_writer: Any
    all_writers: Any

    def __init__(self, folder: Path, run: str, *, purge_step: int | None = None) -> None:
        self.file = EventFile(folder, run)
        super().__init__(str(folder))
        if purge_step is not None:
            started = SessionLog(status=SessionLog.START)
            self.file_writer.add_event(Event(step=purge_step, session_log=started))

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = _Unqueued(self.file)
            self.all_writers = {self.file.get_logdir(): self.file_writer}
        return self.file_writer


class _Unqueued(FileWriter):  # type: ignore[misc]
    """Gives events to a file, with no queue between them."""

    def __init__(self, file: EventFile) -> None:
        self.event_writer = file
        self._default_metadata: dict[str, Any] = {}


def cut(folder: Path, run: str, file: str, size: int) -> None:
    """Take away what a run wrote behind a place: the rest of the file, and later files of it."""
    for path in _files(folder, run):
        if path.name == file and path.stat().st_size > size:
            os.truncate(path, size)
        elif _made(path) > _made(Path(file)):
            path.unlink()


def set_files_aside(folder: Path, run: str) -> None:
    """Move the files of a run into a folder beside this one: ``name.1``, ``name.2`` and so on."""
    files = _files(folder, run)
    if not files:
        return
    folder, number = folder.resolve(), 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    aside.mkdir()
    for path in files:
        path.rename(aside / path.name)


def _files(folder: Path, run: str) -> list[Path]:
    """The files of a run, in the order in which they were made."""
    return sorted(folder.glob(f"events.out.tfevents.*.{_plain(run)}"), key=_made)


def _made(path: Path) -> int:
    """When a file was made, in nanoseconds, as its name says."""
    *_, stamp, _ = ("", *path.name.split("."))
    return int(stamp) if stamp.isdigit() else 0


def _plain(run: str) -> str:
    """A run's name without what a file's name or a pattern gives a meaning to."""
    return re.sub(r"[^\w-]+", "_", run)
