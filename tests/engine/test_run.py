"""Running an engine: over which data, how long, and what the state says meanwhile."""

import io
import itertools
import math
import threading
import weakref
from types import SimpleNamespace

import ignite.engine
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import footplate.engine.state
from footplate import Engine, Events, State
from footplate.engine.errors import DataError, HandlerError, StateError
from footplate.handlers.console import Console as ConsoleHandler
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.scalars import Scalars
from tests.engine.recording import RecordingEngine
from tests.golden.scenarios import Unsized


def batches_of(data, **limits):
    engine = RecordingEngine()
    engine.run(data, **limits)
    return engine.batches


# ------------------------------------------------------------------ data


@pytest.mark.covers("A1")
@pytest.mark.parametrize(
    "data",
    [[10, 20, 30], (10, 20, 30), range(10, 31, 10), {10: 0, 20: 0, 30: 0}, Unsized(10, 20, 30),
     iter([10, 20, 30]), (batch for batch in (10, 20, 30))],
    ids=lambda data: type(data).__name__,
)  # fmt: skip
def test_data_may_be_anything_that_can_be_iterated_over(data):
    assert batches_of(data) == [10, 20, 30]


class IndexedOnly:
    def __getitem__(self, index):
        return "abc"[index]


def test_data_may_be_a_sequence_without_iter():
    assert batches_of(IndexedOnly()) == ["a", "b", "c"]


@pytest.mark.covers("A1")
def test_endless_data_run_for_as_many_iterations_as_asked():
    assert batches_of(itertools.count(), max_epochs=2, epoch_length=3) == [0, 1, 2, 3, 4, 5]
    assert batches_of(itertools.count(), max_iters=4) == [0, 1, 2, 3]


def test_without_data_batches_are_none():
    assert batches_of(None, max_epochs=2, epoch_length=2) == [None] * 4


@given(
    size=st.integers(1, 5),
    sized=st.booleans(),
    epoch_length=st.integers(1, 12) | st.none(),
    epochs=st.integers(1, 4),
)
def test_the_batches_are_those_of_the_data_walked_in_a_circle(size, sized, epoch_length, epochs):
    data = list(range(size)) if sized else Unsized(*range(size))
    circle = itertools.islice(itertools.cycle(range(size)), (epoch_length or size) * epochs)
    assert batches_of(data, max_epochs=epochs, epoch_length=epoch_length) == list(circle)


@given(size=st.integers(1, 5), sized=st.booleans(), max_iters=st.integers(1, 12))
def test_max_iters_counts_iterations_over_all_epochs(size, sized, max_iters):
    data = list(range(size)) if sized else Unsized(*range(size))
    circle = itertools.islice(itertools.cycle(range(size)), max_iters)
    assert batches_of(data, max_iters=max_iters) == list(circle)


@given(
    size=st.integers(1, 4),
    epoch_length=st.integers(1, 8) | st.none(),
    ends=st.sets(st.integers(1, 12)),
)
def test_a_terminated_epoch_begins_a_new_pass_over_the_data(size, epoch_length, ends):
    engine = RecordingEngine()
    for end in ends:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=end), engine.terminate_epoch)
    engine.run(list(range(size)), max_epochs=3, epoch_length=epoch_length)

    expected, iteration = [], 0
    data = itertools.cycle(range(size))
    for _ in range(3):
        for _ in range(epoch_length or size):
            expected.append(next(data))
            iteration += 1
            if iteration in ends:
                data = itertools.cycle(range(size))
                break
    assert engine.batches == expected


def test_the_first_end_of_unsized_data_sets_the_length_of_an_epoch():
    state = Engine(lambda engine, batch: None).run(Unsized(10, 20, 30), max_epochs=2)
    assert (state.epoch_length, state.epoch, state.iteration) == (3, 2, 6)


