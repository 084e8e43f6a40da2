"""The view: our engine as an instance of pytorch-ignite's, for those who ask for that."""

from __future__ import annotations

import gc
import weakref

import pytest
from ignite.engine import Engine as IgniteEngine
from ignite.engine import EventEnum, State
from ignite.engine import Events as IgniteEvents
from ignite.handlers import EarlyStopping, TensorboardLogger, global_step_from_engine

from footplate import Engine, Event, Events
from footplate.engine.errors import HandlerError
from footplate.handlers import ignite
from footplate.handlers.ignite import as_ignite
from footplate.handlers.ignite.tables import Row
from footplate.handlers.ignite.view import IgniteView

pytestmark = pytest.mark.covers("A12")

OF_ITS_OWN = {"on", "add_event_handler", "register_events"}
"""What the view does itself: handlers that come through it are given the view."""


@pytest.fixture
def engine():
    return Engine(lambda engine, batch: batch, name="train")


@pytest.fixture
def view(engine):
    return as_ignite(engine)


def test_it_is_one_of_pytorch_ignites(engine, view):
    assert isinstance(view, IgniteEngine)
    assert as_ignite(view) is view
    assert repr(view) == f"<IgniteView of {engine!r}>"
    with pytest.raises(TypeError, match="an engine of Footplate's, given <"):
        as_ignite(IgniteEngine(lambda engine, batch: None))


def test_every_public_name_is_the_engines(engine, view):
    theirs = IgniteEngine(lambda engine, batch: None)
    names = {one for one in (*dir(theirs), *vars(theirs)) if not one.startswith("_")}
    assert len(names) > 20
    assert names >= OF_ITS_OWN
    for name in names - OF_ITS_OWN:
        assert getattr(view, name) == getattr(engine, name), name
        assert name in vars(IgniteView), name


def test_what_is_set_is_set_on_the_engine(engine, view):
    view.should_terminate = True
    view.state.alpha = 3
    assert (engine.should_terminate, engine.state.alpha) == (True, 3)
    view.state = mine = State()
    assert engine.state is mine


def test_what_only_our_engine_has_is_there_too(engine, view):
    assert view.bus is engine.bus
    assert str(view.describe()) == str(engine.describe())


def test_private_parts_of_another_loop_are_refused_by_name(view):
    with pytest.raises(AttributeError, match="'_dataloader_iter' belongs to the loop of"):
        view._dataloader_iter  # noqa: B018


def test_it_runs_stops_and_goes_on_as_the_engine_does(engine, view):
    view.add_event_handler(IgniteEvents.ITERATION_COMPLETED(once=2), lambda e: e.interrupt())
    state = view.run([1, 2, 3], max_epochs=2)
    assert state is engine.state
    saved = view.state_dict()
    assert saved == engine.state_dict()
    other = Engine(lambda engine, batch: batch, name="train")
    as_ignite(other).load_state_dict(saved)
    assert other.run([1, 2, 3]).iteration == 6
    assert view.run().iteration == 6


def test_handlers_that_come_through_it_are_given_it_and_others_the_engine(engine, view):
    given = {}
    view.add_event_handler("STARTED", lambda e, n: given.update({n: e}), "added")
    view.on(IgniteEvents.STARTED | IgniteEvents.COMPLETED)(lambda e: given.update(on=e))
    view.add_event_handler(IgniteEvents.ITERATION_STARTED(every=2), lambda: given.update(bare=None))
    engine.add_event_handler("STARTED", lambda e: given.update(plain=e))
    view.run([1, 2])
    assert given == {"added": view, "on": view, "bare": None, "plain": engine}


def test_a_handler_is_found_and_removed_by_itself(engine, view):
    class Counter:
        count = 0

        def look(self, engine):
            self.count += 1

    counter = Counter()
    handle = view.add_event_handler("STARTED", counter.look)
    assert view.has_event_handler(counter.look)
    assert engine.has_event_handler(counter.look, IgniteEvents.STARTED)
    assert not view.has_event_handler(counter.look, "COMPLETED")
    view.add_event_handler("COMPLETED", counter.look)
    view.run([1])
    view.remove_event_handler(counter.look, "COMPLETED")
    handle.remove()
    view.run([1])
    assert counter.count == 2
    assert not engine.has_event_handler(counter.look)
    with pytest.raises(HandlerError, match=r"Counter\.look is no handler of STARTED"):
        view.remove_event_handler(counter.look, "STARTED")


def test_the_plan_shows_the_handler_and_where_it_is_written(engine, view):
    def named(engine):
        pass

    view.add_event_handler("STARTED", named, priority="HIGH")
    (row,) = [row for row in engine.describe() if "named" in row.handler]
    assert row.priority == "HIGH"
    assert "test_view.py" in row.source


def test_an_error_comes_with_its_exception(view):
    seen = []
    view.add_event_handler("EXCEPTION_RAISED", lambda e, error: seen.append((e, str(error))))

    @view.on("ITERATION_COMPLETED")
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        view.run([1])
    assert seen == [(view, "no")]


def test_what_runs_nothing_or_does_not_fit_is_refused(view):
    async def later(engine):
        pass

    with pytest.raises(HandlerError, match="async function"):
        view.add_event_handler("STARTED", later)
    with pytest.raises(HandlerError, match="can't handle STARTED"):
        view.add_event_handler("STARTED", lambda a, b, c: None)


