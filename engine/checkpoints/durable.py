"""Files and directories that are on the disk, and not only on their way there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy

__all__ = ["DurableFile", "make_directory", "make_durable"]

_BUFFER = 4 * 2**20  # bytes that are written at once
_BUFFERS = 4  # that one file has at most, so that its digest may lag behind
_ASKED = 32 * 2**20  # bytes that are on their way before the disk is asked to take them
_NOT_FOR_DIRECTORIES = {errno.EINVAL, errno.ENOTSUP}  # of file systems that need no fsync there


class DurableFile:
    """A file that is only written, in one go; its digest is computed meanwhile.

    It takes what ``torch.save`` writes, and tensors' memory as it is. A second thread computes the
    digest of what was written, and the disk is asked early to take it. Leaving the file, or
    :meth:`close`, waits until it has all of it. Every error names the file; after the first one,
    writing on raises that again.

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
        self._digest = _Digest()
        self._buffer = self._digest.buffer()
        self._filled = 0
        self._error: OSError | None = None
        self._written = 0
        self._asked = 0  # how much of that the disk was asked to take
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.path, flags, 0o666)

    @property
    def digest(self) -> str:
        """The SHA-256 digest of what was written, once the file is closed."""
        if self._descriptor >= 0:
            raise ValueError(f"{self.path} is being written; ask for the digest when it is closed.")
        return self._digest.hexadecimal()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of the bytes."""
        if self._error is not None:
            raise self._error
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), _BUFFER):
            self._gather(view[begin : begin + _BUFFER])
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Hand what was gathered to the operating system."""
        full, size = self._buffer, self._filled
        self._write_all(full[:size])
        self._buffer, self._filled = self._digest.exchange(full, size), 0
        self._written += size
        if self._written - self._asked >= _ASKED:
            self._ask()

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

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close it; where writing failed, that error is raised, whatever became of it since."""
        if error is None:
            return self.close()
        with suppress(OSError):
            self._let_go()
        if self._error is not None and error is not self._error and isinstance(error, Exception):
            raise self._error from error  # torch.save, say, speaks of its archive only
        return None

    def _let_go(self) -> None:
        self._digest.finish()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._named(os.close, descriptor)

    def _gather(self, view: memoryview) -> None:
        """Take in at most as much as a buffer holds; the memory is the caller's again then."""
        room = _BUFFER - self._filled
        for piece in (view[:room], view[room:]):
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            if self._filled == _BUFFER:
                self.flush()

    def _ask(self) -> None:
        """Have the disk begin with what there is by now; nothing waits for it."""
        if hasattr(os, "posix_fadvise"):  # not needed any longer: so it is written out at once
            where = self._asked, self._written - self._asked
            with suppress(OSError):
                os.posix_fadvise(self._descriptor, *where, os.POSIX_FADV_DONTNEED)
        self._asked = self._written

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


class _Digest:
    """The SHA-256 digest of what is in buffers, computed in a second thread.

    A buffer goes there when it was written, and comes back when its digest is done: so a file has
    a few of them, whatever its size.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._made = 0
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def buffer(self) -> memoryview:
        """One that is free; it is waited for where there are as many as there may be."""
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            return numpy.empty(_BUFFER, numpy.uint8).data  # of which no page is touched in vain
        return self._free.get()

    def exchange(self, buffer: memoryview, size: int) -> memoryview:
        """Give one with that many bytes, for one that is free."""
        if self._thread is None and size == _BUFFER:  # for less a thread does not pay
            self._thread = _begun(self._run)
        if self._thread is None:
            self._hash.update(buffer[:size])
            return buffer
        self._full.put((buffer, size))
        return self.buffer()

    def finish(self) -> None:
        """Wait until all that was given is in the digest."""
        if self._thread is not None:
            self._full.put(None)
            _wait_for(self._thread)
            self._thread = None

    def hexadecimal(self) -> str:
        return self._hash.hexdigest()

    def _run(self) -> None:
        while (given := self._full.get()) is not None:
            buffer, size = given
            self._hash.update(buffer[:size])
            self._free.put(buffer)


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


def _wait_for(thread: Thread) -> None:
    """Wait for a thread, and through an interrupt, too."""
    try:
        thread.join()
    except BaseException:
        thread.join()
        raise


def _raise_nothing_written() -> None:
    raise OSError(errno.EIO, "the disk took none of the bytes, and gave no cause")