def test_the_iterator_is_made_behind_epoch_started_and_goes_on_over_epochs():
    made = []

    class Data:
        def __iter__(self):
            made.append(engine.events[-2:])
            return iter(range(10))

    engine = RecordingEngine()
    engine.run(Data(), max_epochs=3, epoch_length=2)
    assert made == [["EPOCH_STARTED", "GET_BATCH_STARTED"]]
    assert engine.batches == [0, 1, 2, 3, 4, 5]


def test_get_batch_events_count_the_batches_before():
    seen = []
    engine = Engine(lambda engine, batch: None)
    for event in (Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED):
        engine.add_event_handler(event(once=2), lambda e: seen.append(e.state.iteration))
    engine.run(range(5))
    assert seen == [2, 2]


# ------------------------------------------------------------------ data that give out


@pytest.mark.covers("A1")
@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_iters": 5}, {"epoch_length": 3}])
def test_a_one_shot_iterator_that_ends_too_early_is_an_error(limits):
    engine = RecordingEngine()
    with pytest.raises(DataError, match="one-shot iterator that ended at iteration 2"):
        engine.run(iter([10, 20]), **limits)
    assert engine.batches == [10, 20]


def test_a_one_shot_iterator_that_suffices_is_none():
    assert batches_of(iter([10, 20]), max_epochs=2, epoch_length=1) == [10, 20]


def test_a_handler_may_bring_new_data_when_one_shot_data_end():
    engine = RecordingEngine()

    @engine.on(Events.DATALOADER_STOP_ITERATION)
    def replace(engine):
        engine.state.dataloader = iter([30, 40])

    engine.run(iter([10, 20]), epoch_length=4)
    assert engine.batches == [10, 20, 30, 40]


def test_a_handler_may_set_new_data_when_one_shot_data_end():
    engine = RecordingEngine()
    engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda e: e.set_data(iter([30, 40])))
    engine.run(iter([10, 20]), epoch_length=4)
    assert engine.batches == [10, 20, 30, 40]
    assert engine.source.passes == 2


@pytest.mark.covers("A1")
def test_an_empty_second_pass_is_an_error():
    class OnlyOnce:
        passes = iter([[10, 20], []])

        def __iter__(self):
            return iter(next(self.passes))

    with pytest.raises(DataError, match="pass 2 over the data gave no batch"):
        Engine(lambda engine, batch: None).run(OnlyOnce(), max_epochs=2)


@pytest.mark.parametrize("data", [[], Unsized(), iter([])], ids=["sized", "unsized", "one-shot"])
def test_empty_data_are_an_error(data):
    with pytest.raises(DataError, match="at least one"):
        Engine(lambda engine, batch: None).run(data)


def test_no_data_and_no_epoch_length_are_an_error():
    with pytest.raises(DataError, match="give it data, or epoch_length for none"):
        Engine(lambda engine, batch: None).run()


def test_data_that_cannot_be_iterated_over_are_a_type_error():
    with pytest.raises(TypeError, match="type int can't be iterated over"):
        Engine(lambda engine, batch: None).run(3)


# ------------------------------------------------------------------ set_data


def test_set_data_brings_the_next_batch_and_leaves_the_epoch_as_long_as_it_is():
    engine = RecordingEngine()
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), lambda e: e.set_data([100, 200, 300, 400])
    )
    state = engine.run([10, 20, 30], max_epochs=2)
    assert engine.batches == [10, 20, 100, 200, 300, 400]
    assert (state.epoch_length, state.dataloader) == (3, [100, 200, 300, 400])


def test_set_data_between_two_calls_of_run_is_where_the_run_goes_on():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.interrupt)
    engine.run([10, 20, 30])
    engine.set_data([100, 200])
    engine.run()
    assert engine.batches == [10, 100, 200]


# ------------------------------------------------------------------ limits


@pytest.mark.covers("A1")
def test_one_epoch_is_run_by_default():
    assert Engine(lambda engine, batch: None).run([10]).max_epochs == 1


