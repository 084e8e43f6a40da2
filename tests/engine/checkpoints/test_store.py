"""Checkpoints appear whole or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from footplate.engine.errors import StateError
from footplate.engine.checkpoints.store import CheckpointStore, Manifest


def manifest(iteration: int, run: str = "mine", score: float | None = None) -> Manifest:
    return Manifest(run=run, iteration=iteration, epoch=1, score=score)


def test_shared_weights_are_saved_once_and_stay_shared(tmp_path):
    store = CheckpointStore(tmp_path)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
    model[1].weight = model[0].weight
    path = store.save(model, {}, manifest(1))
    assert (path / "model.safetensors").stat().st_size < 64 * 64 * 4 * 1.5
    expected = model[0].weight.clone()
    torch.nn.init.zeros_(model[0].weight)
    store.load_weights(path, model)
    assert torch.equal(model[1].weight, expected)
    assert model[1].weight is model[0].weight


def test_a_second_checkpoint_of_an_iteration_gets_a_place_of_its_own(tmp_path):
    store, model = CheckpointStore(tmp_path), torch.nn.Linear(1, 1)
    paths = [store.save(model, {"n": n}, manifest(3)) for n in range(2)]
    assert [path.name for path in paths] == ["00000003", "00000003-2"]
    assert [store.load_state(path)["n"] for path, _ in store] == [0, 1]


def test_pruning_spares_other_runs_and_takes_the_earlier_of_equals(tmp_path):
    store, model = CheckpointStore(tmp_path), torch.nn.Linear(1, 1)
    for iteration, score in ((1, 0.5), (2, 0.7), (3, 0.7), (4, None)):
        store.save(model, {}, manifest(iteration, score=score))
    store.save(model, {}, manifest(5, run="another"))
    store.prune("mine", last=1, best=1)
    assert [path.name for path, _ in store] == ["00000002", "00000004", "00000005"]


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "manifest.json"])
def test_a_checkpoint_with_a_part_missing_is_none(tmp_path, name):
    store = CheckpointStore(tmp_path)
    path = store.save(torch.nn.Linear(1, 1), {}, manifest(1))
    (path / name).unlink()
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert list(store) == []
    with pytest.raises(StateError, match=f"no whole checkpoint.*{name}"):
        store.manifest(path)


def test_another_format_is_refused(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(torch.nn.Linear(1, 1), {}, manifest(1))
    file = path / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(StateError, match="format 9"):
        store.manifest(path)


FULL = f"""
import resource, signal, sys, torch
from footplate.engine.checkpoints.store import CheckpointStore, Manifest
store = CheckpointStore(sys.argv[1])
small, large = torch.nn.Linear(1, 1), torch.nn.Linear(1000, 1000)
store.save(small, {{}}, Manifest(run="r", iteration=1, epoch=1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit({resource.RLIMIT_FSIZE}, (100_000, 100_000))
try:
    store.save(large, {{}}, Manifest(run="r", iteration=2, epoch=1))
except Exception as error:
    print("refused", error)
"""


def test_a_save_that_fails_leaves_no_trace_and_the_one_before(tmp_path: Path):
    process = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert process.stdout.startswith("refused"), process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    store = CheckpointStore(tmp_path)
    state = {"handlers": {"mine": [1, np.float64(0.5)]}}
    with pytest.raises(TypeError, match=r"state\['handlers'\]\['mine'\]\[1\] is a numpy.float64"):
        store.save(torch.nn.Linear(1, 1), state, manifest(1))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_up(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    (tmp_path / f".00000001.{int(process.stdout)}.part").mkdir()
    other = tmp_path / f".00000001.{os.getppid()}.part"
    other.mkdir()
    foreign = [tmp_path / name for name in (".download.part", ".mine.99999999.part")]
    for path in foreign:
        path.mkdir()
    CheckpointStore(tmp_path).save(torch.nn.Linear(1, 1), {}, manifest(2))
    kept = sorted([other.name, "00000002", *(path.name for path in foreign)])
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
