"""Ending and pausing a run: who may ask, when it is heard, and what the state says of it."""

import signal
import threading

import pytest

from footplate import Engine, Events, Signalled
from footplate.engine.state import Reason, Status
from tests.engine.recording import RecordingEngine


def passing(engine, batch):
    return batch


# ------------------------------------------------------------------ reason and status


@pytest.mark.covers("A7")
def test_an_engine_that_never_ran_is_initializing():
    state = Engine(passing).state
    assert (state.status, state.reason) == ("initializing", None)


@pytest.mark.covers("A7")
@pytest.mark.parametrize(
    ("call", "reason", "status"),
    [(None, "completed", "finished"), ("terminate", "terminated", "finished"),
     ("terminate_epoch", "completed", "finished"), ("interrupt", "interrupted", "interrupted")],
)  # fmt: skip
def test_the_state_says_why_the_run_ended_and_how_it_stands(call, reason, status):
    engine, meanwhile = Engine(passing), []

    @engine.on(Events.ITERATION_COMPLETED(once=1))
    def ask(engine):
        meanwhile.append((engine.state.reason, engine.state.status))
        if call is not None:
            getattr(engine, call)()

    engine.add_event_handler(Events.CLOSED, lambda e: meanwhile.append((e.state.reason,)))
    state = engine.run([10, 20])
    assert meanwhile == [(None, "running"), (reason,)]
    assert (state.reason, state.status) == (reason, status)


@pytest.mark.covers("A7")
@pytest.mark.parametrize(
    ("raised", "reason"),
    [(ValueError(), "error"), (KeyboardInterrupt(), "signalled"), (Signalled(15), "signalled"),
     (SystemExit(), "error")],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)  # fmt: skip
def test_a_run_that_raises_is_interrupted(raised, reason):
    engine, seen = Engine(passing), []

    @engine.on(Events.ITERATION_STARTED)
    def fail():
        raise raised

    @engine.on(Events.EXCEPTION_RAISED)
    def look(engine, exception):
        seen.append((engine.state.reason, engine.state.status))

    with pytest.raises(type(raised)):
        engine.run([10])
    assert [*seen, (engine.state.reason, engine.state.status)] == [(reason, "interrupted")] * 2


@pytest.mark.covers("A7", "A8")
def test_ctrl_c_is_served_at_a_safe_point_and_raised():
    engine = RecordingEngine(lambda engine, batch: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        engine.run([10, 20])
    assert engine.events[-3:] == ["ITERATION_COMPLETED", "SAFE_POINT", "CLOSED"]
    assert (engine.state.reason, engine.state.status) == ("signalled", "interrupted")


def test_reasons_and_statuses_are_strings():
    assert Reason.COMPLETED == "completed"
    assert f"{Status.RUNNING}" == "running"


def test_a_new_run_forgets_the_reason_of_the_last():
    engine, seen = Engine(passing), []
    engine.run([10])
    engine.add_event_handler(Events.OPENED, lambda e: seen.append((e.state.reason, e.state.status)))
    engine.run([10])
    assert seen == [(None, "running")]


# ------------------------------------------------------------------ call and stage


@pytest.mark.covers("A7")
def test_call_is_the_outermost_engines_name_and_stage_that_of_each():
    seen = {}

    def note(engine):
        seen[engine.name] = (engine.state.call, engine.state.stage)

    inner, middle, outer = (Engine(passing, name=name) for name in ("score", "val", "train"))
    for engine in (inner, middle, outer):
        engine.add_event_handler(Events.STARTED, note)
    middle.add_event_handler(Events.EPOCH_COMPLETED, lambda: inner.run([10]))
    outer.add_event_handler(Events.EPOCH_COMPLETED, lambda: middle.run([10]))

    outer.run([10])
    assert seen == {"score": ("train", "score"), "val": ("train", "val"), "train": ("train",) * 2}
    middle.run([10])
    assert seen["score"] == ("val", "score")


def test_somebody_may_say_the_stage_better():
    engine, seen = Engine(passing, name="val"), []
    engine.add_event_handler(Events.STARTED, lambda e: seen.append(e.state.stage))
    engine.state.stage = "sanity_check"
    engine.run([10])
    engine.state.stage = None
    engine.run([10])
    assert seen == ["sanity_check", "val"]


def test_engines_without_a_name_have_no_call_and_no_stage():
    state = Engine(passing).run([10])
    assert (state.call, state.stage) == (None, None)


def test_engines_in_other_threads_are_outermost_themselves():
    calls = []
    inside = Engine(passing, name="val")

    def step(engine, batch):
        thread = threading.Thread(target=lambda: calls.append(inside.run([10]).call))
        thread.start()
        thread.join()

    Engine(step, name="train").run([10])
    assert calls == ["val"]


# ------------------------------------------------------------------ terminate


@pytest.mark.covers("A7")
def test_terminate_is_heard_behind_all_handlers_of_the_event():
    engine, seen = RecordingEngine(), []
    engine.add_event_handler(Events.ITERATION_STARTED, engine.terminate)
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: seen.append("still runs"))
    state = engine.run([10, 20], max_epochs=3)
    assert seen == ["still runs"]
    assert engine.batches == []
    assert (state.epoch, state.iteration, state.reason) == (1, 1, "terminated")


