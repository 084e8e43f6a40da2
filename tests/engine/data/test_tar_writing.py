"""Samples are written to tar files, all at once or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import weakref

import numpy as np
import pytest

from footplate.engine.data.tar_shards import TarShards
from footplate.engine.data.tar_writing import write_shards
from footplate.engine.errors import DataError
from tests.distributed.launching import surroundings


def numbers(count):
    return ({"cls": n, "npy": np.full(3, n)} for n in range(count))


@pytest.mark.parametrize(("count", "lengths"), [(1, (1,)), (3, (3,)), (4, (3, 1)), (6, (3, 3))])
def test_they_come_back_in_their_order(tmp_path, count, lengths):
    paths = write_shards(numbers(count), tmp_path / "data", 3)
    assert [path.name for path in paths] == [f"shard-{n:06}.tar" for n in range(len(lengths))]
    data = TarShards(paths)
    assert data.lengths == lengths
    assert [one["cls"] for one in data] == list(range(count))
    assert [one["npy"].tolist() for one in data] == [[n] * 3 for n in range(count)]
    assert [one["__key__"] for one in data] == [f"{n:09}" for n in range(count)]


def test_any_program_can_read_them(tmp_path):
    (path,) = write_shards([{"__key__": "a/b", "txt": "hello", "jpg": b"."}], tmp_path / "data")
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["a/b.txt", "a/b.jpg"]
        assert tar.extractfile("a/b.txt").read() == b"hello"


def test_the_same_samples_give_the_same_bytes(tmp_path):
    (one,), (other,) = (write_shards(numbers(5), tmp_path / name) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_one_sample_is_held_at_a_time(tmp_path):
    alive = []

    class Text(str):
        __slots__ = ("__weakref__",)

    def samples():
        for n in range(6):
            text = Text(n)
            alive.append(weakref.ref(text))
            yield {"txt": text}
            del text
            assert sum(one() is not None for one in alive) <= 1

    write_shards(samples(), tmp_path / "data", 2)


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(FileExistsError, match="is there already; give another folder"):
        write_shards(numbers(3), tmp_path / "data")
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_samples_that_fail_leave_nothing(tmp_path):
    def samples():
        yield from numbers(3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_shards(samples(), tmp_path / "data", 2)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal
from pathlib import Path
from footplate.engine.data.tar_writing import write_shards
def samples():
    for n in range(10):
        if n == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"cls": n}
write_shards(samples(), "data", 2)
"""


def test_a_process_that_is_killed_leaves_no_folder_and_the_next_one_cleans_up(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=surroundings(), timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".data.")
    write_shards(numbers(3), tmp_path / "data", 2)
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"__key__": "a.b", "cls": 1}, r"sample 1 has the key 'a\.b', whose last part"),
        ({"__key__": "a/", "cls": 1}, r"sample 1 has the key 'a/', whose last part"),
        ({"__key__": "first", "cls": 1}, "of another in the same shard"),
        ({"__key__": "b"}, "the sample 'b' has no files"),
        ({"__key__": "a\0b", "cls": 1}, r"sample 1 has the key 'a\\x00b'.* without a NUL"),
        (
            {"__key__": "../../a", "cls": 1},
            r"sample 1 has the key '\.\./\.\./a', and files are named",
        ),
        ({"__key__": "/a", "cls": 1}, "sample 1 has the key '/a', and files are named"),
        ({"a/b": b"1", "cls": 1}, "the sample '000000001' has a file with the extension 'a/b'"),
        ({"a\0": b"1"}, "has a file with the extension"),
    ],
)
def test_a_sample_that_could_not_be_read_again_is_refused(tmp_path, sample, said):
    with pytest.raises(DataError, match=said):
        write_shards([{"__key__": "first", "cls": 0}, sample], tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "../a", "a\0"])
def test_a_name_that_is_no_beginning_of_a_file_s_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="is no beginning of the name of a file"):
        write_shards(numbers(1), tmp_path / "data", name=name)
    assert list(tmp_path.iterdir()) == []


def test_no_samples_are_refused(tmp_path):
    with pytest.raises(DataError, match="there are no samples to write"):
        write_shards([], tmp_path / "data")
