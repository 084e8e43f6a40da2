"""Shares of different lengths: no process waits for a batch that another does not have."""

import pytest

HERE = "tests.distributed.uneven"


@pytest.mark.covers("I6")
@pytest.mark.parametrize("kind", ["sized", "unsized", "mixed", "stateful"])
@pytest.mark.parametrize("sizes", [[10, 6], [6, 10], [2, 40], [7, 8]])
def test_all_processes_stop_with_the_shortest(ranks, kind, sizes):
    shortest = (min(sizes) + 1) // 2
    for one in ranks.call(f"{HERE}:trained", kind, sizes):
        assert one["iteration"] == 3 * shortest
        assert one["lengths"] == [shortest] * 3


@pytest.mark.covers("I6")
@pytest.mark.parametrize("kind", ["sized", "unsized"])
def test_it_is_said_once_by_the_first(ranks, kind):
    first, second = ranks.call(f"{HERE}:trained", kind, [6, 10])
    assert len(first["said"]) == 1
    assert "behind 3" in first["said"][0]
    assert not second["said"]
    for one in ranks.call(f"{HERE}:trained", kind, [6, 6]):
        assert not one["said"]


@pytest.mark.covers("I6")
def test_a_share_without_a_batch_is_an_error_in_all(ranks):
    for one in ranks.call(f"{HERE}:trained", "sized", [0, 4]):
        assert "the processes have 0 and 2 batches" in one["error"]
    for one in ranks.call(f"{HERE}:trained", "unsized", [0, 4]):
        assert "not one batch" in one["error"]


@pytest.mark.covers("I6")
@pytest.mark.parametrize("kind", ["sized", "unsized", "stateful"])
@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_run_that_goes_on_sees_the_batches_of_the_unbroken_one(ranks, kind, at):
    assert ranks.call(f"{HERE}:resumed", kind, [6, 10], at) == [[True, True]] * 2


@pytest.mark.covers("I6")
def test_data_of_equal_lengths_are_left_as_they_are(ranks):
    assert ranks.call(f"{HERE}:compared") == [[True, True, [3, 3]]] * 2
