"""What may be saved, and how little of it is written."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch

from footplate.engine.checkpoints.plain import check_plain, compact, mapped, tensors_of

Pair = namedtuple("Pair", "a b")


class Marked(torch.Tensor):
    pass


def loaded(value: object) -> object:
    file = io.BytesIO()
    torch.save(compact(value), file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


@pytest.mark.covers("G7")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.float64(0.5), "numpy.float64"),
        (np.int64(5), "numpy.int64"),
        (np.bool_(True), "numpy.bool"),
        (np.zeros(3), "numpy.ndarray"),
        (torch.zeros(3).as_subclass(Marked), "Marked"),
        (torch.nn.UninitializedParameter(), "UninitializedParameter"),
        (torch.zeros(3, device="meta"), "meta device"),
        (Pair(1, 2), "Pair"),
        (defaultdict(int), "collections.defaultdict"),
        (frozenset([1]), "builtins.frozenset"),
        (range(3), "builtins.range"),
        (print, "builtins.builtin_function_or_method"),
        (object(), "builtins.object"),
        (int, "builtins.type"),
    ],
)
def test_what_can_not_be_loaded_is_refused_by_its_place(value, said):
    with pytest.raises(TypeError, match=rf"handlers\['mine'\]\[1\] is a .*{said}"):
        check_plain({"mine": [1, value]}, "handlers")


def test_keys_and_attributes_are_looked_at():
    with pytest.raises(TypeError, match=r"a key of state is a numpy\.int64"):
        check_plain({np.int64(3): 1}, "state")
    state = OrderedDict()
    state._metadata = {"version": object()}
    with pytest.raises(TypeError, match=r"state\._metadata\['version'\] is a builtins.object"):
        check_plain(state, "state")


def test_everything_plain_passes_and_loads():
    value = {
        "a": [1, 2.5, True, None, "text", b"bytes", 1j, (1, (2,)), {3}, torch.Size([1])],
        "b": OrderedDict(c=Counter("aab")),
        3: [torch.float16, torch.device("cpu"), torch.nn.Parameter(torch.ones(2))],
        "sparse": torch.eye(3).to_sparse(),
        "empty": torch.zeros(0, 3),
    }
    check_plain(value, "state")
    read = loaded(value)
    assert read["a"] == value["a"]
    assert type(read["b"]["c"]) is Counter
    assert torch.equal(read[3][2], torch.ones(2))
    assert torch.equal(read["sparse"].to_dense(), torch.eye(3))
    assert read["empty"].shape == (0, 3)


def test_the_versions_of_a_modules_state_are_kept():
    state = torch.nn.BatchNorm1d(2).state_dict()
    check_plain(state, "state")
    assert loaded(state)._metadata == state._metadata


def test_graphs_and_marks_are_left_behind():
    weight = torch.ones(2, requires_grad=True)
    grown = weight * 2
    grown.mark = object()
    read = loaded([weight, grown])
    assert [one.requires_grad for one in read] == [False, False]
    assert torch.equal(read[1], torch.full((2,), 2.0))


@pytest.mark.parametrize("few", [lambda one: one[5], lambda one: one[:0], lambda one: one[::1000]])
def test_a_view_does_not_drag_its_storage_along(few):
    large = torch.randn(10**6)
    file = io.BytesIO()
    torch.save(compact({"few": few(large)}), file)
    assert len(file.getvalue()) < 10**4
    assert torch.equal(loaded({"few": few(large)})["few"], few(large))


def test_what_shares_memory_does_so_when_it_is_loaded():
    whole, part = torch.arange(8.0), torch.arange(100.0)[:3]
    assert compact(whole).data_ptr() == whole.data_ptr()  # not copied
    halves = whole[:4], whole[4:]
    read = loaded({"whole": whole, "halves": halves, "part": part, "again": part, "turned": whole.view(2, 4).t()})  # fmt: skip  # noqa: E501
    read["whole"].zero_()
    assert [half.sum() for half in read["halves"]] == [0, 0]
    assert read["turned"].sum() == 0
    read["part"].zero_()
    assert read["again"].sum() == 0


def test_tensors_are_exchanged_wherever_they_are():
    one = torch.ones(1)
    tree = {"a": [one, (one, 3)], "b": OrderedDict(c=one)}
    assert len(list(tensors_of(tree))) == 3
    made = mapped(tree, lambda tensor: tensor + 1)
    assert made == {"a": [torch.tensor([2.0]), (torch.tensor([2.0]), 3)], "b": {"c": torch.tensor([2.0])}}  # fmt: skip  # noqa: E501
    assert one == 1
