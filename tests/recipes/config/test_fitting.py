"""Plain values fit annotations, become what these say, or are refused with what is asked for."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from enum import Enum, IntEnum
from numbers import Real
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from footplate.recipes.config.finding import TypeNotFound
from footplate.recipes.config.fitting import Fitting, Made, Misfit

pytestmark = pytest.mark.covers("H3")

T = TypeVar("T")
Size = NewType("Size", int)


class Mode(Enum):
    MIN = "min"
    MAX = "max"


class Level(IntEnum):
    LOW = 1


class Shaped(Protocol):
    shape: int


class Options(TypedDict):
    lr: float


class Pair(NamedTuple):
    a: int


class Box(Generic[T]): ...


@dataclass
class Plan:
    a: int


def find(name):
    if name == "known":
        return print
    raise TypeNotFound(name, "there is none", " Did you mean 'known'?")


fit = Fitting(find)
tensor = torch.ones(1)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, int),
        (1, float),
        (1.5, float),
        (1, complex),
        (1, Real),
        (True, bool),
        ("a", str),
        (None, None),
        (None, Optional[int]),  # noqa: UP045
        (1, Union[int, str]),  # noqa: UP007
        ("a", int | str),
        ("a", Path | str),
        (0.1, float | torch.Tensor),
        (tensor, float),  # an object is taken to be right
        (np.float32(1), int),
        ([1, 2], list[int]),
        ([1, 2], Sequence[float]),
        ([], list[int]),
        ([[1], []], list[list[int]]),
        ("ab", Iterable[str]),
        ({"a": 1}, dict[str, int]),
        ({"a": [1]}, Mapping[str, Sequence[int]]),
        ({"a": 1}, dict),
        ({"a": 1}, object),
        ({"a": 1}, Plan),
        ({"lr": 1}, Options),
        (OrderedDict(a=1), OrderedDict),
        ({"a": 1}, OrderedDict),
        ([{"params": [tensor]}], Iterable[torch.Tensor] | Iterable[dict[str, Any]]),
        ("min", Literal["min", "max"]),
        (3, Annotated[int, "a note"]),
        (3, Final[int]),
        (3, InitVar(int)),
        (3, Size),
        (3, Any),
        ([False, {"a": [1]}], list[Any]),
        ("x", T),
        ("x", "NotHere"),
        ("x", Shaped),
        ("cuda:0", torch.device),
        ([1, 2], Dataset),
        (print, Callable[..., None]),
        ({"a": 1}, Box[int] | dict),
        (Made({}, None), int),
        (Made({}, bool), int),
        (Made({}, int), float),
        (Made({}, torch.nn.Linear), torch.nn.Module),
    ],
)
def test_what_fits_stays_as_it_is(value, hint):
    found = fit(value, hint)
    assert found is value or (type(found) is type(value) and found == value)


@pytest.mark.parametrize(
    ("value", "hint", "becomes"),
    [
        ("a/b", Path, Path("a/b")),
        ("a/b", Path | None, Path("a/b")),
        ("a/b", os.PathLike, Path("a/b")),
        ([1, 2], tuple[int, int], (1, 2)),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([], tuple[()], ()),
        ([1, "a"], tuple, (1, "a")),
        ([1, 1], set[int], {1}),
        ([1, 1], frozenset[int], frozenset({1})),
        ([["a"]], list[tuple[Path, ...]], [(Path("a"),)]),
        ({"a": ["b"]}, dict[str, tuple[str, ...]], {"a": ("b",)}),
        ("min", Mode, Mode.MIN),
        ("MAX", Mode | None, Mode.MAX),
        (1, Level, Level.LOW),
        ("known", Callable[..., None], print),
        ("known", Callable | None, print),
        ("known", type[Mode], print),
    ],
)
def test_plain_values_become_what_the_annotation_says(value, hint, becomes):
    found = fit(value, hint)
    assert found == becomes
    assert type(found) is type(becomes)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, int, "a whole number"),
        (1.5, int, "a whole number"),
        ("1", int, "a whole number"),
        (None, int, "a whole number"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        (1, str, "a text"),
        (1, None, "null"),
        ("fast", float | None, "a number or null"),
        ("fast", float | torch.Tensor, "a number or a Tensor"),
        (3, torch.nn.Module, "a Module"),
        ([1], torch.Tensor, "a Tensor"),
        ({"a": 1}, torch.Tensor, "a Tensor"),
        (3, Path, "a path"),
        ("a", list[str], "a list of texts"),
        ({"a": 1}, list[int], "a list of whole numbers"),
        ([1], dict[str, int], "a mapping"),
        (3, dict, "a mapping"),
        ([1], str, "a text"),
        ([1, 2, 3], tuple[int, int], "a list of 2 whole numbers"),
        ([[1]], set, "a list"),
        ("mean", Mode, "'min' or 'max'"),
        (2, Level, "1"),
        ("mn", Literal["min", "max"], "'min' or 'max'"),
        (True, Literal[1], "1"),
        (3, Callable[[int], int], "a callable"),
        ("gone", Callable | None, "a callable or null"),
        (3, type[Mode], "a class"),
        (Made({}, torch.nn.Linear), float, "a number"),
        (Made({}, torch.nn.Linear), list[int], "a list"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_asked_for(value, hint, expected):
    with pytest.raises(Misfit) as caught:
        fit(value, hint)
    assert caught.value.expected == expected


@pytest.mark.parametrize(
    ("value", "hint", "steps"),
    [
        ([1, "a"], list[int], (1,)),
        ([1, "a"], list[int] | None, (1,)),
        ({"a": [1, None]}, dict[str, list[int]], ("a", 1)),
        ([0.9, "a"], tuple[float, float], (1,)),
        (["a", 1], list[int] | list[str], ()),  # either could be meant
    ],
)
def test_the_place_within_a_value_is_told(value, hint, steps):
    with pytest.raises(Misfit) as caught:
        fit(value, hint)
    assert caught.value.steps == steps


@pytest.mark.parametrize(
    ("value", "hint", "told"),
    [
        ("0.1", float, " Write 0.1, without quotes."),
        ("0.1", float | None, " Write 0.1, without quotes."),
        (1000.0, int, " Write 1000."),
        ("true", bool, " Write true, without quotes."),
        ("mn", Literal["min", "max"], " Did you mean 'min'?"),
        ("maxx", Mode, " Did you mean 'max'?"),
        ("gone", Callable, " Did you mean 'known'?"),
        ("fast", float, ""),
    ],
)
def test_what_was_meant_is_told_where_it_is_plain(value, hint, told):
    with pytest.raises(Misfit) as caught:
        fit(value, hint)
    assert caught.value.hint == told


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
hints = st.recursive(
    st.sampled_from([int, float, str, bool, None, Path, Mode, Any, torch.nn.Module, Callable]),
    lambda inner: (
        inner.map(lambda one: list[one])
        | inner.map(lambda one: tuple[one, ...])
        | inner.map(lambda one: dict[str, one])
        | st.tuples(inner, inner).map(lambda both: Union[both])  # noqa: UP007
    ),
    max_leaves=4,
)


@given(plain, hints)
def test_a_value_fits_or_is_a_misfit_and_fits_again(value, hint):
    try:
        found = fit(value, hint)
    except Misfit:
        return
    assert repr(fit(found, hint)) == repr(found)
