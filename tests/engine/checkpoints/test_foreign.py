"""Weights are found in the files of other programs, and no file runs code."""

from __future__ import annotations

import json
import os
import pickle
import random
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from footplate.engine.checkpoints import foreign
from footplate.engine.checkpoints.foreign import ALLOWED, read_weights_file
from footplate.engine.checkpoints.tensor_file import write_weights
from footplate.engine.errors import StateError

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts" / "foreign"
ABOUT = json.loads((CONTRACTS / "about.json").read_text())
STATE = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}


def same(read: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> bool:
    return read.keys() == expected.keys() and all(
        torch.equal(read[name], value) for name, value in expected.items()
    )


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


class Global:
    """Pickled as whatever has this name, without that it has to be there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:  # for pickle, which asks whether it could be called
        raise AssertionError


class Call:
    """Pickled as the call of a function, the state set by BUILD behind it if there is any."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


class RawPickler(pickle._Pickler):
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            module, _, name = obj.name.rpartition(".")
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        else:
            super().save(obj, save_persistent_id)


RAW = types.SimpleNamespace(Pickler=RawPickler, __name__="raw")


# ------------------------------------------------------------------ what others write


@pytest.mark.covers("G6")
@pytest.mark.parametrize("name", ["lightning.ckpt", "mmengine.pth"])
def test_what_the_libraries_themselves_wrote_is_read(name):
    expected = {key: torch.tensor(value) for key, value in ABOUT["weights"][name].items()}
    assert same(read_weights_file(CONTRACTS / name), expected)


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", ["lightning.ckpt", "mmengine.pth"])
def test_they_hold_what_torch_does_not_read_by_itself(name):
    with pytest.raises(pickle.UnpicklingError, match="was not an allowed global"):
        torch.load(CONTRACTS / name, weights_only=True)


@pytest.mark.covers("G6")
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"model": STATE, "optimizer": {"state": {0: {"step": torch.tensor(1)}}}},
        {"model_state_dict": STATE, "loss": 0.5},
        {"state_dict": STATE, "model": "resnet18"},
        {name: torch.nn.Parameter(value) for name, value in STATE.items()},
    ],
    ids=["plain", "ordered", "state_dict", "model", "model_state_dict", "model's name", "params"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_found(tmp_path, content, zipped):
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=zipped)
    read = read_weights_file(path)
    assert same(read)
    assert not any(value.requires_grad for value in read.values())


@pytest.mark.covers("G6")
def test_a_weight_may_bear_the_name_of_a_wrapper(tmp_path):
    state = {"model": torch.ones(2), "state_dict": torch.zeros(1)}
    assert same(read_weights_file(saved(tmp_path / "a.pth", state)), state)


@pytest.mark.covers("G6")
def test_one_piece_of_memory_stays_one(tmp_path):
    weight = torch.ones(3)
    read = read_weights_file(saved(tmp_path / "a.pth", {"a": weight, "b": weight}))
    assert read["a"].data_ptr() == read["b"].data_ptr()


@pytest.mark.covers("G8")
@pytest.mark.parametrize("name", ["weights.safetensors", "download"])
def test_safetensors_of_others_are_read_whatever_they_are_called(tmp_path, name):
    save_file(STATE, tmp_path / name)
    assert same(read_weights_file(tmp_path / name))


@pytest.mark.covers("G8")
def test_a_checkpoint_of_ours_and_a_model_folder_are_read(tmp_path):
    with pytest.raises(StateError, match=r"has no model.safetensors; give the file"):
        read_weights_file(tmp_path)
    model = torch.nn.Linear(2, 1)
    write_weights(model, tmp_path / "model.safetensors")
    assert same(read_weights_file(tmp_path), model.state_dict())
    assert same(read_weights_file(tmp_path / "model.safetensors"), model.state_dict())
    assert read_weights_file(CONTRACTS.parent / "format_1")


