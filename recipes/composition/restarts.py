"""Restarts: which run processes go on with that torchrun has started again."""

from __future__ import annotations

import logging
from pathlib import Path

from ...engine.checkpoints.finding import find
from ...engine.placement.failures import attempt, error_file
from ...engine.placement.ranks import from_first, gathered, local_rank

__all__ = ["checkpoint_before", "note_run"]

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
    folder = next((one for one in gathered(known) if one is not None), None)
    return None if folder is None else from_first(lambda: _newest(Path(folder)))


def _newest(folder: Path) -> Path | None:
    found = find(folder, digests=True)
    where = "anew, as nothing was saved" if found is None else f"on from {found}"
    _logger.warning("the processes were started again (%d), and go %s", attempt(), where)
    return found


def _note() -> Path | None:
    """The file, which stays from one attempt to the next; ``None`` without torchrun."""
    file = error_file()
    if file is None or not file.parents[1].name.startswith("attempt_"):
        return None
    return file.parents[2] / _NAME
