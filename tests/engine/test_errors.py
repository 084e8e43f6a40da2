"""An exception reaches the caller, says where it came from, and leaves a run that can go on."""

import gc
import threading
import weakref

import pytest

from footplate import Engine, Events, Handler, Signalled
from footplate.engine.errors import HandlerError
from tests.engine.recording import RecordingEngine
from tests.golden.scenarios import Unreliable, Unsized


class Failure(Exception):
    """What fails here."""


def passing(engine, batch):
    return batch


def failing(*_):
    raise Failure("on purpose")


def error_of(engine, data=(10, 20), **limits):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        engine.run(data, **limits)
    return caught.value


def notes_of(error):
    return getattr(error, "__notes__", [])


# ------------------------------------------------------------------ it reaches the caller


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    "error",
    [ValueError("wrong"), StopIteration("mine"), GeneratorExit(), KeyboardInterrupt(),
     SystemExit(3), Signalled(15), ExceptionGroup("several", [ValueError()])],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_the_exception_that_was_raised_is_the_one_that_is_caught(error):
    def step(engine, batch):
        raise error

    heard = []
    engine = Engine(step)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, e: heard.append(e))
    assert error_of(engine) is error
    assert heard == [error]


@pytest.mark.covers("A8")
def test_handlers_of_exception_raised_look_and_cannot_swallow():
    engine = Engine(failing)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: None)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: engine.terminate())
    assert isinstance(error_of(engine), Failure)


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    "event",
    ["OPENED", "STARTED", "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED",
     "ITERATION_STARTED", "ITERATION_COMPLETED", "SAFE_POINT", "DATALOADER_STOP_ITERATION",
     "EPOCH_COMPLETED", "COMPLETED"],
)  # fmt: skip
def test_a_stop_iteration_of_a_handler_is_an_error_and_no_end_of_data(event):
    def stop():
        raise StopIteration

    engine = RecordingEngine()
    engine.add_event_handler(event, stop)
    assert isinstance(error_of(engine, max_epochs=2), StopIteration)
    assert engine.events[-2:] == ["EXCEPTION_RAISED", "CLOSED"]


@pytest.mark.parametrize("end", ["TERMINATE", "INTERRUPT"])
def test_an_error_on_the_way_out_is_raised_too(end):
    engine = RecordingEngine()
    call = engine.terminate if end == "TERMINATE" else engine.interrupt
    engine.add_event_handler(Events.ITERATION_COMPLETED, call)
    engine.add_event_handler(end, failing)
    assert isinstance(error_of(engine), Failure)
    assert engine.state.reason == "error"


def test_an_error_of_a_nested_run_reaches_the_caller_of_the_outer_one():
    inner, outer = RecordingEngine(failing, name="val"), RecordingEngine(name="train")
    outer.add_event_handler(Events.EPOCH_COMPLETED, lambda: inner.run([10]))
    assert isinstance(error_of(outer), Failure)
    assert inner.events[-2:] == outer.events[-2:] == ["EXCEPTION_RAISED", "CLOSED"]
    assert inner.state.reason == outer.state.reason == "error"


def test_an_error_in_another_thread_reaches_the_caller_there():
    caught = []
    thread = threading.Thread(target=lambda: caught.append(error_of(Engine(failing))))
    thread.start()
    thread.join()
    assert isinstance(caught[0], Failure)


# ------------------------------------------------------------------ notes


@pytest.mark.covers("A8")
def test_the_note_names_step_engine_epoch_and_iteration():
    def train_step(engine, batch):
        if engine.state.iteration == 3:
            raise Failure

    (note,) = notes_of(error_of(Engine(train_step, name="train"), max_epochs=2))
    for said in ("train_step, the step of", "'train'", "epoch 2", "iteration 3"):
        assert said in note


@pytest.mark.covers("A8")
def test_the_note_names_handler_event_engine_epoch_and_iteration():
    def report_loss(engine):
        raise Failure

    engine = Engine(passing, name="train")
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), report_loss)
    (note,) = notes_of(error_of(engine))
    for said in ("report_loss", "ITERATION_COMPLETED(once=2)", "'train'", "epoch 1", "iteration 2"):
        assert said in note


def test_the_note_names_the_method_of_a_class_handler():
    class Report(Handler):
        def epoch_completed(self, engine):
            raise Failure

    engine = Engine(passing)
    engine.attach(Report())
    (note,) = notes_of(error_of(engine))
    assert "Report.epoch_completed, handling EPOCH_COMPLETED" in note


@pytest.mark.covers("A8")
def test_the_note_names_the_data_with_batch_and_pass():
    note, where = notes_of(error_of(Engine(passing, name="train"), Unreliable(10, 20)))
    assert note == (
        "raised by the data, a Unreliable, at batch 2 of pass 1, behind GET_BATCH_STARTED"
    )
    assert where == "in <Engine 'train': epoch 1, iteration 1>"


