"""A store of checkpoints: directories that appear whole or not at all.

Each holds ``model.safetensors`` (weights, which other tools read, too), ``state.pt`` (all else, in
tensors and primitives) and ``manifest.json``. It is written beside its place, made durable, and
put in place by one rename; nothing is taken away before that.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import StateError
from .durable import DurableFile, make_directory, make_durable
from .keeping import superfluous
from .manifest import Manifest
from .parts import claim, disclaim, part, remove, sweep
from .plain import check_plain, compact
from .reading import MODEL, STATE, state_in, weights_in
from .tensor_file import WeightsReport, load_tensors, write_tensors

__all__ = ["CheckpointStore", "Others", "Store", "check_plain", "write_state"]

_MANIFEST = "manifest.json"

Files = dict[str, tuple[int, str]]
"""Size in bytes and SHA-256 digest, by name."""


class Others(Protocol):
    """What other processes write of a checkpoint, besides its weights and its state."""

    def begin(self, directory: Path) -> None:
        """Have them write into a directory."""

    def files(self, written: Files) -> Files:
        """All files that there are, once all processes have written theirs.

        Raises:
            Exception: if anything failed on any of them.
        """

    def wait(self, error: Exception) -> None:
        """Have them hear of an error, and wait until none of them writes any longer."""


class Store(Protocol):
    """Where checkpoints are; :class:`CheckpointStore` says what each method does.

    Attributes:
        directory: what their paths begin with.

    Example:
        >>> import tempfile
        >>> from footplate.engine.checkpoints.remote import store_at
        >>> def iterations(store: Store) -> list[int]:
        ...     return [manifest.iteration for path, manifest in store]
        >>> store = store_at(tempfile.mkdtemp())
        >>> for iteration in 10, 20:
        ...     _ = store.save({}, {}, Manifest(run="r", iteration=iteration, epoch=1))
        >>> iterations(store)
        [10, 20]
    """

    directory: Path

    def save(
        self,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        manifest: Manifest,
        *,
        name: str | None = None,
        others: Others | None = None,
    ) -> Path:
        """Write a checkpoint that appears whole or not at all."""

    def load_state(
        self,
        path: Path,
        *,
        digests: bool = True,
        rank: int = 0,
        model: torch.nn.Module | None = None,
    ) -> dict[str, Any]:
        """Read what is not weights."""

    def load_weights(
        self, path: Path, model: torch.nn.Module, strict: bool = True
    ) -> WeightsReport:
        """Read weights into a model."""

    def verify(self, path: Path, *, digests: bool) -> Manifest:
        """Refuse a checkpoint that is not as it was written."""

    def manifest(self, path: Path) -> Manifest:
        """What a checkpoint says of itself."""

    def __iter__(self) -> Iterator[tuple[Path, Manifest]]:
        """The whole checkpoints, from the first to the last that was saved."""

    def prune(self, run: str, *, last: int, best: int, spare: Collection[Path] = ()) -> None:
        """Take away a run's checkpoints, but for some."""