def test_the_step_may_terminate_and_its_iteration_is_completed():
    engine = RecordingEngine(lambda engine, batch: engine.terminate())
    engine.run([10, 20])
    assert engine.events[-6:] == [
        "ITERATION_STARTED", "ITERATION_COMPLETED", "SAFE_POINT", "TERMINATE", "COMPLETED", "CLOSED"
    ]  # fmt: skip


@pytest.mark.covers("A7")
def test_a_terminated_run_goes_on_with_the_next_epoch_and_keeps_its_data():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run([10, 20, 30], max_epochs=2)
    state = engine.run()
    assert engine.batches == [10, 20, 10, 20, 30]
    assert (state.epoch, state.iteration, state.reason) == (2, 5, "completed")


def test_terminate_in_the_last_epoch_is_an_end_and_the_next_run_starts_anew():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.run([10, 20])
    assert engine.run([30]).iteration == 1
    assert engine.batches == [10, 30]


# ------------------------------------------------------------------ terminate_epoch


@pytest.mark.covers("A7")
def test_terminate_epoch_begins_the_next_epoch_with_a_new_pass():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    state = engine.run([10, 20, 30], max_epochs=2)
    assert engine.batches == [10, 20, 10, 20, 30]
    assert (state.epoch, state.iteration, state.reason) == (2, 5, "completed")


@pytest.mark.parametrize(
    ("event", "count"),
    [("GET_BATCH_STARTED", 1), ("GET_BATCH_COMPLETED", 1), ("ITERATION_STARTED", 2),
     ("ITERATION_COMPLETED", 2)],
)  # fmt: skip
def test_its_handlers_are_told_how_many_batches_of_the_epoch_were_begun(event, count):
    engine, seen = Engine(passing), []
    engine.add_event_handler(
        Events.TERMINATE_SINGLE_EPOCH, lambda engine, iter_counter: seen.append(iter_counter)
    )
    once = count if event.startswith("GET") else 2
    engine.add_event_handler(getattr(Events, event)(once=once), engine.terminate_epoch)
    engine.run([10, 20, 30])
    assert seen == [count]


@pytest.mark.parametrize("event", ["OPENED", "STARTED", "EPOCH_STARTED"])
def test_terminate_epoch_before_an_epochs_first_batch_is_an_error(event):
    engine = Engine(passing)
    engine.add_event_handler(event, engine.terminate_epoch)
    with pytest.raises(RuntimeError, match=r"before any batch of the epoch; call it later, or"):
        engine.run([10])


# ------------------------------------------------------------------ interrupt


@pytest.mark.covers("A7")
def test_an_interrupted_run_goes_on_at_the_very_place():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), engine.interrupt)
    stops = []
    while engine.state.reason != "completed":
        state = engine.run([10, 20, 30], max_epochs=2)
        stops.append((state.epoch, state.iteration, state.reason))
    assert stops == [
        (1, 2, "interrupted"), (2, 4, "interrupted"), (2, 6, "interrupted"), (2, 6, "completed")
    ]  # fmt: skip
    assert engine.batches == [10, 20, 30, 10, 20, 30]
    assert engine.events.count("STARTED") == engine.events.count("COMPLETED") == 1
    assert engine.events.count("OPENED") == engine.events.count("CLOSED") == 4


