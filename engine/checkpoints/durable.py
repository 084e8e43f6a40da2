"""Files and directories that are on the disk, and not only on their way there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

__all__ = ["DurableFile", "make_directory", "make_durable"]

_GATHERED = 4 * 2**20  # bytes; pieces of less are gathered, as each call costs
_SIDE_BY_SIDE = 2**20  # bytes; for less a thread costs more than it saves
_ASKED = 32 * 2**20  # bytes that are on their way before the disk is asked to take them
_NOT_FOR_DIRECTORIES = {errno.EINVAL, errno.ENOTSUP}  # of file systems that need no fsync there


class DurableFile:
    """A file that is only written, in one go; its digest is computed meanwhile.

    It takes what ``torch.save`` writes, and tensors' memory as it is. The digest of a large piece
    is computed in a second thread while the first one writes it. Leaving it, or :meth:`close`,
    waits until the disk has the file. Every error names it; after the first one, writing on
    raises that again.

    Args:
        path: where it is; an existing file is replaced.

    Attributes:
        size: how many bytes were written.

    Raises:
        OSError: if the disk does not take it.

    Example:
        >>> import tempfile
        >>> with DurableFile(Path(tempfile.mkdtemp()) / "file") as file:
        ...     _ = file.write(b"abc")
        >>> file.size, file.digest[:8]
        (3, 'ba7816bf')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.size = 0
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._error: OSError | None = None
        self._on_the_way = 0  # bytes that the disk was not asked for yet
        self._asking: Thread | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.path, flags, 0o666)

    @property
    def digest(self) -> str:
        """The SHA-256 digest of what was written, once the file is closed."""
        if self._descriptor >= 0:
            raise ValueError(f"{self.path} is being written; ask for the digest when it is closed.")
        return self._hash.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of the bytes."""
        if self._error is not None:
            raise self._error
        view = memoryview(data).cast("B")
        if len(self._gathered) + len(view) < _GATHERED:
            self._gathered += view
        else:
            self.flush()
            self._put(view)
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Hand what was gathered of small pieces to the operating system."""
        gathered, self._gathered = self._gathered, bytearray()
        self._put(memoryview(gathered))

    def close(self) -> None:
        """Wait until the disk has all of it, and close the file. A second time does nothing."""
        if self._descriptor < 0:
            return
        try:
            if self._error is None:
                self.flush()
                self._named(os.fsync, self._descriptor)
        finally:
            self._let_go()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> DurableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; where writing failed, that error is raised, whatever became of it since."""
        if error is None:
            return self.close()
        with suppress(OSError):
            self._let_go()
        if self._error is not None and error is not self._error and isinstance(error, Exception):
            raise self._error from error  # torch.save, say, speaks of its archive only
        return None

    def _let_go(self) -> None:
        if self._asking is not None:
            self._asking.join()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._named(os.close, descriptor)

    def _put(self, view: memoryview) -> None:
        """Write a piece and take it into the digest, side by side where that pays."""
        beside = _begun(self._hash.update, view) if len(view) >= _SIDE_BY_SIDE else None
        if beside is None:
            self._hash.update(view)
        try:
            self._write_all(view)
        finally:
            if beside is not None:
                beside.join()  # the memory is the caller's
        self._on_the_way += len(view)
        if self._on_the_way >= _ASKED and not (self._asking and self._asking.is_alive()):
            self._on_the_way, self._asking = 0, _begun(self._ask)

    def _ask(self) -> None:
        """Have the disk take what there is by now, while more is written."""
        with suppress(OSError):  # it is kept, and raised where the file is written or closed
            self._named(os.fsync, self._descriptor)

    def _write_all(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            written = self._named(os.write, self._descriptor, view[done:])
            if not written:
                self._named(_raise_nothing_written)
            done += written

    def _named(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call the operating system; an error gets the file's name, and is kept."""
        try:
            return call(*arguments)
        except OSError as error:
            error.filename = str(self.path)
            self._error = error
            raise


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it that are not there; all are on the disk then."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        make_durable(directory.parent)


def make_durable(directory: Path) -> None:
    """Wait until the disk has the entries of a directory, though not what they hold.

    Raises:
        OSError: if the disk does not take them; with the directory's name.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NOT_FOR_DIRECTORIES:
            return
        error.filename = str(directory)
        raise


def _begun(call: Callable[..., object], *arguments: object) -> Thread | None:
    """A thread that does it; none where no thread starts, as at the interpreter's end."""
    thread = Thread(target=call, args=arguments, name="footplate-digest")
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _raise_nothing_written() -> None:
    raise OSError(errno.EIO, "the disk took none of the bytes, and gave no cause")