def test_an_error_of_a_nested_run_has_a_note_of_each_engine():
    inner, outer = Engine(failing, name="val"), Engine(passing, name="train")

    @outer.on(Events.EPOCH_COMPLETED)
    def validate():
        inner.run([10])

    first, second = notes_of(error_of(outer))
    assert "failing, the step of" in first
    assert "'val'" in first
    assert "validate" in second
    assert "EPOCH_COMPLETED of <Engine 'train'" in second


def test_an_error_of_an_event_that_the_step_fires_has_a_note_of_both():
    engine = Engine(lambda engine, batch: engine.fire_event("STEPPED"))
    engine.register_events("STEPPED")
    engine.add_event_handler("STEPPED", failing)
    first, second = notes_of(error_of(engine))
    assert "failing, handling STEPPED" in first
    assert "the step of" in second


# ------------------------------------------------------------------ errors besides


@pytest.mark.covers("A8")
def test_errors_of_those_who_look_are_notes_and_all_of_them_run():
    def look_wrongly(engine, error):
        raise KeyError("loss")

    engine, ran = Engine(failing), []
    for event in (Events.EXCEPTION_RAISED, Events.CLOSED):
        engine.add_event_handler(event, look_wrongly if "EXC" in event else failing)
        engine.add_event_handler(event, lambda *_: ran.append(engine.last_event_name))
    error = error_of(engine)
    assert isinstance(error, Failure)
    assert ran == ["EXCEPTION_RAISED", "CLOSED"]
    _, looking, closing = notes_of(error)
    assert looking.startswith("besides, KeyError: 'loss' (raised by ")
    assert "look_wrongly, handling EXCEPTION_RAISED" in looking
    assert closing.startswith("besides, Failure: on purpose (raised by failing, handling CLOSED")


@pytest.mark.covers("A8")
def test_one_error_of_closed_is_raised_as_it_is():
    engine = RecordingEngine()
    engine.add_event_handler(Events.CLOSED, failing)
    error = error_of(engine)
    assert isinstance(error, Failure)
    assert f"failing, handling CLOSED of {engine!r}" in notes_of(error)[0]
    assert "EXCEPTION_RAISED" not in engine.events


@pytest.mark.covers("A8")
def test_several_errors_of_closed_are_raised_as_a_group():
    engine, ran = Engine(passing, name="train"), []
    for _ in range(2):
        engine.add_event_handler(Events.CLOSED, failing)
    engine.add_event_handler(Events.CLOSED, lambda: ran.append("the last"))
    error = error_of(engine)
    assert isinstance(error, ExceptionGroup)
    assert [type(one) for one in error.exceptions] == [Failure, Failure]
    assert "handlers of CLOSED failed on <Engine 'train'" in str(error)
    assert ran == ["the last"]


def test_an_engine_whose_closed_failed_can_run_again():
    engine = RecordingEngine()
    with engine.add_event_handler(Events.CLOSED, failing):
        error_of(engine)
    assert engine.run([10, 20]).reason == "completed"


def test_closed_fires_once_and_last_whatever_raises():
    for event in ("OPENED", "STARTED", "COMPLETED"):
        engine = RecordingEngine()
        engine.add_event_handler(event, failing)
        error_of(engine)
        assert engine.events[-1] == "CLOSED", event
        assert engine.events.count("CLOSED") == 1, event


# ------------------------------------------------------------------ where the run stands


@pytest.mark.covers("A8")
def test_counters_return_to_the_last_completed_iteration_when_all_have_looked():
    engine, seen = Engine(lambda engine, batch: 1 / (3 - batch)), []
    engine.register_events("HALF_WAY", "SEEN")
    engine.add_event_handler(Events.ITERATION_STARTED, lambda e: e.fire_event("HALF_WAY"))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: e.fire_event("SEEN"))

    @engine.on(Events.EXCEPTION_RAISED)
    def look(engine, error):
        seen.append((engine.state.iteration, engine.state.counts["HALF_WAY"]))

    assert isinstance(error_of(engine, [1, 2, 3, 4]), ZeroDivisionError)
    state = engine.state
    assert seen == [(3, 3)]
    assert (state.iteration, state.counts["HALF_WAY"], state.counts["SEEN"]) == (2, 2, 2)
    assert state.get_event_attrib_value("HALF_WAY") == 2


def test_counters_that_handlers_of_exception_raised_move_are_not_taken_back():
    engine = Engine(failing)
    engine.register_events("REPORTED")
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda e, error: e.fire_event("REPORTED"))
    error_of(engine)
    assert engine.state.counts["REPORTED"] == 1
    assert engine.state.counts["EXCEPTION_RAISED"] == engine.state.counts["CLOSED"] == 1


@pytest.mark.parametrize("event", ["OPENED", "STARTED", "EPOCH_STARTED"])
def test_counters_moved_by_events_that_are_over_are_not_taken_back(event):
    engine = RecordingEngine()
    engine.register_events("READY")
    engine.add_event_handler(event, lambda e: e.fire_event("READY"))
    with engine.add_event_handler(Events.ITERATION_STARTED, failing):
        error_of(engine)
    assert engine.state.counts["READY"] == 1
    state = engine.run()
    assert state.counts["READY"] == engine.events.count(event)


