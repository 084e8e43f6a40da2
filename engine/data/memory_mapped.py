"""Arrays in files, more than fit in memory, of which only what is asked for is read."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..errors import DataError

__all__ = ["MemoryMapped"]


class MemoryMapped(Dataset[Any]):
    """Rows of arrays in ``.npy`` files, which are mapped into memory and not read as a whole.

    The files are mapped when the first sample is asked for, in each process for itself, so the
    data set travels to worker processes without them. A sample is a copy of its rows. The rows of
    a batch are gathered at once, by ascending place in the file.

    Pages that were read count as memory of the process. So they are given back, by ``madvise``
    where the system has it, after some 16 MiB; what is read again soon is in the system's cache.

    Args:
        files: the path of a ``.npy`` file, whose rows are the samples; or several by name, of as
            many rows each, whose samples are dicts.
        transform: makes of these what is the sample.

    Attributes:
        files: as given.
        transform: as given.

    Raises:
        DataError: if a file is missing or torn, holds Python objects or no rows, or has its columns
            behind each other; if numbers of rows differ.

    Example:
        >>> np.save("x.npy", np.arange(6.0).reshape(3, 2))
        >>> np.save("y.npy", np.array([0, 1, 0]))
        >>> MemoryMapped("x.npy")[1]
        array([2., 3.])
        >>> data = MemoryMapped({"x": "x.npy", "y": "y.npy"})
        >>> len(data), data[2]
        (3, {'x': array([4., 5.]), 'y': array(0)})
    """

    def __init__(
        self,
        files: str | Path | Mapping[str, str | Path],
        *,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.files = dict(files) if isinstance(files, Mapping) else files
        self.transform = transform
        paths = self.files if isinstance(self.files, dict) else {"": self.files}
        self._paths = {name: Path(one).absolute() for name, one in paths.items()}
        self._maps: dict[str, _Rows] | None = None
        lengths = {str(path): len(_mapped(path)) for path in self._paths.values()}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{path} has {length}" for path, length in lengths.items())
            raise DataError(f"all files have as many rows, but {told or 'there is none'}.")
        self._length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch, each file gone through once."""
        if self._maps is None:
            self._maps = {name: _Rows(path) for name, path in self._paths.items()}
        places = np.asarray(indices, dtype=np.int64)
        rows = {name: one.gather(places) for name, one in self._maps.items()}
        samples: list[Any] = [
            {name: one[number, ...] for name, one in rows.items()} for number in range(len(places))
        ]
        if not isinstance(self.files, dict):
            samples = [one[""] for one in samples]
        return samples if self.transform is None else list(map(self.transform, samples))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": None}  # a worker process maps them itself


_AT_ONCE = 2 * 2**20  # bytes that the system may map where one is asked for
_MOST = 8  # of these pieces that are kept


class _Rows:
    """The rows of one file, in this process."""

    def __init__(self, path: Path) -> None:
        self._array = _mapped(path)
        self._size = self._array[:1].nbytes
        self._pieces = 0  # that were read since the last were given back

    def gather(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Copies of rows, read in the order of the file."""
        rows = np.empty((len(places), *self._array.shape[1:]), self._array.dtype)
        order = np.argsort(places, kind="stable")
        new = np.diff(places[order] * self._size // _AT_ONCE, prepend=-1) != 0
        pieces = (new * (1 + self._size // _AT_ONCE)).cumsum()
        parts = np.flatnonzero(np.diff(pieces // _MOST)) + 1
        for part in np.split(order, parts):
            rows[part] = self._array[places[part]]
            self._pieces += 1 + len(part) * self._size // _AT_ONCE
            if len(parts) or self._pieces >= _MOST:
                self._give_back()
        return rows

    def _give_back(self) -> None:
        self._pieces = 0
        pages = self._array.base
        if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path) -> NDArray[Any]:
    """A file as an array that is read-only."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; fetch it, or give another path.") from None
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{path} can't be mapped: {error}. It is torn, or no .npy file of numbers; write it "
            f"anew by numpy.save()."
        ) from error
    if not isinstance(array, np.ndarray) or not array.ndim or not len(array):
        raise DataError(f"{path} holds no rows; the first dimension counts the samples.")
    if not array.flags.c_contiguous:
        raise DataError(
            f"{path} has its columns behind each other, so that a row lies all over it; write it "
            f"anew from numpy.ascontiguousarray(array)."
        )
    return array
