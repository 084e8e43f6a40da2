"""Files of tensors in pieces: what is not as it was written is refused, and none can run code."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from footplate.engine.checkpoints.reading import weights_in
from footplate.engine.checkpoints.shard_files import INDEX, index_of, read_shards, write_shards
from footplate.engine.checkpoints.shards import Piece, Shape, put_back, take_out
from footplate.engine.checkpoints.tensor_file import write_tensors
from footplate.engine.errors import StateError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")


def written(folder, values=None):
    """A tensor of four rows, which this process has all of."""
    values = torch.arange(8.0).view(4, 2) if values is None else values
    whole = Shape(tuple(values.shape), values.dtype, ("S(0)",))
    write_shards(folder, {"model.weight": Piece(values, (0,) * values.dim(), whole)})
    return values


def huge(entry, size):
    file = entry["chunks"][0]["file"]
    entry.update(shape=size, chunks=[{"offsets": [0, 0], "sizes": size, "file": file}])


def in_two(folder):
    """A second file, with two rows, and an entry of which the first one's are the first two."""
    values = written(folder)
    for number in (0, 1):
        with (folder / f"shards-0000{number}.safetensors").open("wb") as file:
            write_tensors(file, {"model.weight": values[2 * number : 2 * number + 2].clone()})
    spoil(folder, lambda one: one.update(chunks=[half(0), half(1)]))
    return values


def half(number):
    file = f"shards-0000{number}.safetensors"
    return {"offsets": [2 * number, 0], "sizes": [2, 2], "file": file}


def spoil(folder, change):
    entries = json.loads((folder / INDEX).read_text())
    change(entries["model.weight"])
    (folder / INDEX).write_text(json.dumps(entries))


@pytest.mark.covers("I2")
@pytest.mark.parametrize(
    "values",
    [
        torch.tensor(3.0),
        torch.zeros(0, 3),
        torch.arange(5, dtype=torch.int64),
        torch.randn(3, 2, dtype=torch.bfloat16),
        torch.randn(2, 2, 2, 2),
    ],
)
def test_what_is_written_is_read(tmp_path, values):
    written(tmp_path, values)
    (name, whole), *_ = index_of(tmp_path).items()
    assert (name, whole.size, whole.dtype) == ("model.weight", tuple(values.shape), values.dtype)
    into = torch.empty(values.shape, dtype=values.dtype)
    read_shards(tmp_path, {name: into})
    assert torch.equal(into, values)


