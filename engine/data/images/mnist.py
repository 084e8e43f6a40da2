"""MNIST, and whatever else comes as images and labels in IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ..download import download

__all__ = ["DIGESTS", "MIRROR", "mnist", "read_idx"]

MIRROR = "https://storage.googleapis.com/cvdf-datasets/mnist"
"""Where the files come from."""

DIGESTS = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
"""SHA-256 of the files."""

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(file: str | Path) -> NDArray[Any]:
    """The array in an IDX file.

    Two zeros, a byte for the type, one for the number of dimensions, the dimensions, and the
    values, all big-endian, as on http://yann.lecun.com/exdb/mnist.

    Args:
        file: its path; one that ends in ``.gz`` is unpacked.

    Returns:
        an array of the file's shape, in the machine's byte order.

    Raises:
        DataError: if it is no such file, or not a whole one.

    Example:
        >>> _ = Path("labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx("labels")
        array([7, 2, 1], dtype=uint8)
    """
    file = Path(file)
    data = file.read_bytes()
    if file.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{file} can't be unpacked: {error}; fetch it again.") from error
    kind = _TYPES.get(data[2]) if len(data) >= 4 and data[:2] == b"\0\0" else None
    if kind is None:
        raise DataError(f"{file} is no IDX file: it begins with {data[:4].hex(' ') or 'nothing'}.")
    begin = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:begin], ">u4").tolist()) if len(data) >= begin else None
    expected = None if shape is None else begin + math.prod(shape) * np.dtype(kind).itemsize
    if expected != len(data):
        told = "of its own head" if expected is None else f"{expected} that its head tells of"
        raise DataError(f"{file} has {len(data)} bytes, not those {told}; fetch it again.")
    values = np.frombuffer(data, kind, offset=begin).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def mnist(
    folder: str | Path,
    part: Literal["train", "test"] = "train",
    *,
    mirror: str = MIRROR,
    digests: Mapping[str, str] = DIGESTS,
) -> tuple[Tensor, Tensor]:
    """Handwritten digits of 28 by 28 pixels: 60,000 to train on, 10,000 to test with.

    Args:
        folder: where the files are kept; those that are not there are fetched.
        part: which of them.
        mirror: the address in front of the files' names.
        digests: SHA-256 of the files by name; those of another collection in the same form, such
            as Fashion-MNIST, go with its ``mirror``.

    Returns:
        images, float32 of shape (N, 1, 28, 28) from 0 to 1, and labels, int64 (N,).

    Raises:
        DataError: if files can't be had or read, or don't belong together.
        ValueError: for another part.

    Example:
        >>> import hashlib
        >>> files = {
        ...     "t10k-images-idx3-ubyte.gz": [0, 0, 8, 3, *3 * [0, 0, 0, 1], 51],
        ...     "t10k-labels-idx1-ubyte.gz": [0, 0, 8, 1, 0, 0, 0, 1, 7],
        ... }
        >>> for name, content in files.items():
        ...     _ = Path(name).write_bytes(gzip.compress(bytes(content)))
        >>> digests = {one: hashlib.sha256(Path(one).read_bytes()).hexdigest() for one in files}
        >>> mnist(".", "test", digests=digests)  # they are there, so nothing is fetched
        (tensor([[[[0.2000]]]]), tensor([7]))

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", 1998.
    """
    if part not in ("train", "test"):
        raise ValueError(f"there are the parts 'train' and 'test', given {part!r}.")
    begin = {"train": "train-", "test": "t10k-"}[part]
    images, labels = (
        read_idx(download(f"{mirror}/{name}", Path(folder) / name, sha256=digests[name]))
        for name in (f"{begin}images-idx3-ubyte.gz", f"{begin}labels-idx1-ubyte.gz")
    )
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"images of shape {images.shape} and labels of shape {labels.shape} in {folder} don't "
            f"belong together: (N, height, width) and (N,) do."
        )
    return torch.from_numpy(images).unsqueeze(1).float() / 255, torch.from_numpy(labels).long()
