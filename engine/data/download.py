"""Files from elsewhere: fetched once, whole and checked, or not there at all."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from ..errors import DataError

__all__ = ["download"]

_logger = logging.getLogger("footplate.data")
_AT_ONCE = 1 << 20  # bytes


def download(url: str, file: str | Path, *, sha256: str, timeout: float = 30) -> Path:
    """A file that is there under its digest, fetched if it is not.

    What is fetched appears under its name in one rename, when all of it has come and its digest is
    the one expected. So a process that is killed leaves no half of a file that looks like a whole
    one, and several processes may ask for the same file at once.

    Args:
        url: where it comes from.
        file: where to keep it; folders are made.
        sha256: the digest of what it has to be, 64 hexadecimal digits.
        timeout: seconds in which the other side has to say something.

    Returns:
        the file.

    Raises:
        DataError: if it can't be fetched, ends early, or is another file than expected; if a file
            of this name is there that is another one. What is there is left alone.

    Example:
        >>> there = Path("hello.txt")
        >>> _ = there.write_bytes(b"hello")
        >>> digest = hashlib.sha256(b"hello").hexdigest()
        >>> download("https://example.org/hello.txt", there, sha256=digest).name
        'hello.txt'
    """
    file = Path(file)
    if file.exists():
        if (found := _digest(file)) != sha256:
            raise DataError(
                f"{file} is not the file that {url} was known as: its SHA-256 is {found}, not "
                f"{sha256}; take it away to have it fetched."
            )
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    _logger.info("fetching %s to %s", url, file)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as new:
            for block in _fetched(url, timeout):
                new.write(block)
            new.flush()
            os.fsync(new.fileno())
        if (found := _digest(Path(name))) != sha256:
            raise DataError(
                f"{url} gave another file than expected: its SHA-256 is {found}, not {sha256}; "
                f"try again, or put the right one at {file}."
            )
        os.chmod(name, 0o644)  # a temporary file is its maker's alone
        os.replace(name, file)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return file


def _fetched(url: str, timeout: float) -> Iterator[bytes]:
    """What an address gives, block by block."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            come, length = 0, answer.length
            while block := answer.read(_AT_ONCE):
                come += len(block)
                yield block
    except (OSError, HTTPException) as error:
        raise DataError(f"{url} can't be fetched: {error}; try again later.") from error
    if length is not None and come != length:
        raise DataError(f"{url} ended behind {come} of {length} bytes; try again.")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
