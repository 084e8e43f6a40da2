"""Arrays in files: rows are read as they are asked for, and memory stays small."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footplate.engine.data.memory_mapped import MemoryMapped, _Rows
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import DataError
from footplate.engine.passes import passes_over


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    x = np.arange(60.0, dtype=np.float32).reshape(20, 3)
    y = np.arange(20)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return {"x": tmp_path / "x.npy", "y": tmp_path / "y.npy"}


def test_samples_are_rows_by_name(files):
    data = MemoryMapped(files)
    assert len(data) == 20
    assert data[-1]["x"].tolist() == [57, 58, 59]
    assert data[4]["y"] == 4
    assert [one["y"].item() for one in data.__getitems__([3, 0, 3, 19])] == [3, 0, 3, 19]
    assert MemoryMapped(files["x"])[2].tolist() == [6, 7, 8]
    with pytest.raises(IndexError):
        data[20]


def test_a_sample_is_a_copy(files):
    data = MemoryMapped(files["x"])
    data[0][:] = -1
    assert data[0].tolist() == [0, 1, 2]


def test_a_batch_is_collated_as_any(files):
    first = next(iter(ordered_loader(MemoryMapped(files), 4)))
    assert first["x"].dtype == torch.float32
    assert first["x"].tolist() == np.arange(12).reshape(4, 3).tolist()
    assert first["y"].tolist() == [0, 1, 2, 3]


def test_other_types_are_read_as_well(tmp_path):
    array = np.arange(24, dtype=">i2").reshape(6, 2, 2)
    np.save(tmp_path / "x.npy", array)
    data = MemoryMapped(tmp_path / "x.npy")
    assert [data[n].tolist() for n in (5, 0)] == [array[5].tolist(), array[0].tolist()]


def test_a_transform_makes_the_sample(files):
    data = MemoryMapped(files, transform=lambda sample: int(sample["y"]) ** 2)
    assert data.__getitems__([2, 4]) == [4, 16]


def test_files_are_mapped_when_a_sample_is_asked_for_and_do_not_travel(files):
    data = MemoryMapped(files)
    assert not _mapped(files["x"])
    data[0]
    assert _mapped(files["x"])
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    del data
    assert not _mapped(files["x"])
    there = pickle.loads(sent)
    assert not _mapped(files["x"])
    assert there[7]["y"] == 7


def _mapped(path: Path) -> bool:
    return any(one.path == str(path) for one in psutil.Process().memory_maps(grouped=False))


@pytest.mark.covers("G5")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_goes_on_by_reading_what_is_left(files, workers, monkeypatch):
    def loader(workers=0):
        return ordered_loader(MemoryMapped(files), 3, shuffle=True, seed=1, num_workers=workers)

    before = passes_over(loader())
    whole = [batch["y"].tolist() for batch in before.begin()]
    read: list[int] = []
    gather = _Rows.gather

    def noting(self, places):
        read.extend(places.tolist())
        return gather(self, places)

    monkeypatch.setattr(_Rows, "gather", noting)
    after = passes_over(loader(workers))
    after.load_state_dict(before.state_dict())
    assert [batch["y"].tolist() for batch in after.go_on(4)] == whole[4:]
    if not workers:
        assert sorted(set(read)) == sorted(one for batch in whole[4:] for one in batch)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, 19), max_size=30), piece=st.integers(1, 40))
def test_rows_come_in_the_order_asked_for(files, places, piece, monkeypatch_pieces):
    monkeypatch_pieces(piece)
    rows = MemoryMapped(files["x"]).__getitems__(places)
    assert [row.tolist() for row in rows] == [[3 * n, 3 * n + 1, 3 * n + 2] for n in places]


@pytest.fixture
def monkeypatch_pieces(monkeypatch) -> Callable[[int], None]:
    """Have memory given back after this many bytes, many times in a batch."""

    def pieces(size: int) -> None:
        monkeypatch.setattr("footplate.engine.data.memory_mapped._AT_ONCE", size)
        monkeypatch.setattr("footplate.engine.data.memory_mapped._MOST", 2)

    return pieces


READ = """
import sys
import psutil
from footplate.engine.data.memory_mapped import MemoryMapped
from footplate.engine.data.order import ordered_loader

path, batch_size, shuffle = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
process, data = psutil.Process(), MemoryMapped(path)
data[0]
before, most, total = process.memory_info().rss, 0, 0.0
for batch in ordered_loader(data, batch_size, shuffle=shuffle):
    total += float(batch[:, 0].sum())
    most = max(most, process.memory_info().rss)
print(total, most - before)
"""


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("columns", "batch_size"), [(2**10, 2**8), (2**20, 2)], ids=["narrow", "wide"]
)
def test_memory_stays_small_whatever_is_read(tmp_path, shuffle, columns, batch_size):
    rows = 200 * 2**20 // (4 * columns)
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (rows, columns))
    array[:] = 1
    array.flush()
    del array
    command = [sys.executable, "-c", READ, str(tmp_path / "x.npy"), str(batch_size), str(shuffle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    total, grown = done.stdout.split()
    assert float(total) == rows
    assert int(grown) < 128 * 2**20  # of 200 MiB; some of it waits to be given back


def test_a_torn_or_missing_file_is_named(files, tmp_path):
    with pytest.raises(DataError, match=r"/none\.npy is missing; fetch it"):
        MemoryMapped({"x": files["x"], "z": tmp_path / "none.npy"})
    whole = files["x"].read_bytes()
    for left in (0, 3, 60, 200):
        files["x"].write_bytes(whole[:left])
        with pytest.raises(DataError, match=r"/x\.npy can't be mapped: .* torn"):
            MemoryMapped(files)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(1.0), "holds no rows"),
        (np.zeros((0, 3)), "holds no rows"),
        (np.zeros((2, 3), order="F"), "has its columns behind each other"),
        (np.array([{}], dtype=object), "can't be mapped: .*no .npy file of numbers"),
    ],
)
def test_what_has_no_rows_of_numbers_is_refused(tmp_path, array, said):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=rf"/x\.npy {said}"):
        MemoryMapped(tmp_path / "x.npy")


def test_files_of_different_lengths_are_refused(files, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"x\.npy has 20, .*z\.npy has 3"):
        MemoryMapped({"x": files["x"], "z": tmp_path / "z.npy"})
    with pytest.raises(DataError, match="there is none"):
        MemoryMapped({})