@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_limits_are_positive_whole_numbers(limit, value, error):
    with pytest.raises(error, match=f"{limit} is "):
        Engine(lambda engine, batch: None).run([10], **{limit: value})


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_the_length_of_an_epoch_is_a_whole_number(value, error):
    with pytest.raises(error, match="epoch_length is "):
        Engine(lambda engine, batch: None).run([10], epoch_length=value)


@pytest.mark.covers("E4")
def test_an_epoch_of_no_batches_is_run_where_it_is_said():
    engine = Engine(lambda engine, batch: pytest.fail("there is no batch"))
    fired = []
    for event in Events:
        engine.add_event_handler(event, lambda event=event: fired.append(str(event)))
    state = engine.run([], epoch_length=0)
    assert (state.epoch, state.iteration, state.epoch_length) == (1, 0, 0)
    assert fired == [
        "OPENED", "STARTED", "EPOCH_STARTED", "EPOCH_COMPLETED", "SAFE_POINT", "COMPLETED", "CLOSED"
    ]  # fmt: skip
    with pytest.raises(DataError, match="say epoch_length=0 where none is meant"):
        engine.run([])
    with pytest.raises(ValueError, match="never gets to max_iters"):
        Engine(lambda engine, batch: None).run([], epoch_length=0, max_iters=3)


@pytest.mark.covers("A1")
def test_max_epochs_and_max_iters_exclude_each_other():
    with pytest.raises(ValueError, match=r"max_epochs=2 and max_iters=3 exclude each other"):
        Engine(lambda engine, batch: None).run([10], max_epochs=2, max_iters=3)


@pytest.mark.parametrize("limits", [("max_epochs", "max_iters"), ("max_iters", "max_epochs")])
def test_changing_from_one_limit_to_the_other_is_an_error_that_says_what_to_do(limits):
    first, second = limits
    engine = Engine(lambda engine, batch: None)
    engine.run([10], **{first: 1})
    with pytest.raises(ValueError, match=rf"set engine.state.{first} = None to start anew"):
        engine.run([10], **{second: 5})
    setattr(engine.state, first, None)
    engine.run([10], **{second: 1})
    assert (getattr(engine.state, first), getattr(engine.state, second)) == (None, 1)


@pytest.mark.covers("A1")
@pytest.mark.parametrize(
    ("limit", "stands"), [("max_epochs", "at epoch 2"), ("max_iters", "at iteration 4")]
)
def test_a_limit_that_is_passed_already_is_an_error_that_says_what_to_do(limit, stands):
    engine = Engine(lambda engine, batch: None)
    reached = int(stands[-1])
    engine.run([10, 20], **{limit: reached})
    says = f"{limit}={reached - 1}, but the run stands {stands}.*engine.state.{limit} = None to"
    with pytest.raises(ValueError, match=says):
        engine.run([10, 20], **{limit: reached - 1})
    assert getattr(engine.state, limit) == reached


def test_another_epoch_length_is_refused_where_a_run_goes_on():
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.interrupt)
    engine.run([10, 20, 30])
    with pytest.raises(ValueError, match="epoch_length=2, but the run goes on with 3"):
        engine.run([10, 20, 30], epoch_length=2)


def test_a_refused_run_leaves_the_state_alone():
    engine = Engine(lambda engine, batch: None)
    engine.run([10, 20], max_epochs=2)
    before = dict(vars(engine.state))
    for arguments in ({"max_epochs": 1}, {"max_iters": 9}, {"max_epochs": 3, "epoch_length": 5}):
        with pytest.raises(ValueError, match="to start anew"):
            engine.run([10, 20], **arguments)
        assert vars(engine.state) == before


def test_a_handler_may_move_the_end_of_the_run():
    engine = RecordingEngine()

    @engine.on(Events.EPOCH_COMPLETED(once=1))
    def longer(engine):
        engine.state.max_epochs = 3

    assert engine.run([10, 20], max_epochs=1).epoch == 3


def test_a_handler_may_bring_the_end_nearer_within_an_epoch():
    engine = Engine(lambda engine, batch: None)

    @engine.on(Events.ITERATION_COMPLETED(once=3))
    def shorter(engine):
        engine.state.max_iters = 3

    state = engine.run(range(10), max_iters=8)
    assert (state.iteration, state.reason) == (3, "completed")