def write_sharded(folder: Path, **named: Any) -> None:
    save_file({"weight": STATE["weight"]}, folder / "model-00001-of-00002.safetensors")
    save_file({"bias": STATE["bias"]}, folder / "model-00002-of-00002.safetensors")
    names = {"weight": "model-00001-of-00002.safetensors"}
    names |= {"bias": "model-00002-of-00002.safetensors"} | named
    index = {"metadata": {"total_size": 12}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.covers("G8")
def test_a_model_in_several_files_is_read(tmp_path):
    write_sharded(tmp_path)
    assert same(read_weights_file(tmp_path))
    assert same(read_weights_file(tmp_path / "model.safetensors.index.json"))


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/secret.safetensors", ".."])
def test_an_index_reads_nothing_elsewhere(tmp_path, name):
    save_file({"head": torch.ones(1)}, tmp_path / "secret.safetensors")
    (tmp_path / "model").mkdir()
    write_sharded(tmp_path / "model", head=name)
    with pytest.raises(StateError, match="which is not beside it"):
        read_weights_file(tmp_path / "model")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": 3}', "{}", "\x00", '{"weight_map": {"a": 1}}']
)
def test_what_is_no_index_is_refused(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(StateError, match=r"index.json is no index"):
        read_weights_file(tmp_path)


@pytest.mark.covers("G6")
def test_map_location_is_where_weights_are_put(tmp_path):
    path = saved(tmp_path / "a.pth", STATE)
    assert read_weights_file(path, torch.device("meta"))["weight"].device.type == "meta"
    with pytest.raises(RuntimeError, match="nowhere"):
        read_weights_file(path, "nowhere")


# ------------------------------------------------------------------ what is allowed


STAND_INS = {foreign._LeftOut, foreign._Mapping, foreign._Sequence}
STAND_IN_OF = {name: one for names in ALLOWED.values() for name, one in names.items()}


@pytest.mark.covers("G7")
def test_only_stand_ins_are_allowed_and_they_do_nothing():
    assert set(STAND_IN_OF.values()) <= STAND_INS
    made = foreign._LeftOut(print, "said")
    made.__setstate__({"__class__": dict, "x": 1})
    assert vars(made) == {}
    assert foreign._Mapping(print, {"a": 1}) == {}
    assert foreign._Sequence("abc") == []


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", STAND_IN_OF)
def test_every_allowed_name_may_stand_beside_the_weights(tmp_path, name):
    one = Global(name)
    beside = [one, Call(one), Call(one, "x", 1), {one: 1}]
    if STAND_IN_OF[name] is foreign._LeftOut:
        beside.append(Call(one, state={"a": 1}))
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "other": beside}, pickle_module=RAW)
    assert same(read_weights_file(path))


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", ["builtins.getattr", "numpy.ndarray", "collections.defaultdict"])
def test_what_is_allowed_is_no_weight(tmp_path, name):
    content = {"state_dict": STATE | {"other": Call(Global(name))}}
    with pytest.raises(StateError, match="'other' in it is a "):
        read_weights_file(saved(tmp_path / "a.pth", content, pickle_module=RAW))


@pytest.mark.covers("G7")
def test_what_a_program_allows_for_itself_is_neither_used_nor_lost(tmp_path):
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "other": Own()})
    with torch.serialization.safe_globals([Own]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(StateError, match=r"names '.*Own'"):
            read_weights_file(path)
        read_weights_file(CONTRACTS / "mmengine.pth")
        assert set(torch.serialization.get_safe_globals()) == before
        assert isinstance(torch.load(path, weights_only=True)["other"], Own)


class Own:
    """Something that a program may allow for itself."""


# ------------------------------------------------------------------ what is refused


CANARY = "canary"


class Evil:
    """Writes a file when it is unpickled, by one function or another."""

    def __init__(self, folder: Path, how: str) -> None:
        self.folder, self.how = folder, how

    def __reduce__(self) -> tuple[Any, ...]:
        file = str(self.folder / CANARY)
        if self.how == "os.system":
            return os.system, (f"touch '{file}'",)
        if self.how == "exec":
            return exec, (f"open({file!r}, 'w').close()",)
        return Path.touch, (Path(file),)


HOW = ["os.system", "exec", "Path.touch"]


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / CANARY
    assert not (tmp_path / CANARY).exists(), "code ran"


@pytest.mark.parametrize("how", HOW)
def test_the_canary_does_sing_where_pickles_may_run(tmp_path, how):
    torch.load(saved(tmp_path / "a.pth", Evil(tmp_path, how)), weights_only=False)
    assert (tmp_path / CANARY).exists()


PLACES = {
    "whole": lambda evil: evil,
    "in a plain state dict": lambda evil: STATE | {"head": evil},
    "as a name": lambda evil: {"state_dict": {evil: torch.ones(1)}},
    "beside the weights": lambda evil: {"state_dict": STATE, "epoch": evil},
    "in hyper-parameters": lambda evil: {
        "state_dict": STATE,
        "pytorch-lightning_version": "2.6.6",
        "hyper_parameters": {"lr": 0.1, "namespace": types.SimpleNamespace, "evil": evil},
    },
    "in callbacks": lambda evil: {"state_dict": STATE, "callbacks": {"ModelCheckpoint": evil}},
    "in a message hub": lambda evil: {
        "meta": {"cfg": ""},
        "state_dict": STATE,
        "message_hub": {"log_scalars": {"train/loss": evil}},
    },
}


@pytest.mark.covers("G7")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("place", PLACES)
def test_no_place_in_a_file_runs_code(tmp_path, canary, place, how, zipped):
    content = PLACES[place](Evil(tmp_path, how))
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(StateError, match=r"a\.pth is refused, as it names '\S+'") as caught:
        read_weights_file(path)
    assert "weights_only" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.covers("G7")
def test_what_is_allowed_gives_no_way_to_what_is_not(tmp_path, canary):
    """A chain that would run code if any of these names were the real thing."""
    getattr_, partial = Global("builtins.getattr"), Global("functools.partial")
    defaultdict = Global("collections.defaultdict")
    history = Global("mmengine.logging.history_buffer.HistoryBuffer")
    module = Call(getattr_, Call(getattr_, history, "__init__"), "__globals__")
    run = Call(getattr_, Call(getattr_, Call(getattr_, module, "get"), "__self__"), "exec")
    beside = [run, Call(partial, run, f"open({str(canary)!r}, 'w')"), Call(defaultdict, run)]
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "o": beside}, pickle_module=RAW)
    assert same(read_weights_file(path))


