"""Computations that several processes share: what they hand in arrives, and nobody is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.distributed.exchanging import WIDE
from tests.distributed.launching import Ranks

World = Callable[[int], Ranks]
HERE = "tests.distributed.exchanging"

pytestmark = pytest.mark.covers("E4")


def agreed(told: list[Any]) -> Any:
    assert all(one == told[0] for one in told), told
    return told[0]


def test_sums_are_exact_on_their_way_and_by_hand(world: World):
    whole, wide, mixed, half, several, flags, uneven, coarse, small = agreed(
        world(2).call(f"{HERE}:summed", None)
    )
    assert whole == [[3], 2]
    assert wide == [[2 * WIDE], 2]
    assert mixed == [[WIDE + 3], 2]
    assert half == [[1.5], 2]
    assert several[0][:2] == [3, [[3] * 3] * 2]
    assert several[0][2] == pytest.approx([0.2] * 5000)
    assert flags == [[[True, True]], 2]
    assert uneven == [[[2.0, 2.0]], 2]
    assert (coarse, small) == ([[[3.0] * 3], 2], [[3], 2])


@pytest.mark.parametrize("idle", [0, 1, 2])
def test_who_has_nothing_to_add_is_told_the_sums_of_the_others(world: World, idle: int):
    told = agreed(world(3).call(f"{HERE}:summed", idle))
    assert told[0] == [[6 - (idle + 1)], 2]
    assert told[1] == [[2 * WIDE], 2]
    assert told[3] == [[0.5 * (6 - (idle + 1))], 2]


def test_sums_are_of_the_type_of_what_is_added(world: World):
    types = ["torch.bfloat16", "torch.int32", "torch.float64"]
    assert agreed(world(2).call(f"{HERE}:dtypes")) == types


def test_values_of_any_length_and_kind_arrive(world: World):
    told = agreed(world(3).call(f"{HERE}:handed_in"))
    assert told == [["x" * 700 * n, [], [[float(n)]], 1.5, [n]] for n in range(3)]
    assert agreed(world(3).call(f"{HERE}:messages"))


def test_all_have_what_the_first_that_takes_part_has_computed(world: World):
    assert agreed(world(3).call(f"{HERE}:disagreeing")) == "of 1"


@pytest.mark.parametrize("how", ["handed in", "computed"])
def test_what_can_not_be_told_is_an_error_on_all(world: World, how: str):
    told = world(2).call(f"{HERE}:failing", how)
    assert set(told) <= {"PicklingError", "AttributeError"}, told
