"""MNIST's files, small ones of the true form, from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from footplate.engine.data.images.mnist import DIGESTS, mnist, read_idx
from footplate.engine.errors import DataError
from tests.engine.data.serving import serving

pytestmark = pytest.mark.covers("K1")

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(values: np.ndarray) -> bytes:
    """An array as an IDX file."""
    head = struct.pack(">BBBB", 0, 0, CODES[values.dtype.str[1:]], values.ndim)
    shape = struct.pack(f">{values.ndim}I", *values.shape)
    return head + shape + values.astype(values.dtype.newbyteorder(">")).tobytes()


def collection(train: int = 6, test: int = 3) -> dict[str, np.ndarray]:
    """Images and labels by the names of their files."""
    random = np.random.default_rng(0)
    found = {}
    for begin, count in (("train", train), ("t10k", test)):
        found[f"{begin}-images-idx3-ubyte.gz"] = random.integers(0, 256, (count, 28, 28), np.uint8)
        found[f"{begin}-labels-idx1-ubyte.gz"] = random.integers(0, 10, count, np.uint8)
    return found


@pytest.fixture
def arrays():
    return collection()


@pytest.fixture
def served(arrays):
    with serving({name: gzip.compress(idx(one)) for name, one in arrays.items()}) as served:
        yield served


def digests(served) -> dict[str, str]:
    return {name: hashlib.sha256(one).hexdigest() for name, one in served.files.items()}


def test_parts_are_fetched_and_read(served, arrays, tmp_path):
    options = {"mirror": served.address, "digests": digests(served)}
    for part, begin in (("train", "train"), ("test", "t10k")):
        images, labels = mnist(tmp_path, part, **options)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        pixels = torch.from_numpy(arrays[f"{begin}-images-idx3-ubyte.gz"])
        assert torch.equal((images * 255).round().byte(), pixels[:, None])
        assert labels.tolist() == arrays[f"{begin}-labels-idx1-ubyte.gz"].tolist()
    assert sorted(served.asked) == sorted(DIGESTS)
    mnist(tmp_path, "train", **options)
    assert len(served.asked) == 4  # nothing is fetched twice


def test_files_that_are_not_mnists_are_refused(served, tmp_path):
    with pytest.raises(DataError, match="another file than expected"):
        mnist(tmp_path, mirror=served.address)
    assert list(tmp_path.iterdir()) == []


def test_parts_that_do_not_belong_together_are_refused(served, tmp_path):
    served.files["t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match=r"\(3, 28, 28\) and labels of shape \(4,\)"):
        mnist(tmp_path, "test", mirror=served.address, digests=digests(served))
    with pytest.raises(ValueError, match="'train' and 'test', given 'val'"):
        mnist(tmp_path, "val")


@pytest.mark.parametrize("kind", CODES)
def test_every_type_of_value_is_read(tmp_path, kind):
    values = np.arange(12, dtype=kind).reshape(3, 1, 4)
    (tmp_path / "plain").write_bytes(idx(values))
    found = read_idx(tmp_path / "plain")
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x1f\x8b\x08\x00", "begins with 1f 8b 08 00"),
        (b"\0\0\x07\x01\0\0\0\0", "is no IDX file"),
        (b"\0\0\x08\x02\0\0\0\x01", "of its own head"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "has 17 bytes, not those 18"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", "has 19 bytes, not those 18"),
    ],
)
def test_what_is_no_whole_file_is_refused(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(tmp_path / "file")


def test_a_torn_packed_file_is_refused(tmp_path):
    for number, torn in enumerate((gzip.compress(bytes(1000))[:-9], b"no gzip")):
        file = tmp_path / f"{number}.gz"
        file.write_bytes(torn)
        with pytest.raises(DataError, match="can't be unpacked"):
            read_idx(file)
