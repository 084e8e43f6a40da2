"""Predictions of several processes stand in the order of the data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.distributed import dealing
from tests.distributed.launching import Ranks

World = Callable[[int], Ranks]
HERE = "tests.distributed.dealing"

pytestmark = pytest.mark.covers("B7")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_they_are_those_of_one_process_for_any_number_of_samples(world: World, size: int):
    examples = [[n, n % 7 + 1] for n in range(51)]
    alone = dealing.predictions(examples, "exact", "all")
    for told in world(size).call(f"{HERE}:predictions", examples, "exact", "all"):
        assert told == alone


def test_samples_that_come_twice_are_left_out(world: World):
    examples = [[n, 2] for n in range(1, 12)]
    alone = dealing.predictions(examples, "exact", "all")
    for told in world(3).call(f"{HERE}:predictions", examples, "padded", "all"):
        assert told == alone


def test_they_may_go_to_the_first_process_alone(world: World):
    first, second = world(2).call(f"{HERE}:predictions", [[5, 2]], "exact", "first")
    assert first == dealing.predictions([[5, 2]], "exact", "all")
    assert second == [None]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_writer_is_told_where_in_the_data_set_the_samples_are(
    world: World, size: int, padded: bool
):
    told = world(3).call(f"{HERE}:written", size, 2, padded)
    found: dict[int, Any] = {}
    for share in told:
        assert [number for number, _, _ in share] == list(range(len(share)))
        for _, indices, outputs in share:
            assert len(indices) == len(outputs)
            found.update(zip(indices, outputs, strict=True))
    assert found == {number: 10 * number for number in range(size)}


def test_outputs_that_do_not_fit_are_refused_everywhere(world: World):
    first, second = world(2).call(f"{HERE}:misfits")
    assert first == second
    assert first.startswith("ValueError: outputs differ: Tensor rows of shape (1,) in the first")


def test_data_that_are_not_dealt_out_leave_each_process_its_own(world: World):
    assert world(2).call(f"{HERE}:own_outputs") == [[0, 5], [1, 5]]
