"""Which folder is a run's, and where runs lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.errors import nearest

__all__ = ["Located", "is_run", "locate", "runs_below"]

_FILES = (
    "run.json",
    "scalars.jsonl",
    "phases.jsonl",
    "tables.json",
    "media/media.jsonl",
    "options.json",
    "config.json",
    "environment.json",
    "trace.json",
    "tables.jsonl",  # as tables once were
)
_DEPTH = 3


@dataclass(frozen=True)
class Located:
    """A run's folder.

    Attributes:
        folder: the folder.
        others: runs that lay beside it, where a folder of several was given.
    """

    folder: Path
    others: list[Path] = field(default_factory=list)


def is_run(folder: Path) -> bool:
    """Whether a folder holds any of what a run leaves."""
    return any((folder / file).is_file() for file in _FILES) or _has_checkpoints(folder)


def runs_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """The runs in a folder's sub-folders; what lies in a run is not looked at."""
    try:
        with os.scandir(folder) as found:
            inside = sorted(one.path for one in found if one.is_dir(follow_symlinks=False))
    except OSError:
        return
    for one in map(Path, inside):
        if one.name.startswith("."):
            continue
        if is_run(one):
            yield one
        elif depth > 1:
            yield from runs_below(one, depth - 1)


def locate(path: str | Path) -> Located:
    """The run that a path leads to.

    Args:
        path: a run's folder, a file in it, or a folder of runs, of which the one that was written
            to last is taken.

    Raises:
        FileNotFoundError: if there is none, naming what a run's folder holds and where runs are.

    Example:
        >>> import tempfile
        >>> runs = Path(tempfile.mkdtemp())
        >>> for name in ("first", "second"):
        ...     (runs / name).mkdir()
        ...     _ = (runs / name / "scalars.jsonl").write_text("")
        >>> os.utime(runs / "first" / "scalars.jsonl", (0, 0))
        >>> locate(runs).folder.name
        'second'
    """
    given = Path(path)
    folder = given.parent if given.is_file() else given
    if is_run(folder):
        return Located(folder)
    found = list(runs_below(folder))
    if found:
        newest = max(found, key=written_at)
        return Located(newest, [one for one in found if one != newest])
    raise FileNotFoundError(_complaint(given))


def written_at(folder: Path) -> float:
    """When something was last written to a run, in seconds since 1970."""
    files = [folder / name for name in _FILES]
    times = [file.stat().st_mtime for file in files if file.is_file()]
    return max(times, default=folder.stat().st_mtime)


def _has_checkpoints(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*/manifest.json"))


def _complaint(given: Path) -> str:
    """Why there is no run at a path, and where to look for one."""
    if not given.exists():
        reason = f"there is no run in {given}: the folder does not exist."
    else:
        reason = (
            f"there is no run in {given}: neither it nor a folder in it holds any of "
            f"{', '.join(_FILES[:5])} or checkpoints/*/manifest.json. Attach RunRecord(folder) "
            f"and JSONL(folder / 'scalars.jsonl') to the trainer."
        )
    above = next((one for one in given.resolve().parents if one.is_dir()), None)
    near = sorted(runs_below(above, 2), key=written_at, reverse=True) if above else []
    if not near:
        return reason
    names = [one.name for one in near]
    shown = "\n".join(f"  {one}" for one in near[:5])
    more = f"\n  and {len(near) - 5} more" if len(near) > 5 else ""
    return f"{reason}{nearest(given.name, names)} Runs near by:\n{shown}{more}"
