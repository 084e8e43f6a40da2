"""Checkpoints appear whole or not at all, and go one by one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from footplate.engine.checkpoints.parts import part
from footplate.engine.checkpoints.store import CheckpointStore, Store
from footplate.engine.checkpoints.tensor_file import weights_of
from footplate.engine.errors import StateError
from tests.engine.checkpoints.saves import is_whole, manifest, save, state, weights


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.covers("G8")
def test_shared_weights_are_saved_once_and_stay_shared(tmp_path):
    store: Store = CheckpointStore(tmp_path)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
    model[1].weight = model[0].weight
    path = store.save(weights_of(model), {}, manifest(1))
    assert (path / "model.safetensors").stat().st_size < 64 * 64 * 4 * 1.5
    expected = model[0].weight.clone()
    torch.nn.init.zeros_(model[0].weight)
    assert not store.load_weights(path, model)
    assert torch.equal(model[1].weight, expected)
    assert model[1].weight is model[0].weight


def test_weights_that_do_not_fit_are_refused_by_checkpoint_and_name(tmp_path):
    store = CheckpointStore(tmp_path)
    path, model = save(store, 1), torch.nn.Linear(2, 1)
    with pytest.raises(StateError, match=rf"{path}: the weights do not fit the Linear:\nmissing"):
        store.load_weights(path, model)
    assert list(store.load_weights(path, model, strict=False).unexpected) == ["a", "b", "c"]


def test_a_second_checkpoint_of_an_iteration_gets_a_place_of_its_own(tmp_path):
    store = CheckpointStore(tmp_path)
    paths = [store.save(weights(3), {"n": n}, manifest(3)) for n in range(3)]
    assert [path.name for path in paths] == ["00000003", "00000003-2", "00000003-3"]
    assert [store.load_state(path)["n"] for path, _ in store] == [0, 1, 2]
    assert [found.number for _, found in store] == [0, 1, 2]


@pytest.mark.covers("G1")
def test_a_checkpoint_has_the_name_that_is_given(tmp_path):
    store = CheckpointStore(tmp_path)
    paths = [store.save({}, {}, manifest(3), name="before surgery") for _ in range(2)]
    assert [path.name for path in paths] == ["before surgery", "before surgery-2"]
    assert [path for path, _ in store] == paths
    assert save(store, 3, exact=False).name == "00000003-inexact"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a/", "../a"])
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        CheckpointStore(tmp_path / "store").save({}, {}, manifest(3), name=name)
    assert names(tmp_path) == []


def test_what_lies_at_the_place_stays(tmp_path):
    (tmp_path / "00000001").mkdir()
    (tmp_path / "00000001-2").touch()
    (tmp_path / "00000001-3").symlink_to("nowhere")
    assert save(CheckpointStore(tmp_path), 1).name == "00000001-4"
    assert list((tmp_path / "00000001").iterdir()) == []


@pytest.mark.covers("G2")
def test_pruning_spares_other_runs_and_takes_the_earlier_of_equals(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration, score in ((1, 0.5), (2, 0.7), (3, 0.7), (4, None)):
        save(store, iteration, score=score)
    save(store, 5, run="another")
    store.prune("mine", last=1, best=1)
    assert [path.name for path, _ in store] == ["00000002", "00000004", "00000005"]


def test_pruning_spares_what_it_is_told_to(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    paths = [save(store, iteration) for iteration in range(4)]
    monkeypatch.chdir(tmp_path)
    store.prune("mine", last=1, best=0, spare=[paths[0], Path("00000002")])
    assert names(tmp_path) == ["00000000", "00000002", "00000003"]


@pytest.mark.covers("G1")
def test_inexact_checkpoints_neither_count_nor_heap_up(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration, exact in ((1, True), (2, False), (3, True), (4, False), (5, True)):
        save(store, iteration, exact=exact, score=float(iteration if exact else 100))
    store.prune("mine", last=1, best=2)
    assert names(tmp_path) == ["00000003", "00000004-inexact", "00000005"]
    save(store, 6, exact=False)
    store.prune("mine", last=1, best=0)
    assert names(tmp_path) == ["00000005", "00000006-inexact"]


def test_infinite_scores_have_their_places(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration, score in ((1, -float("inf")), (2, 0.0), (3, float("inf")), (4, -1.0)):
        save(store, iteration, score=score)
    store.prune("mine", last=0, best=2)
    assert names(tmp_path) == ["00000002", "00000003"]


@pytest.mark.covers("G2")
def test_links_and_what_is_no_checkpoint_stay(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration in (1, 2):
        save(store, iteration)
    (tmp_path / "latest").symlink_to("00000001")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "00000000").mkdir()
    assert [path.name for path, _ in store] == ["00000001", "00000002"]
    store.prune("mine", last=1, best=0)
    assert names(tmp_path) == ["00000000", "00000002", "latest", "notes.txt"]
    assert (tmp_path / "latest").is_symlink()


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "manifest.json"])
def test_a_checkpoint_with_a_part_missing_is_none(tmp_path, name):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    (path / name).unlink()
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert list(store) == []
    with pytest.raises(StateError, match=f"no whole checkpoint.*{name}"):
        store.manifest(path)


def test_another_format_is_refused(tmp_path):
    store = CheckpointStore(tmp_path)
    file = save(store, 1) / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(StateError, match=f"{file}.*format 9"):
        store.manifest(file.parent)


@pytest.mark.covers("G7")
def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    store = CheckpointStore(tmp_path)
    given = {"handlers": {"mine": [1, np.float64(0.5)]}}
    with pytest.raises(TypeError, match=r"state\['handlers'\]\['mine'\]\[1\] is a numpy.float64"):
        store.save({}, given, manifest(1))
    with pytest.raises(TypeError, match=r"'w' is of layout torch\.sparse_coo"):
        store.save({"w": torch.eye(2).to_sparse()}, {}, manifest(1))
    assert names(tmp_path) == []


def test_a_small_piece_of_a_large_tensor_is_a_small_file(tmp_path):
    store, large = CheckpointStore(tmp_path), torch.randn(10**6)
    path = store.save({}, {"piece": large[:3]}, manifest(1))
    assert (path / "state.pt").stat().st_size < 10**4
    assert torch.equal(store.load_state(path)["piece"], large[:3])


# ---------------------------------------------------------------------- parts


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is no more."""
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def left_behind(run: str, host: str, pid: int) -> str:
    return f".00000001.{run}.{host}.{pid}.part"


