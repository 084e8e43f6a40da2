"""The walk over nested batches: same shape out, nothing changed, differences named."""

from __future__ import annotations

import copy
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from footplate.engine.nested import leaves, map_nested

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Sample:
    image: Any
    label: Any
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    image: Any


class Named(list):
    """A list that knows its name."""

    def __init__(self, name: str, values: Any) -> None:
        super().__init__(values)
        self.name = name


class Closed(Mapping):
    """A mapping whose constructor takes something else."""

    def __init__(self, *, values: dict) -> None:
        self.values_ = values

    def __getitem__(self, key: Any) -> Any:
        return self.values_[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


LEAVES = st.none() | st.integers() | st.text(max_size=3) | st.frozensets(st.integers(), max_size=2)
KEYS = st.integers() | st.text(max_size=3)


def _containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    dicts = st.dictionaries(KEYS, inner, max_size=3)
    lists = st.lists(inner, max_size=3)
    return (
        dicts
        | lists
        | dicts.map(OrderedDict)
        | dicts.map(lambda one: defaultdict(list, one))
        | dicts.map(UserDict)
        | lists.map(tuple)
        | st.builds(Pair, inner, inner)
        | st.builds(Sample, inner, inner)
        | st.builds(Frozen, inner)
    )


NESTS = st.recursive(LEAVES, _containers, max_leaves=12)


@given(NESTS)
def test_mapping_the_identity_gives_the_same_of_other_containers(nest):
    before = copy.deepcopy(nest)
    mapped = map_nested(lambda one: one, nest)
    assert mapped == nest == before
    assert type(mapped) is type(nest)
    pairs = zip(leaves(mapped), leaves(nest), strict=True)
    assert all(one is other for (_, one), (_, other) in pairs)
    if list(leaves(nest)) != [("", nest)]:
        assert mapped is not nest or nest == ()


@given(NESTS)
def test_what_goes_through_comes_out_in_the_order_of_the_leaves(nest):
    seen = []
    numbered = map_nested(lambda one: seen.append(one) or len(seen), nest)
    there = [one for _, one in leaves(nest)]
    assert len(seen) == len(there)
    assert all(one is other for one, other in zip(seen, there, strict=True))
    assert [number for _, number in leaves(numbered)] == list(range(1, len(seen) + 1))
    back = map_nested(lambda number: seen[number - 1], numbered)
    assert back == nest


@given(NESTS)
def test_paths_are_unique_and_lead_to_the_leaves_side_by_side(nest):
    paths = [path for path, _ in leaves(nest)]
    shown = map_nested(lambda one, other: (one is other,), nest, nest)
    if paths:
        assert all(same for _, same in leaves(shown))
        assert [path.removesuffix("[0]") for path, _ in leaves(shown)] == paths


def test_paths_read_as_one_would_write_them():
    nest = {"images": {"left": [1]}, 3: Pair(2, Sample(4, (5,))), "a b": 6}
    assert [path for path, _ in leaves(nest)] == [
        "images.left[0]",
        "[3].left",
        "[3].right.image",
        "[3].right.label[0]",
        "[3].right.size",
        "['a b']",
    ]


def test_types_are_kept_with_what_they_know():
    counted = map_nested(str, defaultdict(list, a=1))
    assert counted["missing"] == []
    named = map_nested(str, Named("x", [1, 2]))
    assert (named, named.name, type(named)) == (["1", "2"], "x", Named)
    fixed = map_nested(str, MappingProxyType({"a": 1}))
    assert (fixed, type(fixed)) == ({"a": "1"}, MappingProxyType)
    assert type(map_nested(lambda one: one, torch.Size([2, 3]))) is torch.Size


def test_types_that_cannot_be_rebuilt_become_plain():
    closed = Closed(values={"a": 1})
    assert map_nested(str, closed) == {"a": "1"}
    assert dict(closed) == {"a": 1}
    assert map_nested(str, torch.Size([2, 3])) == ("2", "3")


def test_a_dataclass_is_neither_initialised_again_nor_changed():
    sample = Sample(image=1, label=2)
    sample.size, sample.note = 5, "kept"
    mapped = map_nested(lambda one: one * 10, sample)
    assert (mapped.image, mapped.label, mapped.size, mapped.note) == (10, 20, 50, "kept")
    assert (sample.image, sample.label, sample.size) == (1, 2, 5)
    assert map_nested(lambda one: one * 10, Frozen([1])) == Frozen([10])
    unset = object.__new__(Sample)
    unset.image = unset.label = 1
    assert not hasattr(map_nested(str, unset), "size")


def test_a_class_is_a_leaf():
    assert map_nested(lambda one: one, [Sample]) == [Sample]


def test_only_leaves_of_the_kind_are_touched():
    nest = {"x": [torch.ones(1), "name", 3], "y": (None, 4.0)}
    mapped = map_nested(lambda one: one * 2, nest, kind=(int, float))
    assert mapped == {"x": [nest["x"][0], "name", 6], "y": (None, 8.0)}
    assert mapped["x"][0] is nest["x"][0]
    assert [path for path, _ in leaves(nest, kind=torch.Tensor)] == ["x[0]"]


def test_the_walk_stops_at_the_kind_even_if_it_is_a_container():
    packed = pack_sequence([torch.ones(2)])
    assert map_nested(type, {"x": packed}, kind=PackedSequence) == {"x": PackedSequence}
    assert map_nested(len, {"x": [1, 2], "y": 3}, kind=list) == {"x": 2, "y": 3}
    nest = {"x": [1, 2], "y": (3,)}
    assert map_nested(repr, nest, kind=(list, object)) == {"x": "[1, 2]", "y": ("3",)}


def test_mappings_side_by_side_go_by_key_and_not_by_order():
    assert map_nested(lambda a, b: a - b, {"a": 1, "b": 2}, {"b": 1, "a": 1}) == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (({"x": [(1, 2)]}, {"x": [(1,)]}), r"at x\[0\]: a tuple of 2 in .* a tuple of 1 in struct"),
        (({"x": 1}, {"y": 1}), r"at the top: a dict with 'x' in the first, a dict with 'y'"),
        (({"x": 1}, {}), r"a dict with nothing in structure 2"),
        (([1], (1,)), r"at the top: a list of 1 in the first, a tuple of 1"),
        (([1], [[1]]), r"at \[0\]: a leaf of type int in the first, a list of 1"),
        (([[1]], [1]), r"at \[0\]: a list of 1 in the first, a leaf of type int"),
        (([1], [1], [1, 2]), r"a list of 2 in structure 3"),
        ((Pair(1, 2), (1, 2)), r"a Pair with 'left', 'right' in the first, a tuple of 2"),
        ((Sample(1, 2), Frozen(1)), r"a Sample with 'image', 'label', 'size' .* a Frozen with"),
    ],
)
def test_shapes_that_differ_are_named_with_their_place(others, message):
    with pytest.raises(ValueError, match=message):
        map_nested(lambda *_: None, *others)