@pytest.mark.covers("G7")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one["chunks"][0].update(file="../shards-00000.safetensors"), "no file"),
        (lambda one: one["chunks"][0].update(file="/etc/passwd"), "no file"),
        (lambda one: one["chunks"][0].update(file="model.safetensors"), "no file"),
        (lambda one: one.update(shape=[8, 2]), "of a tensor of 16 numbers there are 8"),
        (lambda one: one["chunks"].append(one["chunks"][0]), "has one piece"),
        (lambda one: huge(one, [10**12, 2]), "too small"),
        (lambda one: huge(one, [2**62, 8]), "no tensor is as large"),
        (lambda one: one.update(shape=[2**62, 8, 0], chunks=[]), "no tensor is as large"),
        (lambda one: one["chunks"][0].update(offsets=[1, 0]), "is not in a tensor"),
        (lambda one: one["chunks"][0].update(offsets=[-1, 0]), "are no sizes"),
        (lambda one: one.update(shape="big"), "are no sizes"),
        (lambda one: one.update(dtype="load"), "there is no type 'load'"),
        (lambda one: one.pop("chunks"), "chunks"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(tmp_path, change, told):
    written(tmp_path)
    spoil(tmp_path, change)
    with pytest.raises(StateError, match=told):
        index_of(tmp_path)
    with pytest.raises(StateError, match=told):
        read_shards(tmp_path, {"model.weight": torch.empty(4, 2)})


@pytest.mark.covers("G7")
def test_pieces_that_overlap_are_refused(tmp_path):
    values, into = in_two(tmp_path), torch.empty(4, 2)
    read_shards(tmp_path, {"model.weight": into})
    assert torch.equal(into, values)
    spoil(tmp_path, lambda one: one["chunks"][1].update(offsets=[0, 0]))
    with pytest.raises(StateError, match=r"pieces at \[0, 0\] and \[0, 0\] overlap"):
        index_of(tmp_path)


@pytest.mark.covers("G7")
def test_numbers_of_another_type_than_the_index_says_are_refused(tmp_path):
    written(tmp_path)
    spoil(tmp_path, lambda one: one.update(dtype="int32"))
    with pytest.raises(StateError, match=r"has float32 \[4, 2\], and shards.json says int32"):
        read_shards(tmp_path, {"model.weight": torch.empty(4, 2, dtype=torch.int32)})


@pytest.mark.covers("G7")
def test_a_file_that_the_checkpoint_does_not_have_is_not_read(tmp_path):
    in_two(tmp_path)
    with (tmp_path / "model.safetensors").open("wb") as file:
        write_tensors(file, {"c": torch.ones(1)})
    files = [INDEX, "model.safetensors", "shards-00000.safetensors"]
    with pytest.raises(StateError, match=r"'shards-00001.safetensors' is no file of pieces"):
        weights_in(tmp_path, files)


@pytest.mark.covers("G7")
@pytest.mark.parametrize(
    ("left", "told"), [({}, "speaks of no tensor"), ({"model.a"}, "does not speak of 'model.b'")]
)
def test_weights_are_not_read_by_an_index_that_leaves_some_out(tmp_path, left, told):
    whole = Shape((2,), torch.float32, ("S(0)",))
    pieces = {f"model.{name}": Piece(torch.randn(2), (0,), whole) for name in "ab"}
    files = write_shards(tmp_path, pieces)
    with (tmp_path / "model.safetensors").open("wb") as file:
        write_tensors(file, {"c": torch.ones(1)})
    entries = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps({name: entries[name] for name in left}))
    with pytest.raises(StateError, match=told):
        weights_in(tmp_path, [*files, "model.safetensors"])


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", [INDEX, "shards-00000.safetensors"])
def test_no_pickle_is_ever_read(tmp_path, name, capsys):
    written(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(StateError, match="is not as it was written"):
        read_shards(tmp_path, {"model.weight": torch.empty(4, 2)})
    assert capsys.readouterr().out == ""


@pytest.mark.covers("G7")
def test_a_file_that_has_less_than_its_index_says_is_refused(tmp_path):
    written(tmp_path)
    with (tmp_path / "shards-00000.safetensors").open("wb") as file:
        write_tensors(file, {"model.other": torch.ones(1)})
    with pytest.raises(StateError, match=r"shards-00000\.safetensors is not as it was written"):
        read_shards(tmp_path, {"model.weight": torch.empty(4, 2)})


def test_a_tensor_that_is_not_there_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(StateError, match="missing"):
        read_shards(tmp_path, {"model.missing": torch.empty(4, 2)})


@pytest.mark.covers("G8")
def test_tensors_that_are_one_are_written_once(tmp_path):
    values = torch.randn(1000)
    whole = Shape((1000,), torch.float32, ("S(0)",))
    pieces = {name: Piece(values, (0,), whole) for name in ("model.a", "model.b")}
    files = write_shards(tmp_path, pieces)
    assert files["shards-00000.safetensors"][0] < 2 * values.nbytes
    with (tmp_path / "model.safetensors").open("wb") as file:
        write_tensors(file, {"c": torch.ones(1)})
    names = [*files, "model.safetensors"]
    found = weights_in(tmp_path, names)
    assert torch.equal(found["a"], values)
    assert torch.equal(found["b"], values)


def test_a_note_stands_in_place_of_what_is_taken_out():
    tree = {"a": [{"footplate.shard": "x"}, 3], "b": ({"footplate.shard": "y"},)}
    assert put_back(tree, {"x": 1, "y": 2}.__getitem__) == {"a": [1, 3], "b": (2,)}
    assert take_out({"a": torch.ones(1)}, "state")[1] == {}
