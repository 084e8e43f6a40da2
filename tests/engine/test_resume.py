"""A run that was saved at any safe point goes on in a fresh engine as if it had not stopped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import Engine, Events
from tests.engine.recording import RecordingEngine
from tests.golden.scenarios import Unsized

pytestmark = pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")

DATA = (10, 20, 30, 40)


def saved_at_safe_points(engine, data, limits):
    """Runs unbroken; the states, with how many events and batches there were by then."""
    saved = []

    @engine.on(Events.SAFE_POINT, priority="LOWEST")
    def save():
        saved.append((engine.state_dict(), len(engine.order), len(engine.batches)))

    engine.run(data, **limits)
    return saved


def assert_resumes_everywhere(make, data, limits):
    """Saved at each safe point and resumed from it, a run is the unbroken one.

    Returns:
        how many safe points there were.
    """
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
def test_resuming_at_any_safe_point_gives_the_unbroken_run(data, epoch_length, limit):
    limits = {**limit, "epoch_length": epoch_length} if epoch_length else limit
    points = assert_resumes_everywhere(RecordingEngine, data, limits)
    iterations = limit.get("max_iters") or 2 * (epoch_length or 4)
    assert points >= iterations


def test_resuming_at_any_safe_point_without_data():
    limits = {"max_epochs": 2, "epoch_length": 3}
    assert assert_resumes_everywhere(RecordingEngine, lambda: None, limits) == 6


@pytest.mark.covers("A9")
@pytest.mark.parametrize(
    "event",
    ["GET_BATCH_STARTED", "ITERATION_STARTED", "ITERATION_COMPLETED", "EPOCH_COMPLETED"],
)
@pytest.mark.parametrize("call", ["terminate", "terminate_epoch"])
@pytest.mark.parametrize("iteration", [1, 3, 4, 6])
def test_resuming_at_any_safe_point_of_a_run_that_is_cut_short(event, call, iteration):
    def make():
        engine = RecordingEngine()
        engine.add_event_handler(
            getattr(Events, event)(once=iteration), lambda e: getattr(e, call)()
        )
        return engine

    assert_resumes_everywhere(make, lambda: list(DATA), {"max_epochs": 2, "epoch_length": 6})


def test_a_terminated_epoch_that_skips_epoch_completed_is_over_at_its_safe_point():
    def make():
        engine = RecordingEngine()

        @engine.on(Events.ITERATION_COMPLETED(once=2))
        def end():
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
    size, sized, epoch_length, limit, stops, fresh
):
    data = list(range(size)) if sized else Unsized(*range(size))
    limits = {limit[0]: limit[1], "epoch_length": epoch_length}
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


@pytest.mark.parametrize(
    ("event", "count"),
    [("GET_BATCH_STARTED", 1), ("GET_BATCH_COMPLETED", 1), ("ITERATION_STARTED", 2)],
)
def test_a_state_taken_within_an_iteration_presents_its_batch_again(event, count):
    engine, saved = RecordingEngine(), []
    engine.add_event_handler(
        getattr(Events, event)(once=count), lambda e: saved.append(e.state_dict())
    )
    engine.run([10, 20, 30])

    resumed = RecordingEngine()
    resumed.load_state_dict(saved[0])
    assert resumed.run([10, 20, 30]).iteration == 3
    assert resumed.batches == [20, 30]


def test_a_state_taken_in_a_handler_of_epoch_started_begins_that_epoch_again():
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
def test_a_state_taken_where_ignite_saves_goes_on_behind_that_event(event):
    engine, saved = RecordingEngine(), []
    engine.register_events("METRICS_READY")
    engine.add_event_handler(event, lambda e: e.fire_event("METRICS_READY"))
    engine.add_event_handler(event, lambda e: saved.append((e.state_dict(), len(e.batches))))
    engine.run([10, 20], max_epochs=2)

    for state, batches in saved:
        resumed = RecordingEngine()
        resumed.load_state_dict(state)
        resumed.run([10, 20])
        assert engine.batches[:batches] + resumed.batches == engine.batches
        assert resumed.state.iteration == 4
        assert resumed.state.epoch == 2


@pytest.mark.covers("A7")
def test_a_run_interrupted_where_max_iters_cut_it_goes_on_there_with_a_larger_limit():
    engine, data = RecordingEngine(), [10, 20, 30, 40]
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    assert engine.run(data, max_iters=2).reason == "interrupted"
    state = engine.run(data, max_iters=3)
    assert engine.batches == [10, 20, 30]
    assert (state.epoch, state.reason) == (1, "completed")


def test_one_shot_data_are_not_skipped_in_the_process_that_walked_them():
    engine, data = RecordingEngine(), iter([10, 20, 30])
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(data)
    engine.run(data)
    assert engine.batches == [10, 20, 30]


def test_resuming_with_fewer_data_than_were_walked_is_an_error():
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.interrupt)
    engine.run(Unsized(10, 20, 30, 40))

    resumed = Engine(lambda engine, batch: None)
    resumed.load_state_dict(engine.state_dict())
    with pytest.raises(ValueError, match="behind batch 3 of its data, but these have only 2"):
        resumed.run(Unsized(10, 20))


@pytest.mark.covers("A9")
def test_a_run_that_max_iters_cut_goes_on_within_its_epoch_with_a_larger_limit():
    unbroken = RecordingEngine()
    unbroken.run(DATA, max_iters=7)
    short = RecordingEngine()
    saved = saved_at_safe_points(short, DATA, {"max_iters": 6})

    resumed = RecordingEngine()
    resumed.load_state_dict(saved[-1][0])
    resumed.run(DATA, max_iters=7)
    assert resumed.batches == unbroken.batches[6:]
    assert resumed.order == unbroken.order[saved[-1][1] :]


def test_a_loaded_run_that_terminates_before_it_fetches_begins_a_pass_when_it_goes_on():
    saved = Engine(lambda engine, batch: None)
    saved.on(Events.SAFE_POINT(once=2))(saved.interrupt)
    saved.run([10, 20, 30], max_epochs=2)
    engine, seen = Engine(lambda engine, batch: seen.append(batch)), []
    engine.load_state_dict(saved.state_dict())
    data = [10, 20, 30]
    with engine.add_event_handler(Events.OPENED, engine.terminate):
        engine.run(data)
    assert seen == []
    engine.run(data)
    assert seen == [10, 20, 30]
