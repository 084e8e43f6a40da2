"""Loaders that go over all samples are dealt out to the processes, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from tests.distributed.launching import Ranks

World = Callable[[int], Ranks]
HERE = "tests.distributed.dealing"
OVER_ALL = ["in order", "shuffled", "single", "batch sampler", "ours, of one process", "in memory"]

pytestmark = pytest.mark.covers("I4")


def flat(told: list[dict[str, Any]], which: str = "batches") -> list[list[int]]:
    """The samples of each process."""
    return [
        [one for batch in each[which] for one in (batch if isinstance(batch, list) else [batch])]
        for each in told
    ]


@pytest.mark.parametrize("size", [1, 5, 6])
@pytest.mark.parametrize("kind", OVER_ALL)
def test_to_evaluate_each_sample_comes_once(world: World, kind: str, size: int):
    told = world(3).call(f"{HERE}:dealt", kind, size, True)
    shares = flat(told)
    assert sorted(chain.from_iterable(shares)) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(one["settled"] and not one["same"] and not one["warned"] for one in told)
    assert "dealt out to 3 processes" in told[0]["said"][0]
    assert [len(one["said"]) for one in told] == [1, 0, 0]


@pytest.mark.parametrize("kind", OVER_ALL)
def test_to_train_all_shares_are_equal(world: World, kind: str):
    told = world(3).call(f"{HERE}:dealt", kind, 7, False)
    shares = flat(told)
    assert set(chain.from_iterable(shares)) == set(range(7))
    assert [len(one) for one in shares] == [3, 3, 3]
    assert (flat(told) != flat(told, "next")) is (kind in ("shuffled", "ours, of one process"))


def test_the_loaders_options_and_its_class_stay(world: World):
    told = world(2).call(f"{HERE}:dealt", "derived", 6, True)
    assert [one["type"] for one in told] == ["Own", "Own"]
    assert [one["batches"] for one in told] == [[[0, 2]], [[1, 3]]]  # drop_last, in each


@pytest.mark.parametrize(
    ("kind", "evaluates"),
    [("distributed", False), ("dealt", True), ("dealt", False), ("even", False)],
)
def test_what_is_dealt_out_stays(world: World, kind: str, evaluates: bool):
    told = world(2).call(f"{HERE}:dealt", kind, 5, evaluates)
    assert all(one["same"] and not one["said"] and not one["warned"] for one in told)


@pytest.mark.covers("E4")
@pytest.mark.parametrize("kind", ["distributed", "even"])
def test_to_evaluate_padding_is_taken_away_and_said(world: World, kind: str):
    told = world(2).call(f"{HERE}:dealt", kind, 5, True)
    assert flat(told) == [[0, 2, 4], [1, 3]]
    assert "to evaluate, each of them is dealt out once" in told[0]["said"][0]
    assert all(one["same"] for one in world(2).call(f"{HERE}:dealt", kind, 6, True))


@pytest.mark.parametrize(
    ("kind", "named"), [("own sampler", "Backwards"), ("weighted", "WeightedRandomSampler")]
)
def test_a_sampler_of_another_kind_is_left_alone_with_a_word(world: World, kind: str, named: str):
    first, second = world(2).call(f"{HERE}:dealt", kind, 4, False)
    assert first["same"]
    assert second["same"]
    assert named in first["warned"][0]
    assert "give it sampler=" in first["warned"][0]
    assert second["warned"] == []


def test_batches_of_another_kind_are_kept_and_their_padding_is_said(world: World):
    first, _ = world(2).call(f"{HERE}:dealt", "own batches", 5, True)
    assert first["same"]
    assert "a InTurn makes batches of them" in first["warned"][0]


def test_an_iterable_data_set_is_left_alone_with_a_word(world: World):
    first, second = world(2).call(f"{HERE}:dealt", "stream", 4, True)
    assert first["same"]
    assert "it says itself" in first["said"][0]
    assert not second["said"]


def test_a_wrapped_loader_is_left_alone_with_a_word(world: World):
    first, _ = world(2).call(f"{HERE}:dealt", "combined", 4, True)
    assert first["same"]
    assert "a Combined" in first["warned"][0]
    for kind in ("list", "limited"):
        first, _ = world(2).call(f"{HERE}:dealt", kind, 4, True)
        assert first["same"]
        assert not first["warned"]


@pytest.mark.parametrize("given", ["loader", "mapping", "sampler", "several"])
def test_the_runner_deals_every_loader_out(world: World, given: str):
    assert world(2).call(f"{HERE}:by_recipe", given, True) == [[[0, 2], [4]], [[1, 3]]]
    assert world(2).call(f"{HERE}:by_recipe", given, False) == [[[0, 2], [4]], [[1, 3], [0]]]


@pytest.mark.parametrize("kind", ["plain", "nested", "wrapped", "combined", "sharded"])
def test_samplers_are_seeded_for_each_pass_however_they_are_nested(world: World, kind: str):
    first, second = world(2).call(f"{HERE}:seeded", kind)
    epochs = list(zip(first, second, strict=True))
    for one, other in epochs:
        numbers = [value["a"][0] if kind == "combined" else value[0] for value in one + other]
        assert sorted(numbers) == list(range(6))
    assert epochs[0] != epochs[1] != epochs[2]
