"""Samples written to tar files, in WebDataset's layout."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoints.durable import make_directory, make_durable
from ..checkpoints.parts import part, sweep
from ..errors import DataError
from ..whole import whole
from .by_extension import encoded
from .tar_index import index_shards

__all__ = ["write_shards"]

_RUN = "shards"  # by which directories left behind are known


def write_shards(
    samples: Iterable[Mapping[str, Any]],
    folder: str | Path,
    per_shard: int = 1000,
    *,
    name: str = "shard",
    encoders: Mapping[str, Callable[[Any], bytes]] | None = None,
) -> list[Path]:
    """Write samples to tar files in a folder that appears when all of them are there.

    One sample is held in memory at a time. The same samples give the same bytes.

    Args:
        samples: what each file of a sample holds, by its extension; under ``"__key__"`` the key
            that their names begin with, by default the number of the sample.
        folder: where the tar files are to be; it must not be there yet.
        per_shard: samples in a tar file; the last one may have fewer.
        name: what the names of the tar files begin with.
        encoders: functions from a value to bytes, by extension, beside
            :func:`~footplate.engine.data.by_extension.encoded`'s own.

    Returns:
        the paths of the tar files, ``folder/name-000000.tar`` and so on. Beside each lies an index.

    Raises:
        FileExistsError: if the folder is there.
        DataError: if there are no samples, for a key that names no sample of its own or leads out
            of a folder, and for an extension or a name of tar files that is none.
        TypeError: for a value that nobody knows how to write.

    Example:
        >>> paths = write_shards(({"cls": n} for n in range(5)), "five", per_shard=2)
        >>> [str(path) for path in paths]
        ['five/shard-000000.tar', 'five/shard-000001.tar', 'five/shard-000002.tar']
    """
    folder, per_shard = Path(folder), whole("per_shard", per_shard)
    if "/" in name or "\0" in name:
        raise DataError(
            f"name={name!r} is no beginning of the name of a file; give the folder as such."
        )
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; give another folder, or take it away.")
    make_directory(folder.parent)
    sweep(folder.parent, _RUN)
    with part(folder, _RUN) as place:
        place.mkdir()
        try:
            names = _write_all(samples, place, per_shard, name, encoders)
            make_durable(place)
            place.rename(folder)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
    make_durable(folder.parent)
    return [folder / one for one in names]


def _write_all(
    samples: Iterable[Mapping[str, Any]],
    place: Path,
    per_shard: int,
    name: str,
    encoders: Mapping[str, Callable[[Any], bytes]] | None,
) -> list[str]:
    """Write the tar files and their indices; return their names."""
    names: list[str] = []
    numbered = enumerate(samples)
    for first in numbered:
        here = itertools.chain([first], itertools.islice(numbered, per_shard - 1))
        del first  # it would be held as long as the shard is written
        names.append(f"{name}-{len(names):06}.tar")
        _write_one(place / names[-1], here, encoders)
    if not names:
        raise DataError("there are no samples to write; give at least one.")
    return names


def _write_one(
    shard: Path,
    samples: Iterable[tuple[int, Mapping[str, Any]]],
    encoders: Mapping[str, Callable[[Any], bytes]] | None,
) -> None:
    """Write a tar file and its index; both are on the disk then."""
    keys = set[str]()
    with shard.open("xb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for number, sample in samples:
                key = str(sample.get("__key__", f"{number:09}"))
                _check_key(key, keys, number)
                _add(tar, key, sample, encoders)
        file.flush()
        os.fsync(file.fileno())
    index_shards([shard])


def _check_key(key: str, keys: set[str], number: int) -> None:
    if "\0" in key or key.startswith("/") or ".." in key.split("/"):
        raise DataError(
            f"sample {number} has the key {key!r}, and files are named by it, which are to stay in "
            f"one folder; give one without a NUL, a first slash or '..'."
        )
    base = key.rpartition("/")[2]
    if not base or "." in base:
        raise DataError(
            f"sample {number} has the key {key!r}, whose last part is to be a name without a dot, "
            f"as extensions begin there; give another."
        )
    if key in keys:
        raise DataError(
            f"sample {number} has the key {key!r} of another in the same shard, and would be taken "
            f"for a part of it; give each its own."
        )
    keys.add(key)


def _add(
    tar: tarfile.TarFile,
    key: str,
    sample: Mapping[str, Any],
    encoders: Mapping[str, Callable[[Any], bytes]] | None,
) -> None:
    files = {extension: one for extension, one in sample.items() if not extension.startswith("__")}
    if not files:
        raise DataError(f"the sample {key!r} has no files; give one at least, by its extension.")
    for extension, value in files.items():
        if "/" in extension or "\0" in extension:
            raise DataError(
                f"the sample {key!r} has a file with the extension {extension!r}, which is to be "
                f"without a slash or a NUL; folders belong into the key, '__key__'."
            )
        data = encoded(extension, value, encoders)
        entry = tarfile.TarInfo(f"{key}.{extension}")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