@pytest.mark.covers("A7")
@pytest.mark.parametrize("last", [3, 4, 6])  # within an epoch of four, at its end, in the next
def test_a_run_has_completed_at_its_limit_unless_it_was_terminated(last):
    def make():
        return Engine(lambda engine, batch: None)

    states = []
    whole = make()
    whole.add_event_handler(Events.SAFE_POINT, lambda e: states.append(e.state_dict()))
    assert whole.run(range(4), max_iters=last).reason == "completed"
    for state in states:  # as one that goes on from wherever it was killed
        resumed = make()
        resumed.load_state_dict(state)
        assert (resumed.run(range(4)).reason, resumed.state.iteration) == ("completed", last)

    terminated = make()
    terminated.add_event_handler(Events.ITERATION_COMPLETED(once=last), terminated.terminate)
    assert terminated.run(range(4), max_iters=last).reason == "terminated"


@pytest.mark.covers("A7")
@pytest.mark.parametrize("event", [Events.TERMINATE, Events.COMPLETED])
@pytest.mark.parametrize("reason", ["completed", "terminated"])
@pytest.mark.parametrize("in_a_new_process", [False, True])
def test_why_a_run_ends_is_kept_where_its_end_is_cut(event, reason, in_a_new_process):
    engine = Engine(lambda engine, batch: None)
    if reason == "terminated":
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    failing = engine.add_event_handler(event, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run(range(4), max_iters=3 if reason == "completed" else 6)
    failing.remove()
    if in_a_new_process:
        saved, engine = engine.state_dict(), Engine(lambda engine, batch: None)
        engine.load_state_dict(saved)
    state = engine.run(range(4))
    assert (state.iteration, state.reason) == (3, reason)


def test_started_may_set_limits_and_add_handlers_as_the_learning_rate_finder_does():
    engine, seen = RecordingEngine(), []

    @engine.on(Events.STARTED)
    def begin(engine):
        engine.state.max_iters = 5
        engine.state.max_epochs = 3
        engine.add_event_handler(
            Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.iteration)
        )

    state = engine.run([10, 20], max_epochs=1)
    assert seen == [1, 2, 3, 4, 5]
    assert (state.epoch, state.reason) == (3, "completed")


# ------------------------------------------------------------------ one run after another


@pytest.mark.covers("A1")
def test_a_finished_run_starts_anew():
    engine = RecordingEngine()
    engine.run([10, 20], max_epochs=2)
    state = engine.run([30], max_epochs=2)
    assert engine.batches == [10, 20, 10, 20, 30, 30]
    assert (state.epoch, state.iteration, state.epoch_length) == (2, 2, 1)
    assert engine.events.count("STARTED") == 2


@pytest.mark.covers("A1")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_a_finished_run_goes_on_with_a_larger_limit(limit):
    engine = RecordingEngine()
    engine.run([10, 20], **{limit: 2})
    first = engine.state.iteration
    state = engine.run([10, 20], **{limit: 4})
    assert (state.iteration, getattr(state, limit)) == (2 * first, 4)
    assert engine.batches == [10, 20] * first
    assert engine.events.count("STARTED") == 2


def test_one_shot_data_go_on_with_a_larger_limit():
    engine, data = RecordingEngine(), iter([10, 20, 30, 40])
    engine.run(data, max_epochs=1, epoch_length=2)
    engine.run(data, max_epochs=2)
    assert engine.batches == [10, 20, 30, 40]


def test_a_new_run_counts_anew():
    engine = Engine(lambda engine, batch: engine.fire_event("STEPPED"))
    engine.register_events("STEPPED")
    for _ in range(2):
        state = engine.run([10, 20])
        assert state.get_event_attrib_value("STEPPED") == 2


def test_a_finished_run_needs_its_data_again():
    engine = Engine(lambda engine, batch: None)
    engine.run([10])
    with pytest.raises(DataError, match="given no data"):
        engine.run()


