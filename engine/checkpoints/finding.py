"""Which checkpoint to go on from: the last whole one, the best, or one by name or path."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import StateError, nearest
from .keeping import comparable
from .manifest import Manifest
from .remote import store_at
from .store import CheckpointStore, Store

__all__ = ["find"]

_DEPTH = 4  # as in work_dir/experiment/time/checkpoints/00000012
_FILES = ("manifest.json", "model.safetensors", "state.pt")
_SHOWN = 5  # names in a message


def find(
    where: Store | str | Path,
    which: bool | str | Path = True,
    *,
    run: str | None = None,
    digests: bool = False,
    depth: int = _DEPTH,
) -> Path | None:
    """The checkpoint to go on from.

    In one directory the order is the one that checkpoints were saved in, which they are numbered
    by, as clocks may be set back. Of several directories, the one whose last checkpoint was
    written last by the clock comes first.

    One that is not whole is warned about and passed over, unless it is named. Where none is left
    then, that is an error, so that no run begins anew in the place of one that was to go on. One
    that is not exact is never taken, unless it is named; then it is for the caller to say so.

    Args:
        where: a store, or a URL of one; or a folder, in which checkpoints are looked for four
            levels deep, such as ``work_dir`` of
            ``work_dir/experiment/time/checkpoints/00000012``.
        which: ``True`` or ``"last"``: the one that was saved last. ``"best"``: the one with the
            best score of the run that saved last, the earlier one of equals. Otherwise a name in
            the store or folder, or a path: of a checkpoint; or of a folder, and then the one that
            was saved last of all that are in it, four levels deep.
        run: the run it must be of; not of one that is named.
        digests: whether to compare the digests of all files; their sizes are anyway.
        depth: how many levels deep the folder is looked through for the last or the best.

    Returns:
        its directory; ``None`` if there is nothing yet to be the last or the best.

    Raises:
        StateError: if there is nothing of a name or at a path; or checkpoints, but none that is
            whole, or none with a score to be the best.
        TypeError: if ``which`` is none of these.

    Example:
        >>> import tempfile
        >>> store = CheckpointStore(tempfile.mkdtemp())
        >>> for iteration, score in [(1, 0.5), (2, 0.9), (3, 0.9)]:
        ...     manifest = Manifest(run="r", iteration=iteration, epoch=1, score=score)
        ...     _ = store.save({}, {}, manifest)
        >>> find(store, "last").name, find(store, "best").name, find(store, "00000001").name
        ('00000003', '00000002', '00000001')
        >>> find(tempfile.mkdtemp(), "last")
    """
    if which in (False, "") or not isinstance(which, (bool, str, Path)):
        raise TypeError(
            f"a checkpoint is given as True, 'last', 'best', a name or a path, given {which!r}."
        )
    where = store_at(where) if isinstance(where, str) and "://" in where else where
    if not isinstance(which, bool) and which not in ("last", "best"):
        return _named(where, which, run, digests)
    newest_first = _Saved.newest_first(_stores(where, depth), run)
    broken: list[StateError] = []
    if which == "best":
        found = _best(list(newest_first), digests)
    else:
        found = _first_whole(newest_first, digests, broken)
    if found is None and run is None:
        for store in _stores(where, depth):
            broken += getattr(store, "broken", list)()
        _refuse(where, broken)
    return found


@dataclass(frozen=True)
class _Saved:
    """A checkpoint that is exact, and of the right sizes."""

    store: Store
    path: Path
    manifest: Manifest

    @classmethod
    def newest_first(cls, stores: Iterable[Store], run: str | None) -> Iterator[_Saved]:
        """Those of some stores: each store's by number, and between them by the clock."""
        left = [
            [cls(store, *pair) for pair in store if pair[1].exact and run in (None, pair[1].run)]
            for store in stores
        ]
        while left := [saved for saved in left if saved]:
            yield max(left, key=lambda saved: saved[-1].written()).pop()

    def written(self) -> int:
        """When, by the clock of the file system; 0 where it can't be told."""
        try:
            return (self.path / "manifest.json").stat().st_mtime_ns
        except OSError:  # it is not on a disk, or not any more
            return 0


def _first_whole(
    found: Iterable[_Saved], digests: bool, broken: list[StateError] | None = None
) -> Path | None:
    """The first that is whole; what is wrong with those before it is added to ``broken``."""
    for one in found:
        try:
            one.store.verify(one.path, digests=digests)
        except StateError as error:
            warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=3)
            taken_away = isinstance(one.store, CheckpointStore) and not one.path.is_dir()
            if broken is not None and not taken_away:
                broken.append(error)
        else:
            return one.path
    return None


