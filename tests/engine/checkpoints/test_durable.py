"""Files that are written in one go, with their digest."""

from __future__ import annotations

import errno
import hashlib
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from footplate.engine.checkpoints import durable
from footplate.engine.checkpoints.durable import DurableFile, make_directory, make_durable


@pytest.mark.covers("G2")
@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [100] * 50,
        [2**22],
        [10, 2**22, 10],
        [2**22 - 1, 2],
        [3 * 2**24 + 1, 5],
        [2**25] * 3,
    ],
)
def test_size_and_digest_are_those_of_the_file(tmp_path, sizes):
    with DurableFile(tmp_path / "file") as file:
        for number, size in enumerate(sizes):
            assert file.write(bytes([number]) * size) == size
    written = (tmp_path / "file").read_bytes()
    assert written == b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    assert file.size == len(written)
    assert file.digest == hashlib.sha256(written).hexdigest()


def test_memory_is_written_whatever_its_items(tmp_path):
    values = torch.arange(10, dtype=torch.int64)
    with DurableFile(tmp_path / "file") as file:
        assert file.write(values.numpy().data) == 80
    assert (tmp_path / "file").read_bytes() == values.numpy().tobytes()


def test_what_was_handed_over_may_change_afterwards(tmp_path):
    piece = bytearray(b"a" * 2**26)
    with DurableFile(tmp_path / "file") as file:
        file.write(piece)
        piece[-(2**20) :] = b"b" * 2**20
        file.write(piece[-5:])
        piece[-5:] = b"ccccc"
    expected = b"a" * 2**26 + b"bbbbb"
    assert (tmp_path / "file").read_bytes() == expected
    assert file.digest == hashlib.sha256(expected).hexdigest()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a disk that takes no time")
def test_the_digest_is_waited_for():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for _ in range(5):
            with DurableFile(Path(folder) / "file") as file:
                file.write(bytes(2**25))
            assert file.digest == hashlib.sha256(bytes(2**25)).hexdigest()


def test_a_file_that_is_there_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"long before")
    with DurableFile(tmp_path / "file") as file:
        file.write(b"now")
    assert (tmp_path / "file").read_bytes() == b"now"


def test_the_digest_is_that_of_a_whole_file(tmp_path):
    file = DurableFile(tmp_path / "file")
    with pytest.raises(ValueError, match="when it is closed"):
        _ = file.digest
    file.close()
    file.close()
    assert file.digest == hashlib.sha256().hexdigest()


def test_it_takes_what_torch_saves(tmp_path):
    value = {"large": torch.randn(3, 2**20), "small": torch.arange(3)}
    with DurableFile(tmp_path / "file") as file:
        torch.save(value, file)
    read = torch.load(tmp_path / "file", weights_only=True)
    assert torch.equal(read["large"], value["large"])
    assert torch.equal(read["small"], value["small"])
    assert file.digest == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [10, 3 * 2**22])
@pytest.mark.covers("G2")
def test_an_error_names_the_file_and_stays(size):
    file = DurableFile("/dev/full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'") as caught:  # noqa: PT012
        file.write(b"x" * size)
        file.flush()
    assert caught.value.errno == errno.ENOSPC
    for call in (lambda: file.write(b"more"), file.close):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
            call()
    file.close()


def test_torch_does_not_hide_why_a_file_is_not_written():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'") as caught:  # noqa: SIM117
        with DurableFile("/dev/full") as file:
            torch.save(torch.zeros(2**21), file)
    assert caught.value.errno == errno.ENOSPC


def test_another_error_is_the_one_that_is_raised(tmp_path):
    with pytest.raises(KeyError), DurableFile(tmp_path / "file") as file:  # noqa: PT012
        file.write(b"x")
        raise KeyError


def test_no_thread_is_left(tmp_path):
    before = threading.active_count()
    with DurableFile(tmp_path / "file") as file:
        for _ in range(3):
            file.write(bytes(durable._ASKED))
    assert threading.active_count() == before


def test_where_it_can_not_be_opened_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none/file"):
        DurableFile(tmp_path / "none" / "file")
    with pytest.raises(FileNotFoundError, match="none"):
        make_durable(tmp_path / "none")


def test_directories_are_made_with_those_above(tmp_path):
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        make_directory(tmp_path / "file")