def test_limits_of_none_start_anew():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.run([10, 20], max_epochs=3)
    engine.state.max_epochs = None
    state = engine.run([30], max_iters=1)
    assert (state.iteration, state.epoch, state.max_iters) == (1, 1, 1)
    assert engine.batches == [10, 30]


def test_metrics_and_attributes_of_others_survive_a_new_run():
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics["loss"] = 0.5
    engine.state.best = 3
    engine.run([10])
    engine.run([10])
    assert (engine.state.metrics, engine.state.best) == ({"loss": 0.5}, 3)


def test_run_on_a_running_engine_is_refused_and_disturbs_nothing():
    def step(engine, batch):
        with pytest.raises(RuntimeError, match="is running"):
            engine.run([1, 2, 3], max_epochs=9)
        return batch

    state = Engine(step).run([10, 20])
    assert (state.iteration, state.output, state.max_epochs) == (2, 20, 1)


def test_run_is_refused_while_the_engine_runs_in_another_thread():
    begun, refused = threading.Event(), threading.Event()

    def step(engine, batch):
        begun.set()
        return refused.wait(10)

    engine = Engine(step)
    thread = threading.Thread(target=engine.run, args=([10],))
    thread.start()
    begun.wait(10)
    with pytest.raises(RuntimeError, match="is running"):
        engine.run([10])
    refused.set()
    thread.join()
    assert engine.state.output is True


# ------------------------------------------------------------------ the process function


async def asynchronous(engine, batch): ...
async def asynchronous_generator(engine, batch):
    yield


def generator(engine, batch):
    yield


class AsynchronousCall:
    async def __call__(self, engine, batch): ...


@pytest.mark.parametrize(
    ("function", "kind"),
    [(asynchronous, "an async function"), (asynchronous_generator, "an async generator"),
     (generator, "a generator function"), (AsynchronousCall(), "an async function")],
)  # fmt: skip
def test_a_step_that_would_run_nothing_is_refused(function, kind):
    with pytest.raises(HandlerError, match=kind):
        Engine(function)


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda engine: None, lambda engine, batch, more: None,
     lambda engine, *, batch: None],
)  # fmt: skip
def test_a_step_that_cannot_be_called_with_engine_and_batch_is_refused(function):
    with pytest.raises(HandlerError, match=r"would be called as \(engine, batch\)"):
        Engine(function)


def test_a_step_that_cannot_be_called_at_all_is_refused():
    with pytest.raises(TypeError, match="not callable: 3"):
        Engine(3)


@pytest.mark.parametrize(
    "function",
    [lambda engine, batch, scale=2: batch * scale, lambda *arguments: arguments[1] * 2,
     type("Step", (), {"__call__": lambda self, engine, batch: batch * 2})()],
)  # fmt: skip
def test_a_step_may_be_anything_that_takes_engine_and_batch(function):
    assert Engine(function).run([10]).output == 20


# ------------------------------------------------------------------ the state


def test_run_returns_the_state():
    engine = Engine(lambda engine, batch: None)
    assert engine.run([10]) is engine.state


def test_iteration_started_may_replace_the_batch():
    engine = RecordingEngine()

    @engine.on(Events.ITERATION_STARTED)
    def scale(engine):
        engine.state.batch *= 2

    engine.run([10, 20])
    assert engine.batches == [20, 40]


class Held:
    """Something that can be weakly referenced."""


def test_batch_and_output_are_still_there_when_the_epoch_is_over():
    engine, seen = Engine(lambda engine, batch: -batch), []
    for event in (Events.EPOCH_COMPLETED, Events.SAFE_POINT, Events.COMPLETED, Events.CLOSED):
        engine.add_event_handler(event, lambda e: seen.append((e.state.batch, e.state.output)))
    state = engine.run(Unsized(10, 20))
    assert seen == [(10, -10), *[(20, -20)] * 5]
    assert (state.batch, state.output) == (20, -20)


