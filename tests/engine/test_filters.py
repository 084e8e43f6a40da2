"""Filters: at which counts a handler runs. Each is checked against counting by hand."""

import functools

import ignite.engine
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ignite.engine import Events as IgniteEvents

from footplate import Engine, Events, after, before, every, once
from footplate.engine import where

pytestmark = pytest.mark.covers("A5")

COUNTS = range(130)


def odd(engine, count):
    return count % 2 == 1


def counts_of(asked, counts=COUNTS):
    """The counts that a filter lets pass."""
    return [count for count in counts if asked is None or asked(None, count)]


def iterations(event, data=COUNTS):
    """The iterations at which an engine really runs a handler of the event."""
    ran = []
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(event, lambda engine: ran.append(engine.state.iteration))
    engine.run(data)
    return ran


# ------------------------------------------------------------------ the algebra


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        (every(3), [0, 3, 6, 9]),
        (once(2), [2]),
        (once(5, 2), [2, 5]),
        (before(3), [0, 1, 2]),
        (after(7), [8, 9]),
        (where(odd), [1, 3, 5, 7, 9]),
        (every(2) & after(4), [6, 8]),
        (once(1) | after(7), [1, 8, 9]),
        (~before(8), [8, 9]),
        (every(3) & ~once(6) | once(7), [0, 3, 7, 9]),
    ],
    ids=repr,
)
def test_a_filter_asks_the_absolute_count(asked, counts):
    assert counts_of(asked, range(10)) == counts


numbers = st.integers(1, 12)
atoms = st.tuples(st.sampled_from(["every", "once", "before", "after"]), numbers)
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.just("~"), inner), st.tuples(st.sampled_from("&|"), inner, inner)
    ),
    max_leaves=8,
)


def built(tree):
    """The tree as a filter."""
    kind, *parts = tree
    if kind == "~":
        return ~built(parts[0])
    if kind in "&|":
        left, right = map(built, parts)
        return left & right if kind == "&" else left | right
    return {"every": every, "once": once, "before": before, "after": after}[kind](parts[0])


def passes(tree, count):
    """Whether the tree lets a count pass, worked out by hand."""
    kind, *parts = tree
    if kind == "~":
        return not passes(parts[0], count)
    if kind in "&|":
        return (all if kind == "&" else any)([passes(part, count) for part in parts])
    n = parts[0]
    return {
        "every": count % n == 0,
        "once": count == n,
        "before": count < n,
        "after": count > n,
    }[kind]


@given(trees)
def test_any_combination_is_what_its_parts_say(tree):
    assert counts_of(built(tree), range(30)) == [n for n in range(30) if passes(tree, n)]


@given(trees)
def test_the_repr_is_the_code_that_makes_the_filter(tree):
    asked = built(tree)
    again = eval(repr(asked))
    assert repr(again) == repr(asked)
    assert counts_of(again, range(30)) == counts_of(asked, range(30))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (every(10) & after(100) & ~once(500), "every(10) & after(100) & ~once(500)"),
        ((every(2) | once(1)) & before(9), "(every(2) | once(1)) & before(9)"),
        (every(2) | once(1) & before(9), "every(2) | once(1) & before(9)"),
        (~(every(2) & after(3)), "~(every(2) & after(3))"),
        (~~every(2), "~~every(2)"),
        (once(1, 5), "once(1, 5)"),
        (where(odd), "where(odd)"),
        (Events.STARTED(every=3, before=9, after=2).filter, "every=3, before=9, after=2"),
        (Events.STARTED(once=[1, 5]).filter, "once=[1, 5]"),
        (Events.STARTED(event_filter=odd).filter, "where(odd)"),
    ],
)
def test_the_repr_has_no_more_brackets_than_it_needs(asked, text):
    assert repr(asked) == text


@pytest.mark.parametrize(
    "mix",
    [lambda: every(2) & odd, lambda: every(2) | 3, lambda: every(2) & None],
)
def test_filters_combine_with_filters_alone(mix):
    with pytest.raises(TypeError, match="unsupported operand"):
        mix()


def test_a_question_of_ones_own_sees_the_engine():
    engine = Engine(lambda engine, batch: batch)
    ran = []
    wanted = every(2) & where(lambda engine, count: engine.state.output > 3)
    engine.on(Events.ITERATION_COMPLETED(wanted))(lambda engine: ran.append(engine.state.iteration))
    engine.run([9, 1, 9, 9, 9, 9])
    assert ran == [4, 6]


# ------------------------------------------------------------------ the keywords

bounds = st.none() | st.integers(0, 40)


@given(every=st.none() | numbers, before=bounds, after=bounds)
def test_the_keywords_count_as_in_ignite(every, before, after):
    if every is before is after is None:
        return
    ours = Events.STARTED(every=every, before=before, after=after).filter
    theirs = IgniteEvents.STARTED(every=every, before=before, after=after).filter

    def by_hand(count):
        low, high = after or 0, 1000 if before is None else before
        if before is None and after is None:
            return count % every == 0
        phase = every is None or (count - low - 1) % every == 0
        return low < count < high and phase

    expected = [count for count in range(60) if by_hand(count)]
    assert counts_of(ours, range(60)) == counts_of(theirs, range(60)) == expected


