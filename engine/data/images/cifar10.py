"""CIFAR-10, from the archive of its binary form: the other one is made of pickles."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ..download import download

__all__ = ["CLASSES", "cifar10"]

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
"""What the labels stand for."""

_FOLDER = "cifar-10-batches-bin"
_FILES = {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)}
_SHAPE = (3, 32, 32)
_ROW = 1 + 3 * 32 * 32  # bytes: the label, and the pixels of red, green and blue


def cifar10(
    folder: str | Path,
    part: Literal["train", "test"] = "train",
    *,
    url: str = URL,
    sha256: str = SHA256,
) -> tuple[Tensor, Tensor]:
    """Small pictures of ten kinds of things: 50,000 to train on, 10,000 to test with.

    They are read out of the archive, which is not unpacked to the disk.

    Args:
        folder: where the archive is kept, 170 MB; it is fetched if it is not there.
        part: which of them.
        url: where it comes from.
        sha256: its digest.

    Returns:
        images, float32 of shape (N, 3, 32, 32) from 0 to 1, and labels, int64 (N,).

    Raises:
        DataError: if the archive can't be had or read.
        ValueError: for another part.

    Example:
        >>> import hashlib
        >>> Path("cifar-10-batches-bin").mkdir()
        >>> _ = Path("cifar-10-batches-bin/test_batch.bin").write_bytes(bytes([3, *3072 * [0]]))
        >>> with tarfile.open("cifar-10-binary.tar.gz", "w:gz") as tar:
        ...     tar.add("cifar-10-batches-bin")
        >>> sha256 = hashlib.sha256(Path("cifar-10-binary.tar.gz").read_bytes()).hexdigest()
        >>> images, labels = cifar10(".", "test", sha256=sha256)  # it is there: nothing is fetched
        >>> tuple(images.shape), CLASSES[labels[0]]
        ((1, 3, 32, 32), 'cat')

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    if part not in _FILES:
        raise ValueError(f"there are the parts 'train' and 'test', given {part!r}.")
    archive = download(url, Path(folder) / url.rpartition("/")[2], sha256=sha256)
    rows = np.concatenate([_rows(archive, f"{_FOLDER}/{name}") for name in _FILES[part]])
    labels, pixels = torch.from_numpy(rows[:, 0]), torch.from_numpy(rows[:, 1:])
    return pixels.reshape(-1, *_SHAPE).float() / 255, labels.long()


def _rows(archive: Path, member: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A label and an image in each row."""
    try:
        with tarfile.open(archive) as tar:
            found = tar.extractfile(member)
            data = b"" if found is None else found.read()
    except (KeyError, EOFError, OSError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{member} can't be read from {archive}: {error}.") from error
    if not data or len(data) % _ROW:
        raise DataError(f"{member} in {archive} has {len(data)} bytes, no multiple of {_ROW}.")
    return np.frombuffer(data, np.uint8).reshape(-1, _ROW)
