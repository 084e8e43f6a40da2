"""Metrics over the shares of several processes are those of one process that has all samples."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.distributed import evaluating
from tests.distributed.launching import Ranks

World = Callable[[int], Ranks]
HERE = "tests.distributed.evaluating"
WORLDS = [1, 2, 3, 4]
# Both divide by what is left of fp32 numbers that are taken from each other, in one process, too:
# near 0 a correlation is exact to the last digits of 1, not to its own.
CORRELATIONS = {"t_pearson", "correlation"}

pytestmark = pytest.mark.covers("E4")


def all_agree(told: list[Any]) -> Any:
    """What all processes say, to the bit."""
    texts = {json.dumps(one) for one in told}
    assert len(texts) == 1, texts
    return json.loads(texts.pop())


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@functools.cache
def alone(examples: str, names: str) -> Any:
    """What one process says."""
    return as_json(evaluating.measures(json.loads(examples), json.loads(names)))


def assert_as_alone(told: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for number, (one, other) in enumerate(zip(told, expected, strict=True)):
        assert one.keys() == other.keys()
        for name, value in one.items():
            error = 2e-6 if name in CORRELATIONS else 1e-7
            assert evaluating.same(value, other[name], error), (number, name, value, other[name])


@pytest.mark.covers("E1", "E2", "E3")
@pytest.mark.parametrize("size", WORLDS)
def test_every_metric_is_that_of_one_process(world: World, size: int):
    examples = [[13, 2], [1, 2], [3, 1]]
    told = all_agree(world(size).call(f"{HERE}:measures", examples, evaluating.NAMES))
    assert_as_alone(told, alone(json.dumps(examples), json.dumps(evaluating.NAMES)))


@pytest.mark.parametrize("size", WORLDS)
def test_no_number_of_samples_is_special(world: World, size: int):
    names = st.sets(st.sampled_from(sorted(evaluating.NAMES)), min_size=2, max_size=3)
    example = st.tuples(st.integers(0, 50), st.integers(1, 7), names.map(sorted))

    @settings(
        max_examples=4,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    @given(st.lists(example, min_size=8, max_size=10))
    def check(examples: list[Any]) -> None:
        told = all_agree(world(size).call(f"{HERE}:measures_each", examples))
        assert_as_alone(told, as_json(evaluating.measures_each(examples)))

    check()


def test_whole_numbers_are_exact(world: World):
    names = ["accuracy", "confusion", "seen", "kept", "t_weighing", "t_cat"]
    examples = [[n, 2] for n in (1, 2, 3, 4, 5, 7, 11)]
    expected = alone(json.dumps(examples), json.dumps(names))
    for size in WORLDS:
        assert all_agree(world(size).call(f"{HERE}:measures", examples, names)) == expected


@pytest.mark.covers("E3")
@pytest.mark.parametrize("derives", [False, True])
def test_more_entries_than_samples_are_all_there_or_refused(world: World, derives: bool):
    for size in (13, 20):
        told = all_agree(world(2).call(f"{HERE}:boxes", size, "uneven", derives))
        right = evaluating.samples(size).right.tolist()
        assert told == {"boxes": sorted(one for one in right for _ in range(1 + one % 2))}
    (first, second) = world(2).call(f"{HERE}:boxes", 13, "even", derives)
    assert "results of 13 samples; those of samples that were dealt out twice" in first
    assert "deal each sample out once" in first
    assert second.startswith(("ValueError", "RuntimeError"))


@pytest.mark.parametrize("usage", ["batch", "running"])
@pytest.mark.parametrize("name", ["accuracy", "seen", "t_accuracy", "kept"])
def test_metrics_of_each_iteration_keep_those_with_fewer_batches_waiting_for_nobody(
    world: World, name: str, usage: str
):
    told = world(3).call(f"{HERE}:runs", [[7, 1], [2, 1], [6, 1]], name, usage)
    last = all_agree([[values for _, values in one] for one in told])
    assert [len(seen) for seen, _ in told[0]] == [3, 1, 2]
    assert [len(seen) for seen, _ in told[2]] == [2, 0, 2]
    if usage == "running":
        expected = alone("[[7, 1], [2, 1], [6, 1]]", json.dumps([name]))
        assert last == [one[name] for one in expected]


@pytest.mark.parametrize("name", ["accuracy", "seen", "t_accuracy", "f1"])
def test_what_the_first_process_has_computed_before_does_not_stay(world: World, name: str):
    examples = [[4, 1], [8, 3], [13, 2]]
    told = world(3).call(f"{HERE}:runs", examples, name, "running", "last has most")
    last = all_agree([[values for _, values in one] for one in told])
    expected = as_json(evaluating.measures(examples, [name]))
    assert evaluating.same(last, [one[name] for one in expected])
    assert len(told[2][0][0]) > len(told[0][0][0])


def test_running_averages_are_the_same_everywhere_whatever_the_shares_are(world: World):
    told = all_agree(world(2).call(f"{HERE}:averages", [4, 5, 1]))
    alpha = 0.98
    first = 0.98 * 0.5 + (1 - alpha) * 2.5  # the means over the processes
    assert told[0][0]["plain"] == pytest.approx(first)
    assert told[1][0]["plain"] == pytest.approx(alpha * first + (1 - alpha) * 4)
    assert told[2][0] == pytest.approx({"plain": 0.0, "metric": 0.0})
    assert told[0][0]["metric"] == pytest.approx(told[0][0]["plain"])


@pytest.mark.covers("E3")
@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("failing", [0, 1])
def test_what_fails_on_one_process_is_raised_on_all_and_nobody_waits(
    world: World, where: str, failing: int
):
    told = world(3).call(f"{HERE}:failures", where, failing, 2)  # the last one's share is empty
    assert {raised for raised, _ in told} == {"ValueError: not to be computed"}
    accuracy = evaluating.measures([[5, 2]], ["accuracy"])
    assert all(goes_on == accuracy for _, goes_on in told)


def test_processes_that_measure_different_things_are_told_so(world: World):
    (first, second) = world(2).call(f"{HERE}:out_of_step")
    assert first == second
    said = "RuntimeError: the processes are out of step (process 0 hands in, for 'loss'"
    assert first.startswith(said)


@pytest.mark.parametrize("at", [1, 2])
def test_a_run_that_is_cut_and_goes_on_measures_the_same(world: World, at: int):
    for whole, resumed in all_agree(world(2).call(f"{HERE}:cut", 6, at)):
        assert resumed == whole


def test_an_empty_share_is_an_epoch_of_no_iterations(world: World):
    told = world(2).call(f"{HERE}:epoch_events", 1)
    (first, metrics, iterations), (second, others, none) = told
    assert metrics == others == evaluating_alone(1)
    assert (iterations, none) == (1, 0)
    epoch = ["OPENED", "STARTED", "EPOCH_STARTED", "EPOCH_COMPLETED", "SAFE_POINT", "COMPLETED",
             "CLOSED"]  # fmt: skip
    assert second == epoch * 3  # the sanity check's, and two evaluations
    assert "ITERATION_COMPLETED" in first


@pytest.mark.covers("A3")
@pytest.mark.parametrize(("unit", "n"), [("epoch", 1), ("epoch", 2), ("iteration", 1)])
def test_a_turn_of_a_workflow_takes_an_empty_share(world: World, unit: str, n: int):
    said, seen = all_agree(world(2).call(f"{HERE}:turns", 1, unit, n))
    assert said is True
    assert seen == [evaluating_alone(1)] * 2
    (said, _) = all_agree(world(2).call(f"{HERE}:turns", 0, unit, n))
    assert said.startswith("DataError: the data of phase 1 ('val') have zero size")


def evaluating_alone(size: int) -> dict[str, Any]:
    (values,) = evaluating.measures([[size, 2]], ["accuracy"])
    return {f"val_{name}": value for name, value in values["accuracy"].items()}


def test_every_process_knows_the_data_set(world: World):
    assert all_agree(world(2).call(f"{HERE}:meta")) == {"classes": ["a", "b", "c"]}


@pytest.mark.covers("I2")
@pytest.mark.parametrize("usage", [None, "running"])
def test_a_model_that_waits_for_others_is_called_as_often_everywhere(
    world: World, usage: str | None
):
    examples = [[7, 2], [1, 2], [2, 1], [8, 2]]
    expected = [one["accuracy"] for one in evaluating.measures(examples, ["accuracy"])]
    told = world(3).call(f"{HERE}:in_step", examples, usage)
    for number, (example, values) in enumerate(zip(examples, expected, strict=True)):
        assert [one[number][0] for one in told] == [values] * 3, example
        most = max(one[number][3] for one in told)
        assert [one[number][1] for one in told] == [most] * 3
        assert [one[number][2] for one in told] == [one[number][3] for one in told]


def test_who_can_not_be_kept_company_says_so(world: World):
    told = all_agree(world(2).call(f"{HERE}:without_length"))
    assert told.startswith("ValueError: the processes are to be kept company in each iteration")


@pytest.mark.covers("E3")
def test_metrics_driven_by_hand_are_those_of_one_process(world: World):
    for size in (5, 1):
        told = all_agree(world(3).call(f"{HERE}:by_hand", size))
        assert evaluating.same(told, as_json(evaluating.by_hand(size)))