@given(st.lists(st.integers(1, 30), min_size=1))
def test_once_takes_one_count_or_several(counts):
    assert counts_of(Events.STARTED(once=counts).filter, range(31)) == sorted(set(counts))
    assert counts_of(Events.STARTED(once=counts[0]).filter, range(31)) == [counts[0]]


def test_every_1_is_no_filter():
    assert Events.STARTED(every=1).filter is None


def test_numbers_of_numpy_are_numbers():
    assert counts_of(Events.STARTED(every=np.int64(50)).filter) == [0, 50, 100]
    assert counts_of(after(np.int64(127))) == [128, 129]


def test_the_keywords_start_their_phase_behind_after_and_the_algebra_does_not():
    assert iterations(Events.ITERATION_COMPLETED(every=10, after=100)) == [101, 111, 121]
    assert iterations(Events.ITERATION_COMPLETED(every(10) & after(100))) == [110, 120, 130]


def test_filters_of_fetching_see_the_count_before_it_moves():
    assert iterations(Events.GET_BATCH_STARTED(once=2), range(4)) == [2]
    assert iterations(Events.ITERATION_STARTED(once=2), range(4)) == [2]


@given(trees)
def test_an_engine_asks_the_filter_at_each_iteration(tree):
    ran = iterations(Events.ITERATION_COMPLETED(built(tree)), range(15))
    assert ran == [count for count in range(1, 16) if passes(tree, count)]


# ------------------------------------------------------------------ nonsense

NONSENSE = [
    {},
    {"every": 2, "once": 2},
    {"once": 2, "before": 5},
    {"event_filter": odd, "every": 2},
    {"event_filter": odd, "once": 2},
    {"event_filter": odd, "after": 2},
    {"every": 0},
    {"every": -1},
    {"every": 2.0},
    {"every": "2"},
    {"once": 0},
    {"once": -1},
    {"once": []},
    {"once": [1, 0]},
    {"once": [1, 2.0]},
    {"once": "12"},
    {"once": 1.0},
    {"before": -1},
    {"before": 1.5},
    {"after": -1},
    {"after": "1"},
    {"event_filter": lambda engine: True},
    {"event_filter": lambda: True},
    {"event_filter": lambda engine, count, more: True},
]


@pytest.mark.parametrize("keywords", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("event", [Events.STARTED, IgniteEvents.STARTED], ids=["ours", "ignite"])
def test_nonsense_is_refused_here_as_there(event, keywords):
    with pytest.raises(ValueError):  # noqa: PT011 - the messages differ; ours are tested below
        event(**keywords)


@pytest.mark.parametrize("event", [Events.STARTED, IgniteEvents.STARTED], ids=["ours", "ignite"])
def test_a_filter_that_cannot_be_called_is_a_type_error_here_as_there(event):
    with pytest.raises(TypeError, match="callable"):
        event(event_filter=3)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (Events.STARTED, "takes exactly one of .* given: nothing"),
        (lambda: Events.STARTED(once=1, every=2), "given: once, every"),
        (lambda: Events.STARTED(every=0), "every takes positive whole numbers, given 0"),
        (lambda: Events.STARTED(once=[]), "once=.. names no count; write once=5"),
        (lambda: Events.STARTED(before=-1), "before takes non-negative whole numbers, given -1"),
        (lambda: Events.STARTED(every=True), "every takes positive whole numbers, given True"),
        (lambda: Events.STARTED(lambda engine: 1), r"would be called as \(engine, count\)"),
        (lambda: Events.STARTED(max), r"max.* would be called as .* no signature found"),
        (lambda: Events.STARTED(every(2), every=3), "a filter excludes the keywords"),
        (lambda: Events.STARTED(event_filter=every(2), after=3), r"every\(10\) & after\(100\)"),
        (lambda: every(0), "every takes positive whole numbers, given 0"),
        (once, r"write once\(5\) or once\(5, 10\)"),
        (lambda: once(0), "once takes positive whole numbers, given 0"),
        (lambda: once([1, 2]), r"once takes positive whole numbers, given \[1, 2\]"),
        (lambda: before(-1), "before takes non-negative whole numbers, given -1"),
        (lambda: after(0.5), "after takes non-negative whole numbers, given 0.5"),
    ],
)
def test_the_error_says_what_was_given_and_what_to_write(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


def test_a_filter_of_ignite_runs_the_same_iterations_on_both_engines():
    ran = []
    theirs = ignite.engine.Engine(lambda engine, batch: None)
    event = IgniteEvents.ITERATION_COMPLETED(every=7, after=20, before=100)
    theirs.add_event_handler(event, lambda engine: ran.append(engine.state.iteration))
    theirs.run(COUNTS)
    assert iterations(event) == ran == list(range(21, 100, 7))


def test_python_and_or_not_are_refused_since_they_would_drop_a_filter():
    with pytest.raises(TypeError, match=r"every\(10\) is neither true nor false; join"):
        _ = every(10) and after(3)


def test_a_condition_without_a_name_is_shown_as_it_is():
    test = functools.partial(lambda odd, engine, count: count % 2 == odd, 1)
    assert repr(where(test)) == f"where({test!r})"