def test_nothing_of_it_keeps_the_engine():
    engine = Engine(lambda engine, batch: batch)
    as_ignite(engine).add_event_handler("STARTED", lambda e: None)
    engine.run([1])
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


# ------------------------------------------------------------------ events that loggers know


class Backward(EventEnum):
    BACKWARD_COMPLETED = "backward_completed"


def test_events_of_ones_own_are_known_to_loggers_once_they_are_registered_here(
    engine, view, monkeypatch, tmp_path
):
    monkeypatch.setattr(State, "event_to_attr", dict(State.event_to_attr))
    with TensorboardLogger(log_dir=str(tmp_path)) as logger:
        given = {"tag": "a", "output_transform": lambda output: output}
        engine.register_events(*Backward)
        with pytest.raises(RuntimeError, match="Unknown event name"):
            logger.attach_output_handler(engine, Backward.BACKWARD_COMPLETED, **given)
        view.register_events(*Backward, event_to_attr={Backward.BACKWARD_COMPLETED: "backwards"})
        logger.attach_output_handler(engine, Backward.BACKWARD_COMPLETED, **given)
    engine.state.backwards = 7
    step = global_step_from_engine(engine)
    assert step(None, Backward.BACKWARD_COMPLETED) == 7
    assert engine.has_registered_events(Backward.BACKWARD_COMPLETED)


def test_why_the_events_of_the_module_are_theirs(engine, tmp_path):
    """Several events in one are known to loggers by their type."""
    given = {"tag": "a", "output_transform": lambda output: output}
    with TensorboardLogger(log_dir=str(tmp_path)) as logger:
        with pytest.raises(RuntimeError, match="Unknown event name"):
            logger.attach_output_handler(engine, Events.STARTED | Events.COMPLETED, **given)
        several = ignite.Events.STARTED | ignite.Events.COMPLETED
        logger.attach_output_handler(engine, several, **given)
        logger.attach_output_handler(engine, Events.STARTED(every=2), **given)  # one will do


# ------------------------------------------------------------------ tables


def idle(engine):
    pass


def test_the_table_of_events_has_theirs_as_they_are_and_ours_besides(view):
    assert view._allowed_events[:2] == [Events.OPENED, IgniteEvents.STARTED]
    assert all(event in view._allowed_events for event in IgniteEvents)
    assert list(view._event_handlers) == view._allowed_events
    assert len(view._event_handlers) == len(view._allowed_events)


def test_a_row_lists_handlers_in_the_order_in_which_they_run(engine, view):
    engine.add_event_handler("STARTED", idle)
    engine.add_event_handler("STARTED", print, "x", priority="HIGH")
    row = view._event_handlers[IgniteEvents.STARTED]
    assert [repr(handler) for handler, _, _ in row] == [repr(print), repr(idle)]
    assert [handler.__qualname__ for handler, _, _ in row] == ["print", "idle"]
    assert len(row) == 2


def test_what_is_put_in_front_runs_first_and_what_is_appended_last(engine, view):
    said = []
    row = view._event_handlers["STARTED"]
    row.append((said.append, ("last",), {}))
    engine.add_event_handler("STARTED", lambda: said.append("between"), priority=1)
    row.insert(0, (said.append, ("first",), {}))
    engine.run([1])
    assert said == ["first", "between", "last"]
    view.remove_event_handler(said.append, "STARTED")
    engine.run([1])
    assert said == ["first", "between", "last", "between"]
    with pytest.raises(IndexError, match="place 0 or the end, not 3"):
        row.insert(3, (idle, (), {}))


def test_what_is_put_in_a_handlers_place_is_called_as_it_would_be_until_it_is_put_back(engine):
    said = []
    engine.register_events(Event("SAID", payload=("word",)))
    engine.add_event_handler("SAID", lambda engine, end, word: said.append(word + end), "!")
    row = Row(engine, "SAID")
    original, args, kwargs = row[0]

    def louder(*given):
        said.append("loud:")
        original(*given)

    row[0] = louder, args, kwargs
    engine.fire_event("SAID", word="a")
    assert row[0][0] is louder
    row[0] = original, args, kwargs
    engine.fire_event("SAID", word="b")
    assert said == ["loud:", "a!", "b!"]


def test_a_replaced_handler_is_still_the_one_that_is_found_and_removed(engine):
    handle = engine.add_event_handler("STARTED", idle)
    row = Row(engine, "STARTED")
    row[0] = (lambda *_: None), (), {}
    assert engine.has_event_handler(idle, "STARTED")
    handle.remove()
    assert len(row) == 0


# ------------------------------------------------------------------ early stopping with a state


def test_early_stopping_goes_on_from_its_state(engine):
    def stopping(scores):
        handler = EarlyStopping(2, lambda engine: next(scores), as_ignite(engine))
        engine.add_event_handler("EPOCH_COMPLETED", handler)
        return handler

    first = stopping(iter([5, 4, 6]))
    engine.run([1], max_epochs=2)
    saved = first.state_dict()
    engine.remove_event_handler(first, "EPOCH_COMPLETED")
    stopping(iter([4, 9])).load_state_dict(saved)
    assert engine.run(max_epochs=5).epoch == 3
