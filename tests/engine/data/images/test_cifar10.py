"""CIFAR-10's archive, a small one of the true form, from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

from footplate.engine.data.images.cifar10 import CLASSES, cifar10
from footplate.engine.errors import DataError
from tests.engine.data.serving import serving

pytestmark = pytest.mark.covers("K1")

NAME = "cifar-10-binary.tar.gz"


def batches(rows: int = 4) -> dict[str, np.ndarray]:
    """Rows of a label and 3072 pixels, by the names of their files."""
    random = np.random.default_rng(1)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    found = {name: random.integers(0, 256, (rows, 3073), np.uint8) for name in names}
    for one in found.values():
        one[:, 0] %= 10
    return found


def packed(files: dict[str, bytes]) -> bytes:
    """The archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def read(folder, archive: bytes, part: str):
    """A part of an archive that a server has."""
    with serving({NAME: archive}) as served:
        return cifar10(
            folder,
            part,
            url=f"{served.address}/{NAME}",
            sha256=hashlib.sha256(archive).hexdigest(),
        )


def test_parts_are_fetched_and_read(tmp_path):
    rows = batches()
    archive = packed({name: one.tobytes() for name, one in rows.items()})
    test = rows.pop("test_batch.bin")
    for part, expected in (("train", np.concatenate([*rows.values()])), ("test", test)):
        images, labels = read(tmp_path / part, archive, part)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.shape == (len(expected), 3, 32, 32)
        assert labels.tolist() == expected[:, 0].tolist()
        red = (images[:, 0].flatten(1) * 255).round().byte()
        assert torch.equal(red, torch.from_numpy(expected[:, 1:1025]))
        assert [one.name for one in (tmp_path / part).iterdir()] == [NAME]  # not unpacked
    assert len(CLASSES) == 10


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"no archive", "can't be read from"),
        (packed({"other.bin": b"1"}), "test_batch.bin"),
        (packed({"test_batch.bin": bytes(3072)}), "has 3072 bytes, no multiple of 3073"),
        (packed({"test_batch.bin": b""}), "has 0 bytes"),
        (packed({"test_batch.bin": bytes(3073)})[:-20], "can't be read from"),
    ],
    ids=["none", "other", "torn", "empty", "cut"],
)
def test_what_is_no_such_archive_is_refused(tmp_path, archive, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, archive, "test")


def test_there_is_no_other_part(tmp_path):
    with pytest.raises(ValueError, match="'train' and 'test', given 'val'"):
        cifar10(tmp_path, "val")
