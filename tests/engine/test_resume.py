"""A run that was saved at any safe point goes on in a fresh engine as if it had not stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import Engine, Events
from tests.engine.recording import RecordingEngine
from tests.golden.scenarios import Unsized

DATA = (10, 20, 30, 40)
Make = Callable[[], RecordingEngine]


def saved_at_safe_points(
    engine: RecordingEngine, data: Any, limits: dict[str, int]
) -> list[tuple[dict[str, Any], int, int]]:
    """Runs unbroken; the states, with how many events and batches there were by then."""
    saved = []

    @engine.on(Events.SAFE_POINT, priority="LOWEST")
    def save() -> None:
        saved.append((engine.state_dict(), len(engine.order), len(engine.batches)))

    engine.run(data, **limits)
    return saved


def assert_resumes_everywhere(make: Make, data: Callable[[], Any], limits: dict[str, int]) -> int:
    unbroken = make()
    saved = saved_at_safe_points(unbroken, data(), limits)
    for state, events, batches in saved:
        resumed = make()
        resumed.load_state_dict(state)
        result = resumed.run(data())
        assert unbroken.order[:events] + resumed.order == unbroken.order
        assert unbroken.batches[:batches] + resumed.batches == unbroken.batches
        assert result.reason == unbroken.state.reason
        counts = [dict(e.state.counts) for e in (unbroken, resumed)]
        assert counts[0].pop("OPENED") + 1 == counts[1].pop("OPENED")
        assert counts[0] == counts[1]
    return len(saved)


@pytest.mark.covers("A9")
@pytest.mark.parametrize("data", [lambda: list(DATA), lambda: Unsized(*DATA)], ids=["sized", "not"])
@pytest.mark.parametrize("epoch_length", [None, 2, 4, 6])
@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_iters": 7}], ids=str)
def test_resuming_at_any_safe_point_gives_the_unbroken_run(
    data: Callable[[], Any], epoch_length: int | None, limit: dict[str, int]
) -> None:
    limits = {**limit, "epoch_length": epoch_length} if epoch_length else limit
    points = assert_resumes_everywhere(RecordingEngine, data, limits)
    iterations = limit.get("max_iters") or 2 * (epoch_length or 4)
    assert points >= iterations


def test_resuming_at_any_safe_point_without_data() -> None:
    limits = {"max_epochs": 2, "epoch_length": 3}
    assert assert_resumes_everywhere(RecordingEngine, lambda: None, limits) == 6


@pytest.mark.covers("A9")
@pytest.mark.parametrize("event", ["GET_BATCH_STARTED", "ITERATION_STARTED", "ITERATION_COMPLETED"])
@pytest.mark.parametrize("call", ["terminate", "terminate_epoch"])
@pytest.mark.parametrize("iteration", [1, 3, 4, 6])
def test_resuming_at_any_safe_point_of_a_run_that_is_cut_short(
    event: str, call: str, iteration: int
) -> None:
    def make() -> RecordingEngine:
        engine = RecordingEngine()
        engine.add_event_handler(
            getattr(Events, event)(once=iteration), lambda e: getattr(e, call)()
        )
        return engine

    assert_resumes_everywhere(make, lambda: list(DATA), {"max_epochs": 2, "epoch_length": 6})


def test_a_terminated_epoch_that_skips_epoch_completed_is_over_at_its_safe_point() -> None:
    def make() -> RecordingEngine:
        engine = RecordingEngine()

        @engine.on(Events.ITERATION_COMPLETED(once=2))
        def end() -> None:
            engine.terminate_epoch(skip_epoch_completed=True)

        return engine

    assert_resumes_everywhere(make, lambda: list(DATA), {"max_epochs": 2})


@given(
    size=st.integers(1, 4),
    sized=st.booleans(),
    epoch_length=st.integers(1, 6) | st.none(),
    limit=st.tuples(st.sampled_from(["max_epochs", "max_iters"]), st.integers(1, 4)),
    stops=st.lists(st.integers(1, 12), max_size=3),
    fresh=st.booleans(),
)
def test_a_run_stopped_anywhere_any_number_of_times_is_the_unbroken_run(
    size: int,
    sized: bool,
    epoch_length: int | None,
    limit: tuple[str, int],
    stops: list[int],
    fresh: bool,
) -> None:
    data = list(range(size)) if sized else Unsized(*range(size))
    limits: dict[str, Any] = {limit[0]: limit[1], "epoch_length": epoch_length}
    unbroken = RecordingEngine()
    unbroken.run(data, **limits)

    engine, order, batches = RecordingEngine(), [], []
    for stop in sorted(stops):
        interrupted = engine.add_event_handler(Events.SAFE_POINT(once=stop), engine.interrupt)
        state = engine.run(data, **limits)
        interrupted.remove()
        if state.reason != "interrupted":
            break
        if fresh:
            order += engine.order
            batches += engine.batches
            saved, engine = engine.state_dict(), RecordingEngine()
            engine.load_state_dict(saved)
        limits = {}
    if engine.state.reason in (None, "interrupted"):
        engine.run(data, **limits)

    order += engine.order
    batches += engine.batches
    assert [line for line in order if line.event != "INTERRUPT"] == unbroken.order
    assert batches == unbroken.batches


def test_a_state_taken_in_any_handler_of_an_iteration_presents_its_batch_again() -> None:
    for event in ("GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED"):
        engine, saved = RecordingEngine(), []
        count = 2 if event == "ITERATION_STARTED" else 1
        engine.add_event_handler(
            getattr(Events, event)(once=count), lambda e: saved.append(e.state_dict())
        )
        engine.run([10, 20, 30])

        resumed = RecordingEngine()
        resumed.load_state_dict(saved[0])
        assert resumed.run([10, 20, 30]).iteration == 3, event
        assert resumed.batches == [20, 30], event


def test_a_state_taken_in_a_handler_of_epoch_started_begins_that_epoch_again() -> None:
    engine, saved = RecordingEngine(), []
    engine.add_event_handler(Events.EPOCH_STARTED, lambda e: saved.append(e.state_dict()))
    engine.run([10, 20], max_epochs=2)

    for number, state in enumerate(saved, 1):
        resumed = RecordingEngine()
        resumed.load_state_dict(state)
        resumed.run([10, 20])
        assert resumed.order[0] == ("EPOCH_STARTED", number, 2 * (number - 1))
        assert resumed.state.epoch == 2


@pytest.mark.parametrize("event", ["ITERATION_COMPLETED", "EPOCH_COMPLETED"])
def test_a_state_taken_where_ignite_saves_goes_on_behind_that_event(event: str) -> None:
    engine, saved = RecordingEngine(), []
    engine.add_event_handler(event, lambda e: saved.append((e.state_dict(), len(e.batches))))
    engine.run([10, 20], max_epochs=2)

    for state, batches in saved:
        resumed = RecordingEngine()
        resumed.load_state_dict(state)
        resumed.run([10, 20])
        assert engine.batches[:batches] + resumed.batches == engine.batches
        assert resumed.state.iteration == 4
        assert resumed.state.epoch == 2


def test_one_shot_data_are_not_skipped_in_the_process_that_walked_them() -> None:
    engine, data = RecordingEngine(), iter([10, 20, 30])
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(data)
    engine.run(data)
    assert engine.batches == [10, 20, 30]


def test_resuming_with_fewer_data_than_were_walked_is_an_error() -> None:
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.interrupt)
    engine.run(Unsized(10, 20, 30, 40))

    resumed = Engine(lambda engine, batch: None)
    resumed.load_state_dict(engine.state_dict())
    with pytest.raises(ValueError, match="behind batch 3 of its data, but these have only 2"):
        resumed.run(Unsized(10, 20))


@pytest.mark.covers("A9")
def test_a_run_that_max_iters_cut_goes_on_within_its_epoch_with_a_larger_limit() -> None:
    unbroken = RecordingEngine()
    unbroken.run(DATA, max_iters=7)
    short = RecordingEngine()
    saved = saved_at_safe_points(short, DATA, {"max_iters": 6})

    resumed = RecordingEngine()
    resumed.load_state_dict(saved[-1][0])
    resumed.run(DATA, max_iters=7)
    assert resumed.batches == unbroken.batches[6:]
    assert resumed.order == unbroken.order[saved[-1][1] :]
