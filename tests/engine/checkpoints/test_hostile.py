"""A checkpoint can't run code, whatever its files hold."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.errors import StateError
from tests.engine.checkpoints.saves import save

FILES = ["manifest.json", "model.safetensors", "state.pt"]


class Trap:
    """What makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def as_pickle(trap: Trap) -> bytes:
    return pickle.dumps(trap, protocol=2)


def as_archive(trap: Trap) -> bytes:
    file = io.BytesIO()
    torch.save({"state": trap}, file)
    return file.getvalue()


def as_old_file(trap: Trap) -> bytes:
    file = io.BytesIO()
    torch.save({"state": trap}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def put(path: Path, name: str, content: bytes) -> None:
    """Write a file, and have the manifest speak of it, as one could who means harm."""
    (path / name).write_bytes(content)
    if name != "manifest.json":
        said = json.loads((path / "manifest.json").read_text())
        said["files"][name] = [len(content), hashlib.sha256(content).hexdigest()]
        (path / "manifest.json").write_text(json.dumps(said))


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("trapped", [as_pickle, as_archive, as_old_file])
@pytest.mark.parametrize("digests", [True, False])
def test_a_trap_in_place_of_any_file_never_springs(tmp_path, name, trapped, digests):
    store, canary = CheckpointStore(tmp_path / "store"), tmp_path / "canary"
    path = save(store, 1)
    put(path, name, trapped(Trap(canary)))
    model = torch.nn.ParameterDict({key: torch.zeros(10) for key in "abc"})
    refused = 0
    for read in (
        lambda: store.load_state(path, digests=digests),
        lambda: store.load_weights(path, model),
        lambda: store.verify(path, digests=digests),
    ):
        try:
            read()
        except StateError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "weights_only" not in str(error)  # no advice how to run it after all  # noqa: PT017
            refused += 1
    assert refused >= 1
    if name == "manifest.json":
        with pytest.warns(RuntimeWarning, match="passed over"):
            assert list(store) == []
    assert not canary.exists()
    pickle.loads(pickle.dumps(Trap(canary)))
    assert canary.exists()  # it is a trap


@pytest.mark.covers("G7")
def test_what_a_state_must_not_hold_is_named(tmp_path):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    put(path, "state.pt", as_archive(Trap(tmp_path / "canary")))
    with pytest.raises(StateError, match=r"state.pt can't be loaded: it holds \w+.system"):
        store.load_state(path)


def test_a_state_that_is_no_dict_is_refused(tmp_path):
    store = CheckpointStore(tmp_path)
    path, file = save(store, 1), io.BytesIO()
    torch.save([1], file)
    put(path, "state.pt", file.getvalue())
    with pytest.raises(StateError, match="holds a list in place of a dict"):
        store.load_state(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../00000001/state.pt", "a/b", ".."])
def test_a_manifest_does_not_lead_out_of_its_directory(tmp_path, name):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    said = json.loads((path / "manifest.json").read_text())
    said["files"][name] = [1, "0" * 64]
    (path / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(StateError, match="without folders"):
        store.verify(path, digests=True)


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
def test_a_manifest_has_to_speak_of_every_file(tmp_path, name):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    said = json.loads((path / "manifest.json").read_text())
    del said["files"][name]
    (path / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(StateError, match=f"does not speak of {name}"):
        store.load_state(path)