def test_an_error_behind_the_iteration_takes_nothing_back():
    engine = Engine(passing)
    engine.add_event_handler(Events.SAFE_POINT, failing)
    error_of(engine)
    assert engine.state.iteration == 1


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    "event", ["GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED"]
)
def test_the_next_run_presents_the_same_batch_again(event):
    presented, fails = [], iter([False, True, False, False])

    def data():
        yield from [10, 20, 30]  # what is taken from it can't be taken twice

    engine = Engine(lambda engine, batch: presented.append((engine.state.iteration, batch)))

    @engine.on(event)
    def fail():
        if next(fails):
            raise Failure

    error_of(engine, data())
    presented.clear()
    assert engine.run().reason == "completed"
    assert presented == [(2, 20), (3, 30)]


def test_the_batch_is_presented_as_the_data_gave_it():
    presented, fails = [], iter([True, False])

    def step(engine, batch):
        presented.append(batch)
        if next(fails):
            raise Failure

    engine = Engine(step)

    @engine.on(Events.ITERATION_STARTED)
    def negate(engine):
        engine.state.batch = -engine.state.batch

    error_of(engine, [10])
    engine.run()
    assert presented == [-10, -10]


@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
def test_data_that_failed_go_on_at_the_batch_that_failed():
    engine, data = RecordingEngine(), Unreliable(10, 20, 30)
    error_of(engine, data)
    assert engine.run().iteration == 3
    assert engine.batches == [10, 20, 30]


def test_one_shot_data_that_failed_go_on_if_they_can():
    class Stream:
        batches = iter([10, Failure(), 20])

        def __iter__(self):
            return self

        def __next__(self):
            batch = next(self.batches)
            if isinstance(batch, Failure):
                raise batch
            return batch

    engine = RecordingEngine()
    error_of(engine, Stream())
    engine.run()
    assert engine.batches == [10, 20]


class Batch:
    """Something that can be weakly referenced."""


def test_a_new_run_lets_the_kept_batch_go():
    batches, kept = [Batch()], []
    made = weakref.ref(batches[0])
    engine = Engine(failing)
    error_of(engine, iter(batches))
    batches.clear()

    @engine.on(Events.GET_BATCH_COMPLETED)
    def look():
        gc.collect()  # the error holds frames, and is held by one of them
        kept.append(made() is not None)

    error_of(engine, None)
    engine.state.max_epochs = None
    error_of(engine, [20])
    assert kept == [True, False]


def test_other_data_let_the_kept_batch_go_and_are_taken_from_its_position():
    engine = RecordingEngine(lambda engine, batch: 1 / (batch - 20))
    error_of(engine, [10, 20, 30])
    engine.run([11, 22, 33])
    assert engine.batches == [10, 20, 22, 33]


def test_a_failed_run_is_saved_as_of_its_last_completed_iteration():
    engine = RecordingEngine(lambda engine, batch: 1 / (batch - 20))
    saved = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda e, error: saved.append(e.state_dict()))
    error_of(engine, [10, 20, 30])
    for state in (*saved, engine.state_dict()):
        resumed = RecordingEngine()
        resumed.load_state_dict(state)
        assert resumed.run([10, 20, 30]).iteration == 3
        assert resumed.batches == [20, 30]


def test_an_error_in_unsized_data_does_not_set_the_length_of_an_epoch():
    engine = RecordingEngine()
    engine.add_event_handler(Events.ITERATION_STARTED(once=2), failing)
    error_of(engine, Unsized(10, 20, 30))
    assert engine.state.epoch_length is None


# ------------------------------------------------------------------ refused before anything runs


async def asynchronous(engine): ...
def generator(engine):
    yield


@pytest.mark.parametrize(
    ("handler", "kind"), [(asynchronous, "async function"), (generator, "generator function")]
)
def test_a_handler_that_would_run_nothing_is_refused(handler, kind):
    with pytest.raises(HandlerError, match=f"{handler.__name__} is an? {kind}"):
        Engine(passing).add_event_handler(Events.STARTED, handler)


def test_a_handler_that_cannot_be_called_is_refused_when_it_is_added():
    def handle(engine, batch): ...

    with pytest.raises(HandlerError) as caught:
        Engine(passing).add_event_handler(Events.STARTED, handle)
    assert "handle can't handle STARTED" in str(caught.value)
    assert "it takes (engine, batch) but would be called as (engine) or ()" in str(caught.value)


def test_a_handler_without_a_signature_is_refused_unless_it_is_wrapped():
    engine = Engine(passing)
    with pytest.raises(HandlerError, match=r"dict has no signature.*lambda engine: dict\(…\)"):
        engine.add_event_handler(Events.STARTED, dict)
    engine.add_event_handler(Events.STARTED, lambda engine: dict(engine.state.metrics))
    assert engine.run([10]).reason == "completed"