@pytest.mark.covers("G2")
def test_what_a_killed_process_of_the_run_left_is_swept_up(tmp_path, dead):
    host = socket.gethostname().replace(".", "%2E")
    kept = [
        left_behind("mine", host, os.getppid()),  # alive
        left_behind("mine", "elsewhere", dead),  # who knows
        left_behind("another", host, dead),
        left_behind("mine2", host, dead),
        f".00000001.{dead}.part",
        ".download.part",
    ]
    swept = [left_behind("mine", host, pid) for pid in (dead, os.getpid())]
    for name in (*kept, *swept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    save(CheckpointStore(tmp_path), 2)
    assert names(tmp_path) == sorted(["00000002", *kept])


@pytest.mark.parametrize("run", ["a.b", "a/b", "..", "a b", "ü" * 100, "x" * 300, "*", "a%2Eb"])
def test_a_run_may_have_any_name(tmp_path, run):
    with part(tmp_path / "00000001", run) as beside:
        assert beside.parent == tmp_path
        assert len(beside.name.split(".")) == 6
    store = CheckpointStore(tmp_path)
    for iteration in (1, 2):
        assert is_whole(store, save(store, iteration, run=run))
    beside.mkdir()
    save(store, 3, run=run)
    assert not beside.exists()
    store.prune(run, last=1, best=0)
    assert names(tmp_path) == ["00000003"]


def test_no_two_runs_have_the_same_parts(tmp_path):
    found = set()
    for run in ("a.b", "a_b", "a%2Eb", "a/b", "x" * 300, "x" * 301):
        with part(tmp_path / "1", run) as beside:
            found.add(beside)
    assert len(found) == 6


def test_what_another_thread_is_writing_is_not_swept_up(tmp_path):
    store, begun, go_on = CheckpointStore(tmp_path), threading.Event(), threading.Event()

    class Slow(dict):
        def items(self):
            begun.set()
            go_on.wait(10)
            return super().items()

    args = (Slow(weights(1)), state(1), manifest(1))
    thread = threading.Thread(target=store.save, args=args)
    thread.start()
    begun.wait(10)
    with pytest.raises(FileExistsError, match="another thread"):
        save(store, 1)
    save(store, 2)
    go_on.set()
    thread.join()
    assert [is_whole(store, path) for path, _ in store] == [True, True]


@pytest.mark.covers("G2")
def test_somebody_else_may_take_checkpoints_away_meanwhile(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration in range(40):
        save(store, iteration)
    threads = [
        threading.Thread(target=store.prune, args=("mine",), kwargs={"last": last, "best": 0})
        for last in (30, 20, 10, 1, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["00000039"]
