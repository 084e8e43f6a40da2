"""When to validate: intervals are checked against plain loops, some of them MMEngine's rule."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import Engine, Events, after
from footplate.engine.intervals import batches, interval
from footplate.handlers.evaluation import Evaluation

pytestmark = pytest.mark.covers("B1")


def due(event, data=(0,), **limits) -> list[tuple[int, int]]:
    """Epoch and iteration whenever an engine really runs a handler of the event."""
    engine, seen = Engine(lambda engine, batch: None), []
    engine.add_event_handler(event, lambda e: seen.append((e.state.epoch, e.state.iteration)))
    engine.run(data, **limits)
    return seen


# ------------------------------------------------------------------ interval


def rule_of_mmengine(n, begin, dynamic, last, end) -> list[int]:
    """The counts at which a loop that counts to ``end`` validates, written out.

    The interval in force behind count c is that of the last milestone up to c + 1.
    """
    validated = []
    for count in range(1, end + 1):
        current = n
        for milestone, value in dynamic:
            if milestone <= count + 1:
                current = value
        if count >= begin and (count % current == 0 or (last and count == end)):
            validated.append(count)
    return validated


dynamics = st.lists(st.integers(1, 25), unique=True, max_size=4).flatmap(
    lambda milestones: st.tuples(
        *(st.tuples(st.just(m), st.integers(1, 7)) for m in sorted(milestones))
    )
)


@given(
    n=st.integers(1, 9), begin=st.integers(1, 9), dynamic=dynamics, last=st.booleans(),
    end=st.integers(1, 25),
)  # fmt: skip
def test_interval_is_the_rule_of_mmengine_for_epochs_and_iterations(n, begin, dynamic, last, end):
    asked = interval(n, begin, dynamic=dynamic, last=last)
    expected = rule_of_mmengine(n, begin, dynamic, last, end)
    epochs = due(Events.EPOCH_COMPLETED(asked), max_epochs=end)
    assert [epoch for epoch, _ in epochs] == expected
    iterations = due(Events.ITERATION_COMPLETED(asked), range(4), max_iters=end)
    assert [iteration for _, iteration in iterations] == expected


def test_the_interval_changes_one_before_the_milestone():
    asked = interval(10, dynamic=[(20, 1)], last=False)
    assert [count for count in range(1, 23) if asked(None, count)] == [10, 19, 20, 21, 22]


def test_the_last_iteration_of_a_run_that_is_limited_in_epochs_is_none():
    assert due(Events.ITERATION_COMPLETED(interval(4)), range(3), max_epochs=3) == [(2, 4), (3, 8)]


def test_the_last_count_does_not_pass_before_the_beginning():
    assert due(Events.EPOCH_COMPLETED(interval(1, begin=9)), max_epochs=5) == []


def test_the_last_is_known_even_if_a_handler_fires_something_before():
    engine, seen = Engine(lambda engine, batch: None), []
    engine.register_events("SAVED")
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.fire_event("SAVED"))
    engine.on(Events.EPOCH_COMPLETED(interval(10)))(lambda e: seen.append(e.state.epoch))
    engine.run([0], max_epochs=3)
    assert seen == [3]


@pytest.mark.covers("B4")
def test_both_triggers_at_once_in_one_run():
    both = Events.EPOCH_COMPLETED(interval(1)) | Events.ITERATION_COMPLETED(interval(3))
    assert due(both, range(5), max_epochs=2) == [(1, 3), (1, 5), (2, 6), (2, 9), (2, 10)]


@pytest.mark.covers("B4")
def test_an_evaluation_runs_by_both_triggers():
    val = Engine(lambda engine, batch: batch, name="val")
    trainer, seen = Engine(lambda engine, batch: None, name="train"), []
    val.on(Events.STARTED)(lambda: seen.append((trainer.state.epoch, trainer.state.iteration)))
    both = Events.EPOCH_COMPLETED(interval(2, begin=2)) | Events.ITERATION_COMPLETED(interval(7))
    trainer.attach(Evaluation(val, [0], when=both))
    trainer.run(range(4), max_epochs=4)
    assert seen == [(2, 7), (2, 8), (4, 14), (4, 16)]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (interval(2), "interval(2)"),
        (interval(2, begin=4, last=False), "interval(2, begin=4, last=False)"),
        (interval(10, dynamic=[(20, 1)]), "interval(10, dynamic=[(20, 1)])"),
        (interval(2, last=False) & after(4), "interval(2, last=False) & after(4)"),
        (batches(3), "batches(3)"),
        (batches("25%"), "batches('25%')"),
        (batches(Fraction(1, 3)), "batches('1/3')"),
        (batches(3, within_epoch=False), "batches(3, within_epoch=False)"),
    ],
)
def test_the_plan_shows_it_as_it_is_written(asked, text):
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(asked), print)
    assert engine.describe()[0].filter == text


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "an interval is a whole number from 1 on, given 0"),
        ((1.5,), {}, "given 1.5"),
        ((True,), {}, "given True"),
        ((2, 0), {}, "given 0"),
        ((2,), {"dynamic": [(5, 0)]}, "given 0"),
        ((2,), {"dynamic": [(-5, 1)]}, "given -5"),
        ((2,), {"dynamic": [(5, 1), (3, 2)]}, r"ascend, given \[5, 3\]"),
        ((2,), {"dynamic": [(5, 1), (5, 2)]}, "ascend"),
    ],
)
def test_nonsense_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        interval(*arguments, **options)


# ------------------------------------------------------------------ batches


def by_hand(length, epochs, step, within_epoch) -> list[int]:
    """Walk over the batches and pass another multiple of the step whenever one is reached."""
    passed, done, following = [], 0, Fraction(step)
    for iteration in range(1, length * epochs + 1):
        done += 1
        if done >= following:
            passed.append(iteration)
        while done >= following:
            following += Fraction(step)
        if within_epoch and done == length:
            done, following = 0, Fraction(step)
    return passed


@given(
    length=st.integers(1, 12), epochs=st.integers(1, 3), within_epoch=st.booleans(),
    n=st.one_of(
        st.integers(1, 15), st.fractions(0, 1, max_denominator=12).filter(lambda part: part > 0)
    ),
)  # fmt: skip
def test_batches_are_counted_as_by_hand(length, epochs, within_epoch, n):
    event = Events.ITERATION_COMPLETED(batches(n, within_epoch=within_epoch))
    step = n * length if isinstance(n, Fraction) else n
    seen = due(event, range(length), max_epochs=epochs)
    assert [iteration for _, iteration in seen] == by_hand(length, epochs, step, within_epoch)


@given(parts=st.integers(1, 12), length=st.integers(1, 40))
def test_the_last_fraction_is_the_end_of_the_epoch(parts, length):
    event = Events.ITERATION_COMPLETED(batches(Fraction(1, parts)))
    seen = due(event, range(length), max_epochs=2)
    assert (1, length) in seen
    assert (2, 2 * length) in seen
    assert len(seen) == 2 * min(parts, length)


def test_an_epoch_is_its_length_and_not_a_pass_over_the_data():
    event = Events.ITERATION_COMPLETED(batches("50%"))
    assert due(event, range(4), epoch_length=6, max_epochs=2) == [(1, 3), (1, 6), (2, 9), (2, 12)]


def test_it_counts_at_other_events_of_an_iteration_as_well():
    for event in (Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.SAFE_POINT):
        assert due(event(batches(2)), range(5), max_epochs=2) == [(1, 2), (1, 4), (2, 7), (2, 9)]


def test_counting_goes_on_in_a_resumed_run():
    first, second = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    seen = []
    for engine in (first, second):
        engine.on(Events.ITERATION_COMPLETED(batches(3)))(lambda e: seen.append(e.state.iteration))
    first.on(Events.ITERATION_COMPLETED(once=7))(lambda e: e.interrupt())
    first.run(range(5), max_epochs=2)
    second.load_state_dict(first.state_dict())
    second.run(range(5))
    assert seen == [3, 8]


def test_a_fraction_of_an_epoch_of_unknown_length_is_an_error_that_says_what_to_do():
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.ITERATION_COMPLETED(batches("25%")))(print)
    with pytest.raises(ValueError, match=r"batches\('25%'\).*give run\(…, epoch_length=\)"):
        engine.run(iter([1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (0.25, ValueError), ("150%", ValueError), (True, TypeError)]
)
def test_what_is_no_amount_is_refused(n, error):
    with pytest.raises(error):
        batches(n)