def _refuse(where: Store | str | Path, broken: list[StateError]) -> None:
    """Refuse to find nothing where there was something."""
    if not broken:
        return
    place = where if isinstance(where, (str, Path)) else where.directory
    shown = " ".join(map(str, broken[:_SHOWN]))
    more = f" … and {len(broken) - _SHOWN} more." if len(broken) > _SHOWN else ""
    raise StateError(
        f"no checkpoint in {place} is whole and exact, so there is none to go on from: {shown}"
        f"{more} Give the path of one that is somewhere else; to begin anew, take these away or "
        f"give another folder."
    )


def _best(newest_first: list[_Saved], digests: bool) -> Path | None:
    if not newest_first:
        return None
    run = newest_first[0].manifest.run
    own = [one for one in reversed(newest_first) if one.manifest.run == run]
    by_path = {one.path: one for one in own}
    scored = comparable((one.path, one.manifest) for one in own)
    best = _first_whole((by_path[path] for path, _ in scored), digests)
    if best is None:
        last = own[-1].path
        raise StateError(
            f"no whole checkpoint of the run that saved {last} has a score to be the best: "
            f"checkpoints get one from a metric that they are compared by. Go on from 'last', or "
            f"name one."
        )
    return best


def _named(where: Store | str | Path, which: str | Path, run: str | None, digests: bool) -> Path:
    """A checkpoint by name or path, or the newest of those below a path."""
    store = CheckpointStore(where) if isinstance(where, (str, Path)) else where
    directory, given = store.directory, Path(which).expanduser()
    for path in (directory / given, given):
        if _looks_like_one(path):
            store.verify(path, digests=digests)
            return path
        if path.is_dir():
            return _below(path, run, digests)
    known = [path for path, _ in store]
    for path in known:  # which is on no disk
        if given in (path, Path(path.name)):
            store.verify(path, digests=digests)
            return path
    raise StateError(_nothing_there(directory, str(which), [path.name for path in known]))


def _below(folder: Path, run: str | None, digests: bool) -> Path:
    found = _first_whole(_Saved.newest_first(_stores(folder), run), digests)
    if found is None:
        whose = "" if run is None else f" of run {run}"
        raise StateError(
            f"{folder} holds no whole, exact checkpoint{whose}, {_DEPTH} levels deep; give the "
            f"folder of a run, or of one checkpoint, in which its {_FILES[0]} is."
        )
    return found


def _nothing_there(directory: Path, which: str, names: list[str]) -> str:
    given = Path(which).expanduser()
    if given.is_file():
        return (
            f"{which} is a file, and a checkpoint is a directory; give {given.parent}, or have "
            f"load_from() read weights from the file."
        )
    if "://" in which and given.parent != directory:
        return f"{which!r} is not in {directory}; give store_at(…) of where it is as the store."
    beside = [] if given.parent == Path() else _names_in(given.parent)
    shown = f"its last are {', '.join(map(repr, names[-_SHOWN:]))}" if names else "there are none"
    hint = nearest(given.name, [*names, *beside])
    if given.name.isdecimal():  # no number is a slip of the pen for another
        others = sorted({*beside} - {*names})[-_SHOWN:]
        hint = f" In {given.parent} there are {', '.join(map(repr, others))}." if others else ""
    return (
        f"there is no checkpoint {which!r}, neither by that name in {directory} ({shown}) nor at "
        f"that path.{hint} Give one that is there, or 'last' or 'best'."
    )


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


# ---------------------------------------------------------------------- folders


def _stores(where: Store | str | Path, depth: int = _DEPTH) -> Iterator[Store]:
    """The store, or all the directories of checkpoints in a folder."""
    if isinstance(where, (str, Path)):
        yield from _walk(Path(where).expanduser(), depth)
    else:
        yield where


def _walk(folder: Path, depth: int) -> Iterator[CheckpointStore]:
    """Links are not followed: they lead in circles, or to what is somewhere else, too."""
    try:
        with os.scandir(folder) as entries:
            folders = [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=3)
        return
    others = [path for path in sorted(folders) if not _looks_like_one(path)]
    if len(others) < len(folders):
        yield CheckpointStore(folder)
    if depth > 1:
        for path in others:
            yield from _walk(path, depth - 1)


def _looks_like_one(path: Path) -> bool:
    return any(os.path.lexists(path / name) for name in _FILES)