def test_batch_and_output_are_let_go_when_the_next_batch_is_there():
    batches, outputs, alive = [], [], []

    def data():
        for _ in range(3):
            batch = Held()
            batches.append(weakref.ref(batch))
            yield batch
            del batch

    def step(engine, batch):
        output = Held()
        outputs.append(weakref.ref(output))
        return output

    engine = Engine(step)

    @engine.on(Events.GET_BATCH_COMPLETED)
    def look(engine):
        assert engine.state.output is None
        alive.append(([r() is not None for r in batches], [r() is not None for r in outputs]))

    engine.run(data())
    assert alive == [([True], []), ([False, True], [False]), ([False, False, True], [False, False])]


def test_a_state_may_be_assigned():
    engine = Engine(lambda engine, batch: None)
    engine.state = State(best=3)
    state = engine.run([10, 20])
    assert (state.best, state.iteration, state.reason) == (3, 2, "completed")
    assert state.get_event_attrib_value(Events.ITERATION_COMPLETED(every=2)) == 2


def test_a_state_of_ignite_may_be_assigned():
    engine, seen = Engine(lambda engine, batch: batch, name="train"), []
    engine.register_events("STEPPED", event_to_attr={"STEPPED": "steps"})
    engine.state = ignite.engine.State(best=3)
    engine.add_event_handler(Events.SAFE_POINT(every=2), lambda e: seen.append(e.state.iteration))
    state = engine.run([10, 20, 30, 40])
    assert seen == [2, 4]
    assert (state.best, state.epoch, state.iteration, state.output) == (3, 1, 4, 40)
    assert (state.steps, state.reason, state.status, state.call, state.stage) == (
        0, "completed", "finished", "train", "train"
    )  # fmt: skip


def test_a_state_that_is_assigned_with_numbers_is_where_the_run_goes_on():
    engine = RecordingEngine()
    engine.state = State(epoch=1, iteration=2, epoch_length=2, max_epochs=3)
    state = engine.run([10, 20])
    assert (state.epoch, state.iteration) == (3, 6)


def test_started_may_set_where_the_run_stands():
    engine = RecordingEngine()

    @engine.on(Events.STARTED)
    def resume(engine):
        engine.state.epoch, engine.state.iteration = 3, 6

    @engine.on(Events.ITERATION_STARTED(once=7))
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.run([10, 20], max_epochs=5)
    assert (engine.state.epoch, engine.state.iteration) == (4, 6)