def test_an_interrupted_run_keeps_its_iterator():
    passes = []

    class Data:
        def __iter__(self):
            passes.append(None)
            return iter([10, 20, 30])

    engine = Engine(passing)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(Data())
    engine.run()
    assert len(passes) == 1


def test_an_interrupted_run_is_not_interrupted_again_by_the_same_call():
    engine = Engine(passing)
    engine.add_event_handler(Events.STARTED, engine.interrupt)
    assert engine.run([10, 20]).reason == "interrupted"
    assert engine.run().reason == "completed"


# ------------------------------------------------------------------ all three


@pytest.mark.covers("A7")
@pytest.mark.parametrize(
    ("calls", "event", "reason"),
    [(["interrupt", "terminate_epoch", "terminate"], "TERMINATE", "terminated"),
     (["terminate", "terminate_epoch", "interrupt"], "TERMINATE", "terminated"),
     (["interrupt", "terminate_epoch"], "TERMINATE_SINGLE_EPOCH", "interrupted"),
     (["terminate_epoch", "interrupt"], "TERMINATE_SINGLE_EPOCH", "interrupted")],
    ids=str,
)  # fmt: skip
def test_terminate_goes_before_terminate_epoch_and_that_before_interrupt(calls, event, reason):
    engine = RecordingEngine()
    for call in calls:
        engine.add_event_handler(Events.ITERATION_STARTED, getattr(engine, call))
    state = engine.run([10, 20], max_epochs=2)
    assert engine.events[engine.events.index("ITERATION_STARTED") + 1] == event
    assert state.reason == reason


@pytest.mark.covers("A7")
@pytest.mark.parametrize("call", ["terminate", "terminate_epoch", "interrupt"])
def test_calls_before_a_run_have_no_effect(call):
    engine = RecordingEngine()
    getattr(engine, call)()
    assert engine.run([10, 20], max_epochs=2).reason == "completed"
    assert engine.batches == [10, 20, 10, 20]


@pytest.mark.parametrize("call", ["terminate", "terminate_epoch", "interrupt"])
@pytest.mark.parametrize("event", ["COMPLETED", "CLOSED"])
def test_calls_when_all_is_over_have_no_effect(call, event):
    engine = RecordingEngine()
    engine.add_event_handler(event, getattr(engine, call))
    for _ in range(2):
        assert engine.run([10, 20]).reason == "completed"
    assert engine.batches == [10, 20, 10, 20]


@pytest.mark.covers("A7")
@pytest.mark.parametrize(
    ("call", "epoch", "iteration"),
    [("terminate", 1, 2), ("terminate_epoch", 2, 5), ("interrupt", 1, 2)],
)
def test_another_thread_may_call(call, epoch, iteration):
    asked, called = threading.Event(), threading.Event()

    def step(engine, batch):
        if engine.state.iteration == 2:
            asked.set()
            assert called.wait(10)

    def other_thread():
        assert asked.wait(10)
        getattr(engine, call)()
        called.set()

    engine = Engine(step)
    thread = threading.Thread(target=other_thread)
    thread.start()
    state = engine.run([10, 20, 30], max_epochs=2)
    thread.join()
    assert (state.epoch, state.iteration) == (epoch, iteration)


@pytest.mark.parametrize("call", ["terminate", "terminate_epoch", "interrupt"])
def test_a_nested_run_stops_alone(call):
    inner, outer = RecordingEngine(), RecordingEngine()
    inner.add_event_handler(Events.ITERATION_COMPLETED(once=1), getattr(inner, call))
    outer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: inner.run([1, 2]))
    assert outer.run([10, 20]).reason == "completed"
    assert (inner.batches, outer.batches) == ([1], [10, 20])


def test_a_nested_run_may_terminate_the_outer_one():
    inner, outer = RecordingEngine(), RecordingEngine()
    inner.add_event_handler(Events.STARTED, outer.terminate)
    outer.add_event_handler(Events.ITERATION_COMPLETED, lambda: inner.run([1, 2]))
    assert outer.run([10, 20]).reason == "terminated"
    assert (inner.batches, outer.batches) == ([1, 2], [10])
