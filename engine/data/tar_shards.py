"""Samples in tar files, more than fit in memory, in WebDataset's layout."""

from __future__ import annotations

import bisect
import glob
import itertools
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..errors import DataError
from ..whole import whole
from .by_extension import decoded
from .shard_order import ShardOrder
from .tar_index import TarIndex, is_header_of, place_in

__all__ = ["TarShards"]


class TarShards(Dataset[Any]):
    """Samples in tar files, each of which is read by its place in them.

    A sample is a dict: under ``"__key__"`` its key, and by extension what its files hold. A shard
    is opened when a sample of it is asked for, in the process that asks; samples that nobody asks
    for are not read. Shards that :func:`~footplate.engine.data.tar_writing.write_shards` wrote
    have an index beside them. Of others, all headers are read when the data set is made, which
    :func:`~footplate.engine.data.tar_index.index_shards` spares it.

    Shuffled by :func:`~footplate.engine.data.order.ordered_loader`, or by the loader that a runner
    makes, samples come in a :class:`~footplate.engine.data.shard_order.ShardOrder`: each rank reads
    shards of its own.

    Args:
        shards: the paths of the tar files; or a pattern, as ``"data/train-*.tar"`` or
            ``"data/train-{000000..000031}.tar"``. The latter, and paths, tell when one is missing.
        decoders: functions from bytes to a value, by extension, beside
            :func:`~footplate.engine.data.by_extension.decoded`'s own.
        transform: makes of the dict what is the sample.
        at_once, window: how samples are shuffled, as the order takes it. A multiple of the number
            of ranks at once has each rank read shards of its own.

    Attributes:
        shards: the paths.
        lengths: how many samples each has.
        decoders, transform, at_once, window: as given.

    Raises:
        DataError: if there are no shards, or one is missing or torn; and when a sample is read, if
            it does not lie where the index of its shard says.

    Example:
        >>> from footplate.engine.data.order import ordered_loader
        >>> from footplate.engine.data.tar_writing import write_shards
        >>> shards = write_shards(({"cls": n, "txt": "n" * n} for n in range(6)), "numbers", 3)
        >>> data = TarShards(shards)
        >>> len(data), data.lengths, data[2]
        (6, (3, 3), {'__key__': '000000002', 'cls': 2, 'txt': 'nn'})
        >>> for batch in ordered_loader(data, 2, shuffle=True, rank=1, world_size=2):
        ...     print(batch["cls"].tolist(), batch["txt"])
        [2, 1] ['nn', 'n']
        [0] ['']
    """

    def __init__(
        self,
        shards: str | Path | Sequence[str | Path],
        *,
        decoders: Mapping[str, Callable[[bytes], Any]] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        at_once: int = 48,
        window: int = 1000,
    ) -> None:
        self.shards = _paths(shards)
        self.decoders = dict(decoders or {})
        self.transform = transform
        self.at_once = whole("at_once", at_once)
        self.window = whole("window", window)
        indices = [TarIndex.of(one) for one in self.shards]
        self.lengths = tuple(one.samples for one in indices)
        self._starts = [0, *itertools.accumulate(self.lengths)]
        self._scanned = {n: one.lines for n, one in enumerate(indices) if one.lines is not None}
        self._open: dict[int, _OpenShard] = {}  # the one that was used last is the last

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= (index := int(index)) < len(self):
            raise IndexError(f"there are {len(self)} samples, and no number {index}.")
        index %= len(self)
        shard = bisect.bisect_right(self._starts, index) - 1
        sample = self._sample(self._opened(shard), index - self._starts[shard])
        return sample if self.transform is None else self.transform(sample)

    def make_order(self, **options: Any) -> ShardOrder:
        """The order of the samples; see :func:`~footplate.engine.data.order.order_of`.

        Args:
            options: ``shuffle``, ``seed``, ``rank``, ``world_size`` and ``even``.
        """
        options.update(lengths=self.lengths, at_once=self.at_once, window=self.window)
        return ShardOrder(len(self), **options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a worker process opens its own

    def _opened(self, number: int) -> _OpenShard:
        shard = self._open.pop(number, None)
        if shard is None:
            if len(self._open) >= max(_MOST_OPEN, self.at_once):
                del self._open[next(iter(self._open))]
            shard = _OpenShard(self.shards[number], self._scanned.get(number))
            if len(shard.lines) != self.lengths[number]:
                raise DataError(
                    f"the shard {shard.path} had {self.lengths[number]} samples when the run "
                    f"began, and has {len(shard.lines)}; don't write shards anew that are in use."
                )
        self._open[number] = shard
        return shard

    def _sample(self, shard: _OpenShard, number: int) -> dict[str, Any]:
        key, files = shard.files(number)
        sample: dict[str, Any] = {"__key__": key}
        for extension, data in files.items():
            try:
                sample[extension] = decoded(extension, data, self.decoders)
            except Exception as error:
                error.add_note(f"raised by .{extension} of the sample {key!r} in {shard.path}")
                raise
        return sample


_INDEX = "have index_shards() make an index anew"
_MOST_OPEN = 64  # shards; each is an open file, and an index in memory


class _OpenShard:
    """A tar file that is open in this process. Its position is nobody's: a fork may share it."""

    def __init__(self, path: Path, lines: list[bytes] | None) -> None:
        self._file = -1
        self._is_proven = False  # whether all headers were read, and the lines are right
        self.path = path
        self.lines = lines or TarIndex.of(path, lines=True).lines or []
        try:
            self._file = os.open(path, os.O_RDONLY)
            self._size = os.fstat(self._file).st_size
        except FileNotFoundError:
            raise DataError(f"the shard {path} is gone since the run began; fetch it.") from None

    def files(self, number: int) -> tuple[str, dict[str, bytes]]:
        """The key of a sample, and its files by extension; all are read at once."""
        try:
            key, places = place_in(self.lines[number])
        except ValueError as error:
            raise DataError(
                f"the index of the shard {self.path} is torn, as {error}; {_INDEX}."
            ) from error
        begin = min(first for first, _ in places.values()) - tarfile.BLOCKSIZE
        end = max(first + length for first, length in places.values())
        if end > self._size:
            raise DataError(
                f"the shard {self.path} has {self._size} bytes, and the sample {key!r} ends at "
                f"{end} as its index says: it is torn, or was written anew; fetch it again, or "
                f"{_INDEX}."
            )
        data = self._read(begin, end)
        if len(data) < end - begin:
            raise DataError(
                f"the shard {self.path} ends in the midst of the sample {key!r}: it is torn; fetch "
                f"it again."
            )
        for extension, (first, length) in places.items():
            header = data[first - begin - tarfile.BLOCKSIZE : first - begin]
            if not self._is_proven and not is_header_of(header, key, extension, length):
                self._prove(key)
        return key, {
            extension: data[first - begin : first - begin + length]
            for extension, (first, length) in places.items()
        }

    def _prove(self, key: str) -> None:
        """Compare the lines with all headers, since those of a sample are not plainly its own."""
        if TarIndex.by_headers(self.path).lines != self.lines:
            raise DataError(
                f"the shard {self.path} is another than its index was made of: the sample {key!r} "
                f"does not lie where that says; {_INDEX}, and write no shard anew that is in use."
            )
        self._is_proven = True

    def _read(self, begin: int, end: int) -> bytes:
        """The bytes from one place to another, fewer at the end of the file."""
        pieces = []
        while begin < end and (piece := os.pread(self._file, end - begin, begin)):
            pieces.append(piece)
            begin += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _paths(shards: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The paths that are meant, in their order."""
    if not isinstance(shards, str | Path):
        paths = [Path(one) for one in shards]
    elif found := re.search(r"\{(\d+)\.\.(\d+)\}", str(shards)):
        _check_rest(str(shards), found)
        paths = list(map(Path, _numbered(str(shards), found)))
    else:
        paths = [Path(one) for one in sorted(glob.glob(str(shards)))]
    if not paths:
        raise DataError(f"there are no shards at {str(shards)!r}; give paths of tar files.")
    return tuple(paths)


def _check_rest(pattern: str, found: re.Match[str]) -> None:
    rest = pattern[: found.start()] + pattern[found.end() :]
    if other := re.search(r"[*?]|\{\d+\.\.\d+\}", rest):
        raise DataError(
            f"the pattern {pattern!r} has {other[0]!r} beside {found[0]!r}, which stands alone; "
            f"give a pattern with one of them, or the paths."
        )


def _numbered(pattern: str, found: re.Match[str]) -> Iterator[str]:
    """The names that ``{000..031}`` stands for, as a shell takes it."""
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield f"{pattern[: found.start()]}{number:0{len(first)}}{pattern[found.end() :]}"
