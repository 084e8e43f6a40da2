"""A file of a state: tensors and primitives, read such that nothing in it can run code."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ..errors import StateError

__all__ = ["nothing_else_allowed", "read_state"]

_READING = threading.RLock()  # the list of what is allowed is one for the process


def read_state(file: Path) -> dict[str, Any]:
    """Read a state onto the CPU. Nothing in the file can run code.

    Raises:
        StateError: if the file is none, or holds anything but tensors and primitives.
        OSError: if it can't be read.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state.pt"
        >>> torch.save({"step": 3}, file)
        >>> read_state(file)
        {'step': 3}
    """
    try:
        with nothing_else_allowed():
            state = torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever its bytes lead to
        raise StateError(f"{file} can't be loaded: {_what_is_wrong(error)}.") from None
    if not isinstance(state, dict):
        raise StateError(f"{file} holds a {type(state).__name__} in place of a dict.")
    return state


@contextmanager
def nothing_else_allowed() -> Iterator[None]:
    """Set aside what the program lets torch load besides, for as long as a file is read."""
    with _READING:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def _what_is_wrong(error: Exception) -> str:
    """In short: torch goes on to say how to run what the file holds."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, UnpicklingError) and found:
        return f"it holds {found[1]}, which is neither a tensor nor a primitive"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
