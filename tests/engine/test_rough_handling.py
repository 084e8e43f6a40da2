"""What nobody had in mind: other threads, exits in handlers, limits that come late."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from footplate import Engine, Events, Handler, before
from footplate.engine.errors import DataError, HandlerError, StateError


def passing(engine, batch):
    return batch


def test_a_filter_never_sees_another_count_while_a_thread_adds_and_removes_handlers():
    engine, wrong, over = Engine(passing), [], threading.Event()
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: None)

    def toggle():
        while not over.is_set():
            impossible = Events.ITERATION_COMPLETED(before(1))
            with engine.add_event_handler(impossible, lambda e: wrong.append(e.state.iteration)):
                time.sleep(0)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        engine.run(range(200_000))
    finally:
        over.set()
        thread.join()
    assert wrong == []


def test_two_threads_can_not_run_one_engine():
    class Slow(list):
        def __len__(self):
            time.sleep(0.05)
            return super().__len__()

    engine, errors = Engine(passing), []

    def run():
        try:
            engine.run(Slow([1, 2, 3]))
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.state.iteration == 3
    assert len(errors) == 1
    assert "is running" in errors[0]


@pytest.mark.covers("A8")
def test_an_exit_in_a_handler_that_looks_neither_replaces_the_error_nor_spoils_the_counters():
    engine, seen, fails = Engine(lambda e, b: 1 // b), [], [1, 0, 1]
    engine.on(Events.EXCEPTION_RAISED)(lambda e, error: exit(3))
    engine.on(Events.CLOSED)(lambda: exit(4))
    engine.on(Events.CLOSED)(lambda: seen.append("closed"))
    with pytest.raises(ZeroDivisionError) as caught:
        engine.run(fails)
    notes = "\n".join(caught.value.__notes__)
    assert "SystemExit: 3" in notes
    assert "SystemExit: 4" in notes
    assert seen == ["closed"]
    assert engine.state.iteration == 1


def test_an_exit_in_closed_alone_is_raised_when_all_have_run():
    engine, seen = Engine(passing), []
    engine.on(Events.CLOSED)(lambda: exit(4))
    engine.on(Events.CLOSED)(lambda: seen.append("closed"))
    with pytest.raises(SystemExit):
        engine.run([1])
    assert seen == ["closed"]


def test_a_larger_limit_goes_on_behind_an_error_in_completed():
    engine = Engine(passing)
    fails = engine.add_event_handler(Events.COMPLETED, lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        engine.run([1, 2, 3])
    assert engine.run(max_epochs=3).iteration == 9


def test_a_state_saved_in_completed_is_that_of_a_finished_run():
    first, saved = Engine(passing), []
    first.on(Events.COMPLETED)(lambda e: saved.append(e.state_dict()))
    first.run([1, 2, 3])
    second = Engine(passing)
    second.load_state_dict(saved[0])
    with pytest.raises(StateError, match="the loaded run is finished"):
        second.run([1, 2, 3])
    assert second.run([1, 2, 3], max_epochs=3).iteration == 9


def test_an_error_between_a_cut_and_its_continuation_loses_no_iteration():
    trainer, evaluator = Engine(passing, name="train"), Engine(passing, name="val")
    seen = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), lambda: evaluator.run([1, 2, 3]), priority="HIGH"
    )
    trainer.on(Events.ITERATION_COMPLETED)(
        lambda e: seen.append((e.state.iteration, e.state.batch))
    )
    once = evaluator.add_event_handler(
        Events.ITERATION_STARTED(once=1), lambda: os.kill(os.getpid(), signal.SIGINT)
    )
    with once, pytest.raises(KeyboardInterrupt):
        trainer.run([10, 20, 30])
    fails = trainer.add_event_handler(Events.OPENED, lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        trainer.run()
    trainer.run()
    assert seen == [(1, 10), (2, 20), (3, 30)]


def test_a_stop_iteration_within_sized_data_is_no_end_of_them():
    class Broken:
        def __len__(self):
            return 4

        def __iter__(self):
            return iter([0, 1])

    with pytest.raises(DataError, match="say that they have 4 batches, but ended behind 2"):
        Engine(passing).run(Broken())


def test_a_role_does_not_take_the_names_of_points_of_any_engine():
    class Opened(Handler):
        def before_run(self, engine):
            seen.append(engine.last_event_name)

    seen = []
    engine = Engine(passing, name="run")
    engine.attach(Opened())
    engine.run([1])
    assert seen == ["OPENED"]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda e: e.set_data(42), TypeError, "can't be iterated over"),
        (lambda e: e.run([1], max_epochs=2.5), TypeError, "whole number"),
        (lambda e: e.attach(print), TypeError, "takes a Handler"),
        (lambda e: e.on(Events.EPOCH_COMPLETED)(dict), HandlerError, "no signature"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(act, error, message):
    engine = Engine(passing)
    with pytest.raises(error, match=message):
        act(engine)
    assert engine.state.dataloader is None
    assert engine.run([1]).iteration == 1


def test_whole_numbers_of_numpy_are_whole_numbers():
    state = Engine(passing).run([1, 2], max_epochs=np.int64(2))
    assert state.iteration == 4


def test_interruption_can_be_switched_off():
    engine = Engine(passing)
    engine.interrupt_resume_enabled = False
    engine.on(Events.ITERATION_COMPLETED)(lambda e: e.interrupt())
    with pytest.raises(RuntimeError, match="interrupt_resume_enabled is False"):
        engine.run([1])
