"""Files of weights: other tools read them, and models take them whole or not at all."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from footplate.engine.checkpoints.durable import DurableFile
from footplate.engine.checkpoints.loans import lend, take_back
from footplate.engine.checkpoints.tensor_file import (
    WeightsReport,
    load_tensors,
    read_tensors,
    read_weights,
    weights_of,
    write_tensors,
    write_weights,
)
from footplate.engine.errors import StateError

KINDS = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    *(
        getattr(torch, name)
        for name in (
            "uint16",
            "uint32",
            "uint64",
            "float8_e4m3fn",
            "float8_e4m3fnuz",
            "float8_e5m2",
            "float8_e5m2fnuz",
            "float8_e8m0fnu",
        )
        if hasattr(torch, name)
    ),
]


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().resolve_conj().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.dtype, one.shape, bits(one)) == (other.dtype, other.shape, bits(other))


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Of any type and shape, lying in memory in any way."""
    kind = draw(st.sampled_from(KINDS))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    count = torch.Size(shape).numel() * kind.itemsize
    values = torch.tensor(list(draw(st.binary(min_size=count, max_size=count))), dtype=torch.uint8)
    made = (values % 2).bool() if kind is torch.bool else values.view(kind)
    made = made.reshape(shape)
    turn = draw(st.sampled_from(["as it is", "turned", "spread", "conjugate", "parameter"]))
    if turn == "turned" and made.dim() > 1:
        return made.transpose(0, -1)
    if turn == "spread" and made.dim() == 1 and made.numel():
        return made.expand(3, *made.shape)
    if turn == "conjugate" and made.is_complex():
        return made.conj()
    if turn == "parameter" and made.is_floating_point():
        return nn.Parameter(made)
    return made


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable())


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, tensors(), max_size=5), st.data())
@pytest.mark.covers("G8")
def test_what_is_written_is_read_by_the_real_library(written, data):
    known = list(written)
    for name in data.draw(st.lists(NAMES, max_size=3)):  # further names of the same
        if known:
            written.setdefault(name, written[data.draw(st.sampled_from(known))])
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "file").open("wb") as file:
            write_tensors(file, written)
        theirs = safetensors.torch.load_file(Path(folder) / "file")
        ours = read_tensors(Path(folder) / "file")
        assert ours.keys() == written.keys()
        for name, tensor in written.items():
            assert same(ours[name], tensor), name
        for name, tensor in theirs.items():
            assert same(tensor, written[name]), name
        distinct = {id(one) for one in written.values() if one.numel()}
        assert len({name for name in theirs if theirs[name].numel()}) == len(distinct)
        head = (Path(folder) / "file").read_bytes()
        length = int.from_bytes(head[:8], "little")
        assert length % 8 == 0
        said = json.loads(head[8 : 8 + length])["__metadata__"]
        assert "pt" in written or said["format"] == "pt"  # it would be read as a tensor's alias


