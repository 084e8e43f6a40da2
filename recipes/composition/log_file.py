"""The log file: what the library says by Python's logging while a runner is called."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["log_file", "named_by_rank"]

_logger = logging.getLogger("footplate")
_FORM = "%(asctime)s  %(levelname)s  %(message)s"


@contextmanager
def log_file(path: Path, level: int | str) -> Generator[None, None, None]:
    """Within it the library's logger writes to a file, which grows; it is made when need be.

    Args:
        path: the file.
        level: the least level that is written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.log"
        >>> with log_file(path, "INFO"):
        ...     logging.getLogger("footplate.runner").info("it begins")
        >>> path.read_text().split()[2:]
        ['INFO', 'it', 'begins']
    """
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(_FORM, datefmt="%Y-%m-%d %H:%M:%S"))
    handler.setLevel(level)
    before = _logger.level
    if handler.level < _logger.getEffectiveLevel():  # which would keep it from the handler
        _logger.setLevel(handler.level)
    try:
        with _listening(handler):
            yield
    finally:
        _logger.setLevel(before)


@contextmanager
def named_by_rank(rank: int) -> Generator[None, None, None]:
    """Within it the library's warnings go to the standard error with the number of the process.

    Example:
        >>> with named_by_rank(3):
        ...     logging.getLogger("footplate.runner").info("nobody is told")
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"rank {rank}: %(message)s"))
    handler.setLevel(logging.WARNING)
    with _listening(handler):
        yield


@contextmanager
def _listening(handler: logging.Handler) -> Generator[None, None, None]:
    """Within it a handler hears what the library says."""
    _logger.addHandler(handler)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
        handler.close()
