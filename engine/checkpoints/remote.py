"""Checkpoints on any file system that fsspec knows: object stores, servers, other hosts.

Nothing can be renamed there, so the manifest is what makes a checkpoint: it is written last and
taken away first. While a directory is filled or emptied, a file in it says which run does so; what
a run leaves half-way, it takes away when it saves next.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import torch
from torch import Tensor

from ..errors import StateError, nearest
from .keeping import superfluous
from .manifest import Manifest
from .parts import part, sweep
from .reading import MODEL, STATE, files_of_state, files_of_weights, state_in, weights_in
from .store import CheckpointStore, Others, Store
from .tensor_file import WeightsReport, load_tensors

__all__ = ["RemoteStore", "store_at"]

_MANIFEST = "manifest.json"
_CLAIM = ".part"
_SOME = ("s3", "gs", "az", "hf", "sftp", "ftp", "file", "memory")

_Sizes = dict[str, int | None]  # of the files in a directory; None where a server does not say


_URL = re.compile(r"[a-z][a-z0-9+.]+:/")


def store_at(location: str | Path, *, cache: str | Path | None = None, **options: Any) -> Store:
    """The store at a location: a directory of a disk, or somewhere else by fsspec.

    Args:
        location: a path, in which ``~`` is the home folder; ``file://…``; or a URL of another
            protocol that fsspec knows: ``s3://bucket/run``.
        cache: see :class:`RemoteStore`.
        options: what the file system takes, as its credentials; a disk takes none.

    Raises:
        ValueError: for a protocol that fsspec does not know.
        ImportError: without fsspec, or what it needs for the protocol.
        TypeError: for options of a disk.

    Example:
        >>> type(store_at("checkpoints")).__name__, type(store_at("memory://run")).__name__
        ('CheckpointStore', 'RemoteStore')
    """
    url = str(location)
    if isinstance(location, Path) and _URL.match(url):
        raise ValueError(f"{url} was a URL before a Path was made of it; give it as a string.")
    protocol, divider, rest = url.partition("://")
    if divider and protocol not in ("file", "local"):
        return RemoteStore(url, cache=cache, **options)
    if given := [*(["cache"] if cache is not None else []), *options]:
        raise TypeError(
            f"{url} is on a disk, where a store takes no {', '.join(given)}; leave that out, or "
            f"make a RemoteStore of 'file://…'."
        )
    return CheckpointStore(Path(unquote(rest) if divider else location).expanduser())


class RemoteStore:
    """The checkpoints in one directory of a file system of fsspec, which runs may share.

    Each file is written to a disk here first, so its digest is known, and then sent; it is taken
    away from here again. What is read is taken here file by file, checked, and taken away, too.
    Paths are those of the file system after its protocol: ``s3:/bucket/run/00000003``; the name
    is what counts. A path of the local disk is read from there.

    Args:
        url: where they are: ``s3://bucket/run``, and whatever else ``fsspec`` knows.
        cache: the local folder for files on their way, as large as one checkpoint; by default one
            beside torch.hub's.
        storage_options: what the file system takes, as its credentials.

    Raises:
        ValueError: for a protocol that fsspec does not know.
        ImportError: without fsspec, or what it needs for the protocol.

    Example:
        >>> import tempfile
        >>> store = RemoteStore("memory://example", cache=tempfile.mkdtemp())
        >>> manifest = Manifest(run="r", iteration=3, epoch=1)
        >>> path = store.save({"weight": torch.ones(1)}, {"step": 3}, manifest)
        >>> path.as_posix(), store.load_state(path)
        ('memory:/example/00000003', {'step': 3})
    """

    def __init__(
        self, url: str, *, cache: str | Path | None = None, **storage_options: Any
    ) -> None:
        self._files, self._root = _opened(url, storage_options)
        self.url = _without_password(url).rstrip("/")
        self.directory = Path(self.url)
        folder = Path(torch.hub.get_dir()) / "footplate" if cache is None else Path(cache)
        self._cache = folder.expanduser()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __str__(self) -> str:
        return self.url

    def save(
        self,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        manifest: Manifest,
        *,
        name: str | None = None,
        others: Others | None = None,
    ) -> Path:
        """Write a checkpoint, and take away what failed ones of this run have left.

        Args:
            weights: the weights by name.
            state: all else, in tensors and primitives.
            manifest: what to say of it; number and files are filled in.
            name: of its directory; see :meth:`CheckpointStore.save`.
            others: what other processes write into it; they have to see the cache, too.

        Returns:
            the checkpoint's directory.

        Raises:
            OSError: if it can't be written here or sent there; there is no checkpoint then.
            TypeError: for weights and a state that no file has a place for.
            ValueError: for a name that is no plain file name.
        """
        sweep(self._cache, manifest.run)
        with self._staged("save", manifest.run) as folder:
            local = CheckpointStore(folder).save(weights, state, manifest, name=name, others=others)
            with self._naming(f"checkpoint {local.name!r} could not be saved in {self.url}"):
                return self._sent(local, manifest.run)

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
            digests: whether to compare the digests of all files, too, for which all of them are
                read; the one of the state, and all sizes, are anyway.
            rank: which process's state it is.
            model: see :meth:`CheckpointStore.load_state`.

        Raises:
            StateError: if a file is not as it was written.
            OSError: if it can't be read.
        """
        if self._is_local(path):
            store = CheckpointStore(path.parent)
            return store.load_state(path, digests=digests, rank=rank, model=model)
        manifest = self.verify(path, digests=digests)
        names = files_of_state(manifest.files, rank)
        with self._fetched(path, names, manifest) as folder:
            return state_in(folder, manifest.files, rank, model)

    def load_weights(
        self, path: Path, model: torch.nn.Module, strict: bool = True
    ) -> WeightsReport:
        """Read the weights of a checkpoint into a model; see :meth:`CheckpointStore.load_weights`.

        Raises:
            StateError: if ``strict`` and names or shapes differ, or a file is not as it was
                written; the model is as it was then.
            OSError: if it can't be read.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        if self._is_local(path):
            return CheckpointStore(path.parent).load_weights(path, model, strict)
        manifest = self.verify(path, digests=False)
        with self._fetched(path, files_of_weights(manifest.files), manifest) as folder:
            try:
                return load_tensors(model, weights_in(folder, manifest.files, model), strict)
            except StateError as error:
                raise StateError(f"{path}: {error}") from error

    def verify(self, path: Path, *, digests: bool) -> Manifest:
        """Compare a checkpoint's files to its manifest; see :meth:`CheckpointStore.verify`.

        Raises:
            StateError: naming the file that is missing or not as it was written.
            OSError: if it can't be read.
        """
        if self._is_local(path):
            return CheckpointStore(path.parent).verify(path, digests=digests)
        with self._naming(f"{path} could not be read"):
            manifest = self._read(path.name, self._sizes(path.name))
        for file in manifest.files if digests else ():
            with self._fetched(path, [file], manifest):
                pass
        return manifest

    def manifest(self, path: Path) -> Manifest:
        """Read the manifest of a checkpoint, and check the sizes of its files.

        Raises:
            StateError: if the checkpoint is not whole, or of another format.
            OSError: if it can't be read.
        """
        return self.verify(path, digests=False)

    def __iter__(self) -> Iterator[tuple[Path, Manifest]]:
        """The whole checkpoints, from the first to the last that was saved.

        Those that are not whole are passed over with a warning; in silence what is being written
        or taken away, and what is none.

        Raises:
            OSError: if they can't be read.
        """
        found, broken = self._sorted_out()
        for _, error in broken:
            warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=2)
        yield from sorted(found, key=lambda pair: (pair[1].number, pair[0].name))

    def broken(self) -> list[StateError]:
        """What is wrong with those that are not whole; see :meth:`CheckpointStore.broken`."""
        return [error for sizes, error in self._sorted_out()[1] if len(_files_in(sizes)) > 1]

    def _sorted_out(self) -> tuple[list[tuple[Path, Manifest]], list[tuple[_Sizes, StateError]]]:
        """The whole ones, and the files of the others with what is wrong with them."""
        found, broken = [], []
        with self._naming(f"the checkpoints in {self.url} could not be read"):
            for name, sizes in self._listing().items():
                try:
                    found.append((self.directory / name, self._read(name, sizes)))
                except StateError as error:
                    if _files_in(sizes) and not _is_claimed(sizes):
                        broken.append((sizes, error))
        return found, broken

    def prune(self, run: str, *, last: int, best: int, spare: Collection[Path] = ()) -> None:
        """Take away this run's checkpoints, but for some; see :meth:`CheckpointStore.prune`."""
        for path in superfluous(self, run, last=last, best=best):
            if path not in spare:
                try:
                    with self._naming(f"{path} could not be taken away"):
                        self._files.pipe_file(self._at(path.name, _claim_of(run)), run.encode())
                        self._remove(path.name)
                except OSError as error:
                    warnings.warn(str(error), RuntimeWarning, stacklevel=2)

    # ------------------------------------------------------------------ what is there

    def _at(self, *names: str) -> str:
        return "/".join([self._root.rstrip("/"), *names])

    def _is_local(self, path: Path) -> bool:
        return path.parent != self.directory

    def _listing(self) -> dict[str, _Sizes]:
        """The files, with their sizes, by the name of the directory they are in."""
        self._files.invalidate_cache()  # others write there, too
        listing: dict[str, _Sizes] = {}
        with suppress(FileNotFoundError):
            for path, info in self._files.find(self._root, maxdepth=2, detail=True).items():
                above, *names = path.rsplit("/", 2)
                if above.strip("/") == self._root.strip("/") and not names[0].startswith("."):
                    listing.setdefault(names[0], {})[names[1]] = info.get("size")
        return listing

    def _sizes(self, name: str) -> _Sizes:
        """The files of one directory, with their sizes."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._at(name), detail=True)
        except FileNotFoundError:
            return {}
        return {
            info["name"].rpartition("/")[2]: info.get("size")
            for info in found
            if info["type"] == "file"
        }

    def _read(self, name: str, sizes: _Sizes) -> Manifest:
        """The manifest of a directory with such files; a StateError if these do not fit it."""
        place = self.directory / name
        if not sizes:
            raise StateError(f"{place} is no checkpoint: there is nothing of that name.")
        manifest = self._read_manifest(name)
        for file in (MODEL, STATE):
            if file not in manifest.files:
                raise StateError(f"{place / _MANIFEST} does not speak of {file}.")
        for file, (size, _) in manifest.files.items():
            if file not in sizes:
                raise StateError(f"{place} is no whole checkpoint: {file} is missing.")
            if sizes[file] not in (size, None):
                raise StateError(f"{place / file} has {sizes[file]} bytes in place of {size}.")
        return manifest

    def _read_manifest(self, name: str) -> Manifest:
        place = self.directory / name
        try:
            return Manifest.from_json(self._files.cat_file(self._at(name, _MANIFEST)))
        except FileNotFoundError:
            raise StateError(f"{place} is no whole checkpoint: {_MANIFEST} is missing.") from None
        except StateError as error:
            raise StateError(f"{place / _MANIFEST} is not as it was written: {error}") from error

    # ------------------------------------------------------------------ sending

    def _sent(self, local: Path, run: str) -> Path:
        """Send a checkpoint that lies here; or leave nothing of it if that fails."""
        listing = self._swept(run)
        name = self._claimed(local.name, run, listing)
        try:
            manifest = CheckpointStore(local.parent).manifest(local)
            text = replace(manifest, number=self._number(listing)).to_json().encode()
            for file in manifest.files:
                self._files.put_file(str(local / file), self._at(name, file))
            self._files.pipe_file(self._at(name, _MANIFEST), text)
            self._check_sent(name, text)
        except BaseException:
            with suppress(Exception):  # the next save does it, then
                self._remove(name)
            raise
        with suppress(Exception):
            self._files.rm_file(self._at(name, _claim_of(run)))
        return self.directory / name

    def _check_sent(self, name: str, text: bytes) -> None:
        """Some servers take less than they are given without a word."""
        try:
            self._read(name, self._sizes(name))
            if self._files.cat_file(self._at(name, _MANIFEST)) != text:
                raise StateError(f"{_MANIFEST} is not as it was sent.")
        except StateError as error:
            raise OSError(errno.EIO, f"what was sent did not arrive: {error}") from error

    def _number(self, listing: Mapping[str, _Sizes]) -> int:
        numbers = [-1]
        for name, sizes in listing.items():
            if _MANIFEST in sizes:
                with suppress(StateError):
                    numbers.append(self._read_manifest(name).number)
        return 1 + max(numbers)

    def _claimed(self, base: str, run: str, taken: Collection[str]) -> str:
        """A name that is now this run's, as nothing was there, and nobody came at the same time."""
        name, number, claim = base, 1, _claim_of(run)
        while True:
            if name not in taken:
                self._files.makedirs(self._at(name), exist_ok=True)
                self._files.pipe_file(self._at(name, claim), run.encode())
                if [*self._sizes(name)] == [claim]:
                    return name
                self._files.rm_file(self._at(name, claim))
            number += 1
            name = f"{base}-{number}"

    def _swept(self, run: str) -> dict[str, _Sizes]:
        """What is there when all is gone that this run has left half-way, on whichever host."""
        claim, listing = _claim_of(run), self._listing()
        for name in [name for name, sizes in listing.items() if claim in sizes]:
            try:
                self._read(name, listing[name])
            except StateError:
                self._remove(name)
                del listing[name]
            else:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._at(name, claim))
        return listing

    def _remove(self, name: str) -> None:
        """The manifest first, and last what says whose this is."""
        files = list(self._sizes(name))
        for file in sorted(files, key=lambda file: (file.endswith(_CLAIM), file != _MANIFEST)):
            with suppress(FileNotFoundError):  # somebody else did so
                self._files.rm_file(self._at(name, file))
        with suppress(Exception):  # where there are no directories
            self._files.rmdir(self._at(name))

    # ------------------------------------------------------------------ receiving

    @contextmanager
    def _fetched(self, path: Path, names: Sequence[str], manifest: Manifest) -> Iterator[Path]:
        """A folder with files of a checkpoint as they were written, while it is needed."""
        with self._staged(f"{path.name}-{names[0]}", manifest.run) as folder:
            folder.mkdir(parents=True)
            for name in names:
                self._fetch(path, name, folder / name, manifest)
            yield folder

    def _fetch(self, path: Path, name: str, file: Path, manifest: Manifest) -> None:
        if name not in manifest.files:
            raise StateError(f"{path} has no {name}.")
        with self._naming(f"{path / name} could not be read"):
            self._files.get_file(self._at(path.name, name), str(file))
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != manifest.files[name][1]:
            raise StateError(f"{path / name} is not as it was written: its digest differs.")

    # ------------------------------------------------------------------ both

    @contextmanager
    def _staged(self, purpose: str, run: str) -> Iterator[Path]:
        """A place for files on their way, which is gone behind."""
        here = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        with part(self._cache / f"{here}-{purpose}", run) as folder:
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Give whatever a file system raises the type and the words that one expects."""
        try:
            yield
        except (StateError, MemoryError):
            raise
        except Exception as error:
            number = error.errno if isinstance(error, OSError) else None
            told = f"{type(error).__name__}: {error}"
            raise OSError(number or errno.EIO, f"{what}: {told}") from error


def _claim_of(run: str) -> str:
    return f"{hashlib.sha256(run.encode()).hexdigest()[:32]}{_CLAIM}"


def _is_claimed(files: Collection[str]) -> bool:
    return any(file.endswith(_CLAIM) for file in files)


def _files_in(files: Collection[str]) -> list[str]:
    """Those that a checkpoint has."""
    return [file for file in (_MANIFEST, MODEL, STATE) if file in files]


def _opened(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"{url!r} needs fsspec, which is not here: pip install 'footplate[fsspec]'."
        ) from error
    protocol = url.partition("://")[0].partition("::")[0]
    if protocol not in (known := {*fsspec.available_protocols(), *fsspec.registry}):
        raise ValueError(
            f"{url!r} is at no place that fsspec knows, such as {', '.join(_SOME)}; "
            f"fsspec.available_protocols() lists all.{nearest(protocol, known)}"
        )
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise ImportError(f"{url!r} needs what is not here: {error}") from error
    return files, root


def _without_password(url: str) -> str:
    """A URL to be shown."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":…@") if password else url
