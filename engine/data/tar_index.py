"""Where the samples of a tar file lie in it, and a file beside it that says so.

A sample is what WebDataset takes for one: files behind each other whose names are the same up to
the first dot behind the last slash. What is behind that dot says what a file holds.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

__all__ = ["TarIndex", "index_shards", "is_header_of", "place_in"]

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class TarIndex:
    """What there is in a tar file.

    Attributes:
        size: of the tar file, in bytes.
        samples: how many samples it holds.
        lines: a line for each sample, as :func:`place_in` reads it; ``None`` if they were not
            read. They stay bytes, since the samples of a shard may be many.
    """

    size: int
    samples: int
    lines: list[bytes] | None = None

    @classmethod
    def of(cls, shard: Path, *, lines: bool = False) -> TarIndex:
        """By the file beside it; where there is none, by the headers in the tar file itself.

        Args:
            shard: the tar file.
            lines: whether those are needed; to read the headers takes as long without.

        Raises:
            DataError: if the shard is missing, torn, or another than its index was made of.
        """
        index = _beside(shard)
        try:
            size = shard.stat().st_size
            with index.open("rb") as file:
                head = json.loads(file.readline())
                told = cls(int(head["bytes"]), int(head["samples"]))
                if told.samples < 0:
                    raise ValueError(f"{told.samples} samples")
                rest = file.read().splitlines() if lines else None
        except FileNotFoundError as error:
            if error.filename == str(shard):
                raise DataError(f"the shard {shard} is missing; {_ANEW}.") from None
            return cls.by_headers(shard)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DataError(f"{index} is no index of a shard; {_INDEX}.") from error
        if size != told.size:
            raise DataError(
                f"the shard {shard} has {size} bytes, and {told.size} as its index says: it is "
                f"torn, or was written anew; {_ANEW}, or {_INDEX}."
            )
        if rest is not None and len(rest) != told.samples:
            raise DataError(
                f"{index} tells of {told.samples} samples, and has {len(rest)}: it is torn; "
                f"{_INDEX}."
            )
        return cls(told.size, told.samples, rest)

    @classmethod
    def by_headers(cls, shard: Path) -> TarIndex:
        """By the headers in the tar file alone, whatever lies beside it.

        Raises:
            DataError: if the shard is missing, torn, or no plain tar file.
        """
        lines = [json.dumps(one, separators=(",", ":")).encode() for one in _samples_in(shard)]
        return cls(shard.stat().st_size, len(lines), lines)

    def write(self, shard: Path) -> None:
        """Put it beside a tar file, at once."""
        head = json.dumps({"bytes": self.size, "samples": self.samples}).encode()
        index = _beside(shard)
        part = index.with_name(f".{index.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            file.writelines(line + b"\n" for line in [head, *(self.lines or [])])
            file.flush()
            os.fsync(file.fileno())
        part.replace(index)


_ANEW = "fetch it again, or leave it out of the shards"
_INDEX = "have index_shards() make an index anew, or take it away"


def index_shards(shards: Iterable[str | Path]) -> None:
    """Write an index beside each of some tar files, ``name.tar.index``.

    Shards that came from elsewhere have none, so each process that opens them reads all their
    headers. Done once, this spares them that.

    Args:
        shards: the paths of the tar files.

    Raises:
        DataError: if one is missing, torn, or no plain tar file.

    Example:
        >>> from footplate.engine.data.tar_writing import write_shards
        >>> (shard,) = write_shards(({"cls": n} for n in range(3)), "found")
        >>> beside = shard.with_name(shard.name + ".index")
        >>> beside.unlink()   # as if it came from elsewhere
        >>> index_shards([shard])
        >>> beside.is_file()
        True
    """
    for shard in map(Path, shards):
        TarIndex.by_headers(shard).write(shard)


def place_in(line: bytes) -> tuple[str, dict[str, tuple[int, int]]]:
    """The key of a sample, and by extension the first byte and the length of each of its files.

    Raises:
        ValueError: if the line tells of no sample.

    Example:
        >>> place_in(b'["digits/7",{"cls":[512,1]}]')
        ('digits/7', {'cls': (512, 1)})
    """
    try:
        key, files = json.loads(line)
        places = {extension: (first, length) for extension, (first, length) in files.items()}
        least = min(min(first - _BLOCK, length) for first, length in places.values())
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{line[:80]!r} tells of no sample") from error
    if least < 0 or not isinstance(key, str):  # a file lies behind its header
        raise ValueError(f"{line[:80]!r} tells of no sample")
    return key, places


def is_header_of(block: bytes, key: str, extension: str, length: int) -> bool:
    """Whether a block of a tar file is plainly the header of a file of a sample.

    Headers that need others before them, as those of files of 8 GiB, are none plainly.

    Args:
        block: the bytes before the file.
        key: of the sample.
        extension: of the file, in small letters.
        length: of the file, in bytes.

    Example:
        >>> entry = tarfile.TarInfo("digits/7.CLS")
        >>> entry.size = 1
        >>> block = entry.tobuf()
        >>> is_header_of(block, "digits/7", "cls", 1), is_header_of(block, "digits/8", "cls", 1)
        (True, False)
    """
    found, size = block[:100].rstrip(b"\0"), block[124:136].strip(b" \0")
    # a name that is too long or not plain stands in a header of its own, and here as well as it can
    for encoding, errors in (("utf-8", "surrogateescape"), ("ascii", "replace")):
        stem, rest = (one.encode(encoding, errors) for one in (f"{key}.", extension))
        if found[: len(stem)] + found[len(stem) :].lower() == (stem + rest)[:100]:
            return size == b"%011o" % length
    return False


def _beside(shard: Path) -> Path:
    return shard.with_name(shard.name + ".index")


def _samples_in(shard: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and files of each sample, by the headers of a tar file."""
    key, files = "", dict[str, Any]()
    for name, first, length in _files_in(shard):
        folder, slash, base = name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if not stem or not dot:
            continue  # such as .DS_Store, or README
        extension = extension.lower()
        if files and folder + slash + stem != key:
            yield key, files
            files = {}
        key = folder + slash + stem
        if extension in files:
            raise DataError(
                f"the shard {shard} has {name} twice in one sample; write it anew, a key a sample."
            )
        files[extension] = (first, length)
    if files:
        yield key, files


def _files_in(shard: Path) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and length of each file in a tar file."""
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (one := tar.next()) is not None:
                if one.isreg() and not one.issparse():
                    yield one.name, one.offset_data, one.size
            # tarfile takes anything that is no header for the end
            file.seek(tar.offset)
            whole = file.read(_BLOCK) == bytes(_BLOCK)
    except FileNotFoundError:
        raise DataError(f"the shard {shard} is missing; {_ANEW}.") from None
    except IsADirectoryError:
        raise DataError(f"the shard {shard} is a folder; give the paths of tar files.") from None
    except tarfile.TarError as error:
        raise DataError(
            f"the shard {shard} can't be read: {error}. It is torn, or no uncompressed tar file; "
            f"{_ANEW}."
        ) from error
    if not whole:
        raise DataError(
            f"the shard {shard} ends without the mark of an end, behind byte {tar.offset}: it is "
            f"torn; {_ANEW}."
        )