@pytest.mark.covers("G7")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_a_pickle_in_place_of_another_file_does_not_run(tmp_path, canary, name, how):
    saved(tmp_path / name, Evil(tmp_path, how))
    with pytest.raises(StateError, match="is no "):
        read_weights_file(tmp_path)


@pytest.mark.covers("G7")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_is_refused(tmp_path, canary, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Evil(tmp_path, "exec"), protocol=protocol))
    with pytest.raises(StateError, match=r"a\.pkl "):
        read_weights_file(path)


@pytest.mark.covers("G7")
def test_a_whole_model_is_refused_with_what_to_do(tmp_path):
    path = saved(tmp_path / "a.pth", torch.nn.Linear(2, 1))
    with pytest.raises(StateError, match=r"'torch.nn.modules.linear.Linear'.*state_dict\(\)"):
        read_weights_file(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_what_to_do(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1), torch.ones(1, 2)), tmp_path / "a.pt")
    with pytest.raises(StateError, match=r"program of TorchScript.*torch.jit.load"):
        read_weights_file(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "no weights by name, but a list"),
        (torch.ones(1), "no weights by name, but a Tensor"),
        ({"epoch": 3}, "'epoch' in it is a int"),
        ({"net": STATE}, "'net' in it is a dict"),
        ({1: torch.ones(1)}, "1 in it is a Tensor"),
        ({"state_dict": STATE | {"_extra_state": {"a": 1}}}, "'_extra_state' in it is a dict"),
    ],
)
def test_what_holds_no_state_dict_is_refused(tmp_path, content, said):
    with pytest.raises(StateError, match=rf"a\.pth .*{said}"):
        read_weights_file(saved(tmp_path / "a.pth", content))


@pytest.mark.parametrize(
    "content",
    [b"", b"weights", b"\x80", b"PK\x03\x04", b"12345678{", b"\x1f\x8b\x08" + bytes(99), bytes(99)],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a"])
def test_what_is_no_checkpoint_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StateError, match=rf"{tmp_path / name} (can't be read|is no)"):
        read_weights_file(tmp_path / name)


@pytest.mark.covers("G7")
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # of a damaged one
@pytest.mark.parametrize("name", ["lightning.ckpt", "mmengine.pth"])
def test_damage_is_either_harmless_or_said(tmp_path, name):
    whole, path = (CONTRACTS / name).read_bytes(), tmp_path / name
    expected = read_weights_file(CONTRACTS / name).keys()
    chosen = random.Random(0)
    refused = 0
    for trial in range(300):
        damaged = bytearray(whole)
        if trial % 3:
            damaged[chosen.randrange(len(whole))] ^= 1 << chosen.randrange(8)
        else:
            del damaged[chosen.randrange(len(whole)) :]
        path.write_bytes(damaged)
        try:
            assert len(read_weights_file(path)) == len(expected)
        except StateError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused >= 100


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights_file(tmp_path / "a.pth")
