"""Failures: which of several processes was the first, and what is left to be read of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

__all__ = ["attempt", "error_file", "follows_from_another", "write_error"]

_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
_GONE = (  # as Gloo, NCCL and ranks.from_first say it
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process exited",
    "the first process failed with",
)
_LATER = 60  # seconds; behind any error that it may follow from


def error_file() -> Path | None:
    """Where torchrun wants this process to write what it fails of; ``None`` without torchrun.

    Example:
        >>> error_file() is None
        True
    """
    given = os.environ.get(_ERROR_FILE)
    return Path(given) if given else None


def attempt() -> int:
    """How often torchrun has started the processes again after one had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def follows_from_another(error: BaseException) -> bool:
    """Whether an error says no more than that another process is gone.

    That one has failed before, so that its error is what somebody wants to read.

    Example:
        >>> follows_from_another(RuntimeError("[gloo/pair.cc] Connection closed by peer [::1]:5"))
        True
        >>> follows_from_another(ValueError("the loss is nan"))
        False
    """
    distributed = sys.modules.get("torch.distributed")
    theirs = getattr(distributed, "DistError", RuntimeError)
    return isinstance(error, (RuntimeError, theirs)) and any(one in str(error) for one in _GONE)


def write_error(file: Path, text: str, *, follows: bool) -> None:
    """Write what a process fails of as torchrun reads it, which tells the first of all errors.

    Args:
        file: where to, :func:`error_file`.
        text: what is to be read.
        follows: whether it follows from the failure of another process. Clocks are read in whole
            seconds, so that it gets a later time than that one has.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "error.json"
        >>> write_error(file, "ValueError: the loss is nan", follows=False)
        >>> json.loads(file.read_text())["message"]["message"]
        'ValueError: the loss is nan'
    """
    told = str(int(time.time()) + (_LATER if follows else 0))
    extra = {"py_callstack": text, "timestamp": told}
    file.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}))
