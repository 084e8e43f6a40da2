"""Agreement: what one process knows alone, all act on at the same iteration."""

from itertools import pairwise

import pytest

HERE = "tests.distributed.agreeing"


def alike(told):
    """What all processes told, which was the same."""
    assert all(one == told[0] for one in told), told
    return told[0]


@pytest.mark.covers("I7")
@pytest.mark.parametrize("by", [0, 1])
@pytest.mark.parametrize("batches", [1, 7, 1000])
def test_what_one_process_wants_happens_in_all_at_the_same_iteration(ranks, by, batches):
    told = alike(ranks.call(f"{HERE}:wanted_by_one", batches, by))
    if batches == 1:  # the run is over before anybody wants it
        assert told == {"iteration": 3, "reason": "completed"}
    else:
        assert told["reason"] == "terminated"
        assert 5 <= told["iteration"] < 3 * batches


@pytest.mark.covers("I7")
def test_what_is_no_longer_wanted_does_not_happen(ranks):
    assert alike(ranks.call(f"{HERE}:withdrawn")) == [15]


@pytest.mark.covers("I7")
def test_one_exchange_serves_all_who_ask(ranks):
    granted, meetings = alike(ranks.call(f"{HERE}:several_topics"))
    assert granted == [["first", 3], ["second", 3]]
    assert meetings == 2


@pytest.mark.covers("I7")
def test_a_signal_in_the_last_iteration_is_not_missed(ranks):
    told = alike(ranks.call(f"{HERE}:signalled_in_the_last_iteration"))
    assert told == {"signum": 15, "saved": [50], "iteration": 50}


@pytest.mark.covers("I6")
def test_processes_that_stand_at_different_iterations_are_told_so(ranks):
    for one in ranks.call(f"{HERE}:of_two_minds"):
        assert "others between 9 and 15" in one
        assert "as many batches" in one


@pytest.mark.covers("I7", "B5")
def test_a_limit_of_time_ends_all_though_clocks_differ(ranks):
    (first, again, over), (other, other_again, other_over) = ranks.call(f"{HERE}:time_is_up_on_one")
    assert first == other < 1000
    assert again == other_again == first  # nothing was left, so that no iteration was begun
    assert (over, other_over) == (False, True)


@pytest.mark.covers("I7")
def test_early_stopping_goes_by_means_that_all_have(ranks):
    assert alike(ranks.call(f"{HERE}:early")) == [5]


@pytest.mark.covers("I6")
def test_a_loss_that_is_nan_on_one_process_ends_all_by_the_same_error(ranks):
    other, own = ranks.call(f"{HERE}:not_finite_on_one")
    assert "'loss' was nan in iteration 2;" in own
    assert "'loss' was nan on another process by iteration 2;" in other


@pytest.mark.covers("I7")
def test_an_engine_that_evaluates_is_refused(ranks):
    assert "can't agree on an iteration" in alike(ranks.call(f"{HERE}:refused"))


@pytest.mark.covers("I7")
def test_anywhere_is_whether_any_process_wants_it(ranks):
    assert alike(ranks.call(f"{HERE}:any_of_them")) == [True, True, False]


@pytest.mark.covers("I7")
def test_processes_talk_rarely_and_at_points_that_the_slowest_sets(ranks):
    met = alike(ranks.call(f"{HERE}:meetings_of", 0.005, 60))
    assert met[:3] == [1, 3, 7]
    gaps = [after - before for before, after in pairwise(met[:-1])]
    assert max(gaps) <= 10  # of 10 ms each on the slower one, in 0.1 s
    assert met[-1] == 60


@pytest.mark.covers("I7")
def test_in_thousands_of_quick_iterations_processes_hardly_ever_meet(ranks):
    assert alike(ranks.call(f"{HERE}:meetings_in", 20_000)) < 20