# ------------------------------------------------------------------ times


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved."""
    clock = SimpleNamespace(now=100.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(footplate.engine.state, "time", clock)
    return clock


def test_its_logger_is_the_librarys():
    assert Engine(lambda engine, batch: None).logger.name == "footplate.engine"


def test_times_are_set_before_their_event_and_hold_its_handlers_afterwards(clock):
    def spend(seconds):
        def handle():
            clock.now += seconds

        return handle

    engine, seen = Engine(lambda engine, batch: spend(1)()), []
    engine.add_event_handler(Events.STARTED, lambda e: seen.append(dict(e.state.times)))
    engine.add_event_handler(Events.STARTED, spend(1000))
    engine.add_event_handler(Events.EPOCH_STARTED, spend(10))
    for event in (Events.EPOCH_COMPLETED, Events.COMPLETED):
        engine.add_event_handler(event, lambda e: seen.append(dict(e.state.times)))
        engine.add_event_handler(event, spend(100))
    assert engine.state.times == {"EPOCH_COMPLETED": None, "COMPLETED": None}

    times = engine.run(range(3), max_epochs=2).times
    assert seen == [
        {"EPOCH_COMPLETED": 0, "COMPLETED": 0},
        {"EPOCH_COMPLETED": 13, "COMPLETED": 0},
        {"EPOCH_COMPLETED": 13, "COMPLETED": 0},
        {"EPOCH_COMPLETED": 113, "COMPLETED": 1226},
    ]
    assert times == {"EPOCH_COMPLETED": 113, "COMPLETED": 1326}


def test_times_leave_out_the_pause_behind_an_interruption(clock):
    def step(engine, batch):
        clock.now += 1

    engine = Engine(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(range(3))
    clock.now += 1000
    assert engine.run().times == {"EPOCH_COMPLETED": 3, "COMPLETED": 3}


def test_times_go_on_in_the_process_that_loads_the_state(clock):
    def step(engine, batch):
        clock.now += 1

    engine, resumed = Engine(step), Engine(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(range(3))
    resumed.load_state_dict(engine.state_dict())
    clock.now += 1000
    assert resumed.run(range(3)).times == {"EPOCH_COMPLETED": 3, "COMPLETED": 3}


# ------------------------------------------------------------------ without an end


@pytest.mark.covers("B5")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_a_run_without_an_end_is_ended_by_a_handler(limit):
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=7), engine.terminate)
    state = engine.run(range(3), **{limit: math.inf})
    assert (state.iteration, state.reason, getattr(state, limit)) == (7, "terminated", math.inf)


@pytest.mark.covers("B5")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_a_run_without_an_end_is_saved_loaded_and_given_one(limit):
    first, second = RecordingEngine(), RecordingEngine()
    first.add_event_handler(Events.ITERATION_COMPLETED(once=4), first.interrupt)
    first.run(range(3), **{limit: math.inf})
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert getattr(second.state, limit) == math.inf
    state = second.run(range(3), **{limit: 6 if limit == "max_iters" else 2})
    assert (state.iteration, state.reason, second.batches) == (6, "completed", [1, 2])


@pytest.mark.parametrize("limits", [{"max_epochs": -math.inf}, {"max_iters": math.nan},
                                    {"epoch_length": math.inf}])  # fmt: skip
def test_other_limits_are_whole(limits):
    with pytest.raises(TypeError, match="is a whole number or None"):
        RecordingEngine().run(range(3), **limits)


def test_a_state_with_an_endless_epoch_is_refused():
    engine = RecordingEngine()
    with pytest.raises(StateError, match="epoch_length is a whole number"):
        engine.load_state_dict({"iteration": 0, "epoch_length": math.inf, "max_epochs": math.inf})


def test_nothing_is_shown_of_an_end_that_is_none():
    engine, printed = Engine(lambda engine, batch: {"n": batch}, name="train"), io.StringIO()
    engine.attach(Scalars())
    engine.attach(ConsoleHandler(stream=printed))
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    engine.attach(ProgressBar(console=terminal, interval=0))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: terminal.print("."))
    engine.run([0, 1], max_epochs=math.inf)
    assert printed.getvalue().splitlines() == [
        "train [1]  n 0.5000  n_epoch 0.5000",
        "train [2]  n 0.0000  n_epoch 0.0000",
    ]
    shown = terminal.file.getvalue()
    assert "train [1]" in shown
    assert "inf" not in shown


def test_a_silenced_engine_is_heard_by_nobody_and_counts_nothing():
    engine, heard = Engine(lambda engine, batch: engine.fire_event("MINE") or batch * 2), []
    engine.register_events("MINE")
    engine.add_event_handler("MINE", lambda: heard.append("mine"))
    engine.bus.signal("MINE").connect(lambda sender: heard.append("any"))
    with engine.silenced():
        assert engine.process(4) == 8
        assert engine.channels["MINE"].calls == ()
    assert heard == []
    assert engine.state.get_event_attrib_value("MINE") == 0
    engine.run([1])
    assert heard == ["mine", "any"]
    assert engine.state.get_event_attrib_value("MINE") == 1


@pytest.mark.covers("A1")
def test_a_state_shows_plain_values_and_what_the_others_are():
    state = State(best=0.5, model=object(), _hidden=1)
    lines = repr(state).split("\n")
    assert lines[0] == "State:"
    assert lines[1:3] == ["\titeration: 0", "\tepoch: 0"]
    assert lines[-3:] == ["\tbest: 0.5", "\tmodel: object", ""]
