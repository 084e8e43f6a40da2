"""Restarts: which run processes go on with that torchrun has started again, and why it has."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ...engine.checkpoints.finding import find
from ...engine.placement.failures import attempt, error_file
from ...engine.placement.ranks import from_first, gathered, local_rank

__all__ = ["checkpoint_before", "first_error", "note_run"]

_NAME = "run.txt"
_logger = logging.getLogger("footplate.runner")


def note_run(folder: Path) -> None:
    """Note, where torchrun keeps its files, in which folder the run is; once on each machine."""
    note = _note()
    if note is not None and local_rank() == 0:
        note.write_text(str(folder.absolute()), encoding="utf-8")


def checkpoint_before() -> Path | None:
    """The newest checkpoint of the run that these processes are started again for.

    All of them have to call this.

    Returns:
        its folder; ``None`` if they were not started again, or had saved nothing before.
    """
    if not attempt():
        return None
    note = _note()
    known = note.read_text(encoding="utf-8") if note is not None and note.is_file() else None
    cause = None if note is None else first_error(note.with_name(f"attempt_{attempt() - 1}"))
    told = gathered((known, cause))  # of each machine its own
    folder = next((one for one, _ in told if one is not None), None)
    causes = [one for _, one in told if one is not None]
    if folder is None:
        return None
    return from_first(lambda: _newest(Path(folder), min(causes)[-1] if causes else ""))


def first_error(folder: Path) -> tuple[int, int, str] | None:
    """The first of the errors that the processes of a machine have written in an attempt.

    Args:
        folder: torchrun's of the attempt, with a folder for each process.

    Returns:
        when it was, in seconds, the number of the process on its machine, and what it says;
        ``None`` if nothing was written.

    Example:
        >>> first_error(Path("attempt_0")) is None
        True
    """
    found = []
    for file in folder.glob("*/error.json"):
        message = json.loads(file.read_text(encoding="utf-8"))["message"]
        when = int(message["extraInfo"]["timestamp"])
        found.append((when, int(file.parent.name), str(message["message"])))
    return min(found, default=None)


def _newest(folder: Path, cause: str) -> Path | None:
    found = find(folder, digests=True)
    where = "anew, as nothing was saved" if found is None else f"on from {found}"
    why = f". This is what had failed:\n{cause}" if cause else ""
    _logger.warning("the processes were started again (%d), and go %s%s", attempt(), where, why)
    return found


def _note() -> Path | None:
    """The file, which stays from one attempt to the next; ``None`` without torchrun."""
    file = error_file()
    if file is None or not file.parents[1].name.startswith("attempt_"):
        return None
    return file.parents[2] / _NAME