class Tied(nn.Module):
    """An encoder and a decoder with one weight, as language models have them."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.decoder = nn.Linear(3, 5)
        if tied:
            self.decoder.weight = self.encoder.weight


def other_values(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for number, value in enumerate(model.state_dict().values()):
            value.fill_(number + 3)
    return model


@pytest.mark.covers("G8")
@pytest.mark.parametrize("tied", [True, False])
def test_the_real_library_loads_our_models_and_we_load_its(tmp_path, tied):
    model, other = Tied(tied), other_values(Tied(tied))
    write_weights(model, tmp_path / "ours")
    assert safetensors.torch.load_model(other, tmp_path / "ours") == (set(), [])
    assert all(map(same, other.state_dict().values(), model.state_dict().values()))
    safetensors.torch.save_model(model, tmp_path / "theirs")
    other = other_values(Tied(tied))
    read_weights(other, tmp_path / "theirs")
    assert all(map(same, other.state_dict().values(), model.state_dict().values()))
    assert (other.decoder.weight is other.encoder.weight) == tied
    ours, theirs = (safetensors.torch.load_file(tmp_path / name) for name in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()


def test_tied_weights_are_written_once_and_read_by_both_names(tmp_path):
    write_weights(Tied(), tmp_path / "file")
    assert "encoder.weight" not in safetensors.torch.load_file(tmp_path / "file")
    read = read_tensors(tmp_path / "file")
    assert read["encoder.weight"].data_ptr() == read["decoder.weight"].data_ptr()


def test_pieces_that_overlap_are_written_each_in_full(tmp_path):
    whole = torch.arange(6.0)
    given = {"whole": whole, "begin": whole[:4], "square": whole[2:].view(2, 2), "other": whole.view(2, 3)}  # fmt: skip  # noqa: E501
    with DurableFile(tmp_path / "file") as file:
        write_tensors(file, given)
    theirs = safetensors.torch.load_file(tmp_path / "file")
    assert theirs.keys() == given.keys()
    assert all(same(theirs[name], given[name]) for name in given)


def test_a_name_that_the_mark_of_the_format_has_is_no_other_tensor(tmp_path):
    given = {"pt": torch.ones(1)}
    given["format"] = given["pt"]
    for written in (given, {"pt": given["pt"]}):
        with DurableFile(tmp_path / "file") as file:
            write_tensors(file, written)
        assert read_tensors(tmp_path / "file").keys() == written.keys()


def test_every_tensor_lies_aligned(tmp_path):
    given = {"a": torch.ones(3, dtype=torch.int8), "b": torch.ones(1, dtype=torch.float64)}
    with DurableFile(tmp_path / "file") as file:
        write_tensors(file, {**given, "c": torch.ones(3, dtype=torch.bfloat16)})
    head = (tmp_path / "file").read_bytes()
    header = json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])
    assert {name: header[name]["data_offsets"][0] for name in "abc"} == {"b": 0, "c": 8, "a": 14}


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: torch.eye(2).to_sparse(), "sparse_coo"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.zeros(2, device="meta"), "meta device"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "qint8"),
        (lambda: torch.ones(2, dtype=torch.complex128), "complex128"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (lambda: torch.ones(2).as_subclass(Subclass), "Subclass"),
        (lambda: [1.0], "a list"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_the_format_has_no_place_for_is_refused_by_name(made, said):
    file = io.BytesIO()
    with pytest.raises(TypeError, match=f"'odd.one' is .*{said}"):
        write_tensors(file, {"fine": torch.ones(2), "odd.one": made()})
    assert file.getvalue() == b""


def test_the_formats_own_name_is_refused():
    with pytest.raises(TypeError, match="__metadata__"):
        write_tensors(io.BytesIO(), {"__metadata__": torch.ones(2)})


@pytest.mark.parametrize("size", [0, 4, 30, 100])
def test_a_file_that_is_cut_is_refused_by_name(tmp_path, size):
    write_weights(nn.Linear(3, 3), tmp_path / "file")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:size])
    with pytest.raises(StateError, match="file is no whole file of safetensors"):
        read_tensors(tmp_path / "file")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        read_tensors(tmp_path / "none")


# ---------------------------------------------------------------------- models


class Extra(nn.Linear):
    """A module with state besides its tensors."""

    def __init__(self, extra: object) -> None:
        super().__init__(1, 1)
        self.extra = extra

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        self.extra = state


def test_weights_share_the_models_memory():
    model = Tied()
    weights = weights_of(model)
    assert weights.keys() == model.state_dict().keys()
    assert weights["decoder.weight"].data_ptr() == model.encoder.weight.data_ptr()
    assert not any(value.requires_grad for value in weights.values())


def test_compiled_models_have_the_names_of_others(tmp_path):
    model, compiled = Tied(), torch.compile(other_values(Tied()))
    assert weights_of(compiled).keys() == model.state_dict().keys()
    assert not load_tensors(compiled, weights_of(model))
    assert all(map(same, weights_of(compiled).values(), weights_of(model).values()))


def test_extra_state_that_is_a_tensor_is_a_weight(tmp_path):
    write_weights(Extra(torch.tensor([5])), tmp_path / "file")
    model = Extra(torch.tensor([0]))
    read_weights(model, tmp_path / "file")
    assert model.extra.tolist() == [5]


def test_other_extra_state_is_refused_by_name(tmp_path):
    model = nn.Sequential(Extra({"scale": 3}))
    for write in (weights_of, lambda model: write_weights(model, tmp_path / "file")):
        with pytest.raises(TypeError, match=r"'0\._extra_state' of the model is a dict"):
            write(model)


def test_lazy_weights_have_to_know_their_shape_first():
    lazy = nn.LazyLinear(2)
    with pytest.raises(RuntimeError, match="'weight' has no shape yet"):
        weights_of(lazy)
    assert not load_tensors(lazy, {"weight": torch.ones(2, 3), "bias": torch.ones(2)})
    assert lazy.weight.shape == (2, 3)


def test_lent_weights_are_neither_saved_nor_loaded(tmp_path):
    model, borrower = nn.Linear(2, 1), object()
    weights = weights_of(model)
    lend(model.parameters(), borrower)
    with pytest.raises(RuntimeError, match=r"'weight' of the model holds an averaged.*saved"):
        weights_of(model)
    with pytest.raises(RuntimeError, match="can't be loaded"):
        load_tensors(model, weights)
    write_weights(model, tmp_path / "average")  # what they hold is what is wanted there
    take_back(model.parameters(), object())
    with pytest.raises(RuntimeError, match="averaged"):
        weights_of(model)
    take_back(model.parameters(), borrower)
    assert not load_tensors(model, weights)


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed():
    model = Tied()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {name: value + 1 for name, value in before.items() if not name.startswith("norm.w")}
    given["decoder.bias"] = torch.ones(7)
    given["norm.wieght"] = torch.ones(3)
    given["head"] = torch.ones(())
    with pytest.raises(StateError) as caught:
        load_tensors(model, given)
    assert str(caught.value).splitlines() == [
        "the weights do not fit the Tied:",
        "missing: 'norm.weight' (3,)",
        "unexpected: 'norm.wieght' (3,) Did you mean 'norm.weight'?",
        "unexpected: 'head' ()",
        "mismatched: 'decoder.bias' is (7,) in the weights and (5,) in the model",
    ]
    assert all(same(value, before[name]) for name, value in model.state_dict().items())


def test_what_fits_is_loaded_where_that_is_asked_for():
    model = nn.Linear(2, 1)
    bias = model.bias.clone()
    report = load_tensors(
        model, {"weight": torch.ones(1, 2), "bias": torch.ones(2), "more": torch.ones(1)}, False
    )
    assert report == WeightsReport({}, {"more": (1,)}, {"bias": ((2,), (1,))})
    assert model.weight.tolist() == [[1.0, 1.0]]
    assert torch.equal(model.bias, bias)


def test_a_weight_that_is_tied_to_one_that_is_there_is_not_missing():
    weights = {name: value.clone() for name, value in weights_of(Tied()).items()}
    for name in ("encoder.weight", "decoder.weight"):
        fewer = {other: value for other, value in weights.items() if other != name}
        assert not load_tensors(Tied(), fewer)
        assert list(load_tensors(Tied(tied=False), fewer, strict=False).missing) == [name]


def test_types_and_devices_are_the_models():
    model = nn.Linear(2, 1).to(torch.bfloat16)
    load_tensors(model, {"weight": torch.ones(1, 2), "bias": torch.zeros(1, dtype=torch.float64)})
    assert model.weight.dtype == model.bias.dtype == torch.bfloat16
    assert model.weight.tolist() == [[1.0, 1.0]]


class Choosy(nn.Linear):
    """A module that refuses weights in its own way."""

    def _load_from_state_dict(self, state, prefix, *rest):
        rest[-1].append("too cold")


def test_a_module_that_refuses_is_heard():
    with pytest.raises(StateError, match="too cold"):
        load_tensors(Choosy(1, 1), {"weight": torch.ones(1, 1), "bias": torch.ones(1)})
