"""Folders: where a run is kept, and which run's folder one that is resumed goes on in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...engine.checkpoints.finding import find
from ...engine.checkpoints.remote import store_at
from ...engine.checkpoints.store import CheckpointStore, Store
from ...engine.errors import StateError
from ...engine.placement.ranks import from_first

__all__ = [
    "CHECKPOINTS",
    "checkpoint_in",
    "checkpoint_to_resume",
    "first_missing",
    "folder_of",
    "handler_state",
    "new_folder",
    "seed_in",
    "stored_handler_state",
    "timestamp",
    "work_dir_of",
]

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints, in the run's folder."""


def timestamp() -> str:
    """The time, as folders are named; the same in every process of a run.

    Example:
        >>> len(timestamp()), timestamp()[:2]
        (15, '20')
    """
    return from_first(lambda: time.strftime("%Y%m%d_%H%M%S"))


def new_folder(experiment: Path, stamp: str) -> Path:
    """Make a folder for a run of an experiment, with a number behind the time if need be.

    Args:
        experiment: the folder that it is made in; it is made, too.
        stamp: its name, such as a :func:`timestamp`.

    Returns:
        the folder.

    Example:
        >>> import tempfile
        >>> digits = Path(tempfile.mkdtemp()) / "digits"
        >>> [new_folder(digits, "20240101_120000").name for _ in range(3)]
        ['20240101_120000', '20240101_120000_2', '20240101_120000_3']
    """

    def make() -> str:
        for suffix in ("", *(f"_{number}" for number in range(2, 1000))):
            folder = experiment / f"{stamp}{suffix}"
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                return str(folder)
        raise FileExistsError(f"there are too many runs named {stamp} in {experiment}.")

    return Path(from_first(make))


def first_missing(folder: Path) -> Path | None:
    """The outermost of a folder and those around it that is not there; ``None`` if all are."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    return missing[-1] if missing else None


def remove_empty(folder: Path, up_to: Path) -> None:
    """Take away a folder in which there is nothing, and those around it that have nothing else.

    Args:
        folder: the folder.
        up_to: the outermost one that may go, too.
    """
    for one in (folder, *folder.parents):
        try:
            one.rmdir()
        except OSError:  # it is not empty, or it is gone
            return
        if one == up_to:
            return


def folder_of(checkpoint: Path, experiment: Path) -> Path | None:
    """The folder of the run that a checkpoint is of, if it is one of the experiment."""
    run = checkpoint.resolve().parent.parent
    inside = experiment.resolve() in (run, *run.parents)
    return run if inside and checkpoint.parent.name == CHECKPOINTS else None


def checkpoint_to_resume(
    resume: bool | str | Path, load_from: Any, where: str | Path, *, depth: int = 4
) -> Path | None:
    """The checkpoint that a run goes on from; the first of several processes finds it for all.

    Args:
        resume: whether to; or ``"last"``, ``"best"``, or the path of a checkpoint or a folder.
        load_from: with ``resume=True``, the path to go on from.
        where: the folder of the experiment's runs, or wherever else their checkpoints are, in
            which ``True`` looks for the newest.
        depth: how many levels deep it looks there.

    Returns:
        its folder; ``None`` if there is nothing yet, or nothing is to be resumed.

    Raises:
        StateError: if there is nothing at a path that was given.
    """
    if not resume:
        return None
    which: Any = load_from if resume is True and load_from is not None else resume
    return from_first(lambda: find(where, which, digests=True, depth=depth))


def seed_in(checkpoint: Path, where: str | Path) -> int | None:
    """The seed of the run that a checkpoint is of; ``None`` if it is not known.

    Args:
        checkpoint: its folder.
        where: the store that it is in, if it is on no disk.
    """
    on_disk = checkpoint.exists() or "://" not in str(where)
    store: Store = CheckpointStore(checkpoint.parent) if on_disk else store_at(str(where))
    manifest = store.manifest(checkpoint)
    noted = manifest.config.get("randomness")
    seed = noted.get("seed") if isinstance(noted, Mapping) else None
    seed = manifest.seed if seed is None else seed
    return seed if isinstance(seed, int) and 0 <= seed < 2**32 else None


def checkpoint_in(path: Path, which: str = "last") -> Path:
    """A checkpoint by its own path; or of a folder, the last or the best below it, or one by name.

    Raises:
        StateError: if there is none.
    """
    if (path / "manifest.json").is_file():
        found = find(path.parent, path.resolve(), digests=True)
    else:
        inside = path / CHECKPOINTS
        by_name = which not in ("last", "best") and inside.is_dir()
        found = find(inside if by_name else path, which, digests=True)
    if found is None:
        raise StateError(
            f"{path} holds no checkpoint; give a checkpoint, or the folder of a run that has some."
        )
    return found


def work_dir_of(checkpoint: Path, config: Mapping[str, Any]) -> Path:
    """The ``work_dir`` that a checkpoint lies in, wherever that may have been moved."""
    run = checkpoint.resolve().parent.parent
    if checkpoint.parent.name != CHECKPOINTS:
        return Path(config.get("work_dir", "work_dirs"))
    parts = Path(config.get("experiment_name") or "").parts  # a name may be a path
    return run.parents[len(parts)]


def handler_state(checkpoint: Path, name: str) -> Any:
    """The state that a handler of the train engine has in a checkpoint.

    Raises:
        StateError: if there is none.
    """
    found = stored_handler_state(checkpoint, name)
    if found is None:
        raise StateError(
            f"{checkpoint} holds no state of {name!r}, so there is no average to evaluate; give a "
            f"checkpoint of a run with that hook, or leave averaged={name!r} out."
        )
    return found


def stored_handler_state(checkpoint: Path, name: str) -> Any:
    """The same; ``None`` if there is none, or it is no checkpoint of ours."""
    try:
        state = CheckpointStore(checkpoint.parent).load_state(checkpoint)
        return state["engine"]["footplate"]["handlers"][name]
    except (StateError, OSError, LookupError):
        return None