class CheckpointStore:
    """The checkpoints in one directory of a disk, which other runs and hosts may share.

    Args:
        directory: where they are; made with the first of them.

    Example:
        >>> import tempfile
        >>> from footplate.engine.checkpoints.tensor_file import weights_of
        >>> store, model = CheckpointStore(tempfile.mkdtemp()), torch.nn.Linear(2, 1)
        >>> manifest = Manifest(run="r", iteration=3, epoch=1)
        >>> path = store.save(weights_of(model), {"step": 3}, manifest)
        >>> path.name, sorted(file.name for file in path.iterdir())
        ('00000003', ['manifest.json', 'model.safetensors', 'state.pt'])
        >>> store.load_state(path)
        {'step': 3}
        >>> bool(store.load_weights(path, model))
        False
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def prepare(self) -> None:
        """Make the directory, and refuse one that can't be written to.

        Raises:
            OSError: naming it.
        """
        make_directory(self.directory)
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "checkpoints can't be made in", str(self.directory))

    def claim(self, run: str) -> bool:
        """Whether this is the first of a run's processes to ask, since :meth:`disclaim`."""
        return claim(self.directory, run)

    def disclaim(self, run: str) -> None:
        """Let the next one that asks be the first."""
        disclaim(self.directory, run)

    def save(
        self,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        manifest: Manifest,
        *,
        name: str | None = None,
        others: Others | None = None,
    ) -> Path:
        """Write a checkpoint. It is durable when this returns, and leaves no trace if it fails.

        Args:
            weights: the weights by name, as :func:`~.tensor_file.weights_of` gives them.
            state: all else, in tensors and primitives.
            manifest: what to say of it; number and files are filled in.
            name: of its directory; by default the iteration in eight digits, and behind them
                ``-inexact`` where it is that. A name that is taken gets ``-2``, ``-3``, ….
            others: what other processes write into it.

        Returns:
            the checkpoint's directory.

        Raises:
            OSError: if the disk does not take it, naming the file.
            TypeError: if the state holds anything but tensors and primitives, or the weights what
                a file of weights has no place for.
            ValueError: for a name that is no plain file name.
        """
        name = _default_name(manifest) if name is None else _checked_name(name)
        check_plain(state, "state")
        try:
            make_directory(self.directory)
            sweep(self.directory, manifest.run)
            with part(self.directory / name, manifest.run) as beside:
                beside.mkdir()
                return self._made(beside, name, weights, state, manifest, others)
        except OSError as error:
            error.add_note(f"raised while checkpoint {name!r} was saved in {self.directory}")
            raise

    def load_state(
        self,
        path: Path,
        *,
        digests: bool = True,
        rank: int = 0,
        model: torch.nn.Module | None = None,
    ) -> dict[str, Any]:
        """Read the state of a checkpoint. Nothing in its files can run code.

        Args:
            path: the checkpoint's directory.
            digests: whether to compare the digests of all files; their sizes are anyway.
            rank: which process's state it is.
            model: the model whose tensors say how those lie on the processes that were saved in
                pieces; without one they are whole.

        Raises:
            StateError: if a file is not as it was written, or there is none of that rank.
        """
        manifest = self.verify(path, digests=digests)
        return state_in(path, manifest.files, rank, model)

    def load_weights(
        self, path: Path, model: torch.nn.Module, strict: bool = True
    ) -> WeightsReport:
        """Read the weights of a checkpoint into a model.

        Args:
            path: the checkpoint's directory.
            model: the model.
            strict: whether all names and shapes must match; else what does is loaded.

        Returns:
            what did not match.

        Raises:
            StateError: if ``strict`` and names or shapes differ; the model is as it was then.
                Also if the checkpoint is not whole.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        manifest = self.verify(path, digests=False)
        try:
            return load_tensors(model, weights_in(path, manifest.files, model), strict)
        except StateError as error:
            raise StateError(f"{path}: {error}") from error

    def verify(self, path: Path, *, digests: bool) -> Manifest:
        """Compare a checkpoint's files to what its manifest says of them.

        Args:
            path: the checkpoint's directory.
            digests: whether to compare their digests, too, for which all of them are read.

        Returns:
            its manifest.

        Raises:
            StateError: naming the file that is missing or not as it was written.
        """
        manifest = _read_manifest(path)
        for name in (MODEL, STATE):
            if name not in manifest.files:
                raise StateError(f"{path / _MANIFEST} does not speak of {name}.")
        try:
            for name, (size, digest) in manifest.files.items():
                file = path / name
                found = file.stat().st_size
                if found != size:
                    raise StateError(f"{file} has {found} bytes in place of {size}.")
                if digests and _digest(file) != digest:
                    raise StateError(f"{file} is not as it was written: its digest differs.")
        except OSError as error:
            raise StateError(f"{path} is no whole checkpoint: {error}.") from error
        return manifest

    def manifest(self, path: Path) -> Manifest:
        """Read the manifest of a checkpoint, and check the sizes of its files.

        Raises:
            StateError: if the checkpoint is not whole, or of another format.
        """
        return self.verify(path, digests=False)

    def __iter__(self) -> Iterator[tuple[Path, Manifest]]:
        """The whole checkpoints of the directory, from the first to the last that was saved.

        Those that are not whole are passed over with a warning, and what is none in silence.
        """
        found, broken = self._sorted_out()
        for _, error in broken:
            warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=2)
        yield from sorted(found, key=lambda pair: (pair[1].number, pair[0].name))

    def broken(self) -> list[StateError]:
        """What is wrong with each that was one, and is not whole any longer.

        What has one of a checkpoint's files alone may never have been one: weights for others.
        """
        return [error for path, error in self._sorted_out()[1] if len(_files_in(path)) > 1]

    def _sorted_out(self) -> tuple[list[tuple[Path, Manifest]], list[tuple[Path, StateError]]]:
        """The whole ones, and what is wrong with the others."""
        found, broken = [], []
        for path in self._places():
            try:
                found.append((path, self.manifest(path)))
            except StateError as error:
                if path.is_dir():  # else somebody took it away meanwhile
                    broken.append((path, error))
        return found, broken

    def prune(self, run: str, *, last: int, best: int, spare: Collection[Path] = ()) -> None:
        """Take away this run's checkpoints, but for the last and the best.

        Of those that are not exact, which count for neither, the latest is kept. One that can't
        be taken away is warned about.

        Args:
            run: the run; checkpoints of others are not touched.
            last: how many of the latest to keep.
            best: how many of the best scores to keep, the earlier one of equals.
            spare: what else to keep.
        """
        spared = {path.resolve() for path in spare}
        for path in superfluous(self, run, last=last, best=best):
            if path.resolve() not in spared:
                self._take_away(path, run)

    def _places(self) -> list[Path]:
        """The directories that look like checkpoints; links to them are somebody else's."""
        try:
            entries = [path for path in self.directory.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        return [path for path in entries if _looks_like_one(path) and not path.is_symlink()]

    def _next_number(self) -> int:
        numbers = [-1]
        for path in self._places():
            with suppress(StateError):
                numbers.append(_read_manifest(path).number)
        return 1 + max(numbers)

    def _made(
        self,
        beside: Path,
        name: str,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        manifest: Manifest,
        others: Others | None,
    ) -> Path:
        """Fill a directory, and put it in its place; or take it away if anything fails."""
        place = None
        try:
            if others is not None:
                others.begin(beside)
            files = _write_weights(beside, weights) | write_state(beside / STATE, state)
            if others is not None:
                files = others.files(files)
            said = replace(manifest, number=self._next_number(), files=files)
            with DurableFile(beside / _MANIFEST) as file:
                file.write(said.to_json().encode())
            make_durable(beside)
            place = self._put(beside, self.directory / name)
            make_durable(self.directory)
        except BaseException as error:
            with suppress(OSError):
                if place is not None:
                    place.rename(beside)
            try:
                if others is not None and isinstance(error, Exception):
                    others.wait(error)  # or what they write meanwhile would stay
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            raise
        return place

    def _put(self, beside: Path, place: Path) -> Path:
        """Rename to a name of its own: a run that was resumed may be here for the second time."""
        base, number = place.name, 1
        while True:
            try:
                if not os.path.lexists(place):  # else an empty directory would be replaced
                    beside.rename(place)
                    break
            except OSError:
                if not os.path.lexists(place):
                    raise
            number += 1
            place = place.with_name(f"{base}-{number}")
        return place

    def _take_away(self, path: Path, run: str) -> None:
        """First by name: a kill in the midst of it leaves nothing that looks whole."""
        try:
            with part(path, run) as beside:
                path.rename(beside)
                remove(beside)
        except (FileNotFoundError, FileExistsError):
            pass  # somebody else did so, or is about to
        except OSError as error:
            warnings.warn(f"{path} can't be taken away: {error}.", RuntimeWarning, stacklevel=3)


def _default_name(manifest: Manifest) -> str:
    return f"{manifest.iteration:08d}{'' if manifest.exact else '-inexact'}"


def _checked_name(name: str) -> str:
    if name.startswith(".") or Path(name).name != name or not name:
        raise ValueError(
            f"a checkpoint's name is a plain file name that does not begin with a dot, given "
            f"{name!r}."
        )
    return name


def _looks_like_one(path: Path) -> bool:
    return bool(_files_in(path))


def _files_in(path: Path) -> list[str]:
    """Those of a checkpoint's files that are there."""
    return [file for file in (_MANIFEST, MODEL, STATE) if os.path.lexists(path / file)]


def _write_weights(directory: Path, weights: Mapping[str, Tensor]) -> Files:
    with DurableFile(directory / MODEL) as file:
        write_tensors(file, weights)
    return {MODEL: (file.size, file.digest)}


def write_state(path: Path, state: Mapping[str, Any]) -> Files:
    """Write a file of a state, which is on the disk when this returns."""
    with DurableFile(path) as file:
        torch.save(compact(dict(state)), file)  # type: ignore[arg-type]  # all that it calls
    return {path.name: (file.size, file.digest)}


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.from_json((path / _MANIFEST).read_bytes())
    except OSError as error:
        raise StateError(f"{path} is no whole checkpoint: {error}.") from error
    except StateError as error:
        raise StateError(f"{path / _MANIFEST} is not as it was written: {error}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
