"""Functions as handlers: adding, finding and removing them, and what they are called with."""

import functools
import re

import pytest
from ignite.engine import Events as IgniteEvents

from footplate import Engine, Event, Events
from footplate.engine.emitter import Emitter
from footplate.engine.errors import EventError, HandlerError

pytestmark = pytest.mark.covers("A4")


def nothing(engine, batch):
    return None


@pytest.fixture
def engine():
    return Engine(nothing)


@pytest.fixture
def ran():
    return []


class Counter:
    """A callable object, with a method and an attribute that only looks like a partial's."""

    func = print

    def __init__(self):
        self.calls = 0

    def __call__(self, engine):
        self.calls += 1

    def method(self, engine):
        self.calls += 1


# ------------------------------------------------------------------ adding


def test_a_handler_runs_whenever_its_event_fires(engine, ran):
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: ran.append(engine.state.epoch))
    engine.run([1], max_epochs=3)
    assert ran == [1, 2, 3]


def test_its_own_arguments_follow_the_engine(engine, ran):
    def handler(engine, path, *, suffix):
        ran.append((engine, path, suffix))

    engine.add_event_handler("STARTED", handler, "a", suffix=".pt")
    engine.run([1])
    assert ran == [(engine, "a", ".pt")]


def test_a_handler_that_can_not_take_the_engine_is_called_without_it(engine, ran):
    engine.add_event_handler("STARTED", lambda: ran.append("bare"))
    engine.add_event_handler("STARTED", lambda *, text: ran.append(text), text="keyword")
    engine.add_event_handler("STARTED", ran.append, "method of a builtin")
    engine.run([1])
    assert ran == ["bare", "keyword", "method of a builtin"]


def test_what_a_handler_returns_is_not_looked_at(engine):
    engine.add_event_handler("STARTED", lambda: "anything")
    assert engine.run([1]).reason == "completed"


def test_on_is_a_decorator_that_returns_the_function_itself(engine, ran):
    def handler(engine, text):
        ran.append(text)

    decorated = engine.on(Events.STARTED | Events.COMPLETED, "text")(handler)
    assert decorated is handler
    engine.run([1])
    assert ran == ["text", "text"]


def test_on_takes_priority_and_keywords(engine, ran):
    engine.on("STARTED", text="late")(lambda engine, text: ran.append(text))
    engine.on("STARTED", priority="HIGH", text="early")(lambda engine, text: ran.append(text))
    engine.run([1])
    assert ran == ["early", "late"]


def test_the_same_function_added_twice_runs_twice(engine, ran):
    def handler():
        ran.append(1)

    for _ in range(2):
        engine.add_event_handler("STARTED", handler)
    engine.run([1])
    assert ran == [1, 1]


def test_an_unknown_event_is_refused_with_the_nearest_name(engine):
    with pytest.raises(EventError) as refused:
        engine.add_event_handler("EPOCH_COMPLETE", print)
    for part in ("'EPOCH_COMPLETE'", "Engine", "STARTED", "Did you mean 'EPOCH_COMPLETED'?"):
        assert part in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_the_nearest_name_is_found_in_small_letters_too(engine):
    with pytest.raises(EventError, match=r"Did you mean 'ITERATION_COMPLETED'\?"):
        engine.add_event_handler("iteration_completed", print)


def test_of_several_events_all_are_handled_or_none(engine):
    with pytest.raises(EventError, match="'NEVER' is not an event"):
        engine.add_event_handler(Events.STARTED | "NEVER", print)
    with pytest.raises(HandlerError, match="can't handle EXCEPTION_RAISED"):
        engine.add_event_handler(Events.STARTED | Events.EXCEPTION_RAISED, lambda engine: None)
    assert len(engine.describe()) == 0


# ------------------------------------------------------------------ finding and removing


def test_a_handler_is_found_at_its_event_or_anywhere(engine):
    engine.add_event_handler(Events.STARTED(once=1), print)
    assert engine.has_event_handler(print)
    assert engine.has_event_handler(print, Events.STARTED)
    assert engine.has_event_handler(print, Events.STARTED(every=5))
    assert engine.has_event_handler(print, Events.COMPLETED | Events.STARTED)
    assert not engine.has_event_handler(print, Events.COMPLETED)
    assert not engine.has_event_handler(len)


def test_no_handler_is_found_at_an_event_that_nobody_registered(engine):
    assert not engine.has_event_handler(print, "NEVER")


def test_bound_methods_are_found_and_removed_though_each_is_a_new_object(engine):
    counter = Counter()
    engine.add_event_handler("STARTED", counter.method)
    assert engine.has_event_handler(counter.method, "STARTED")
    assert not engine.has_event_handler(Counter().method, "STARTED")
    engine.remove_event_handler(counter.method, "STARTED")
    engine.run([1])
    assert counter.calls == 0


def test_removing_removes_a_handler_as_often_as_it_was_added(engine, ran):
    def handler():
        ran.append(1)

    engine.add_event_handler("STARTED", handler)
    engine.add_event_handler(Events.STARTED(once=1), handler)
    engine.add_event_handler("COMPLETED", handler)
    engine.remove_event_handler(handler, Events.STARTED)
    engine.run([1])
    assert ran == [1]


def test_removing_what_is_not_there_names_what_is(engine):
    engine.add_event_handler("STARTED", print)
    with pytest.raises(HandlerError, match="len is no handler of STARTED; these are: print"):
        engine.remove_event_handler(len, "STARTED")
    with pytest.raises(HandlerError, match="no handler of COMPLETED; these are: none"):
        engine.remove_event_handler(print, "COMPLETED")
    with pytest.raises(EventError, match="'NEVER' is not an event"):
        engine.remove_event_handler(print, "NEVER")


def test_of_several_events_a_handler_is_removed_from_all_or_none(engine):
    engine.add_event_handler("STARTED", print)
    with pytest.raises(HandlerError, match="print is no handler of COMPLETED"):
        engine.remove_event_handler(print, Events.STARTED | Events.COMPLETED)
    assert engine.has_event_handler(print, "STARTED")


def test_what_was_added_to_one_event_under_two_filters_is_removed_at_once(engine):
    twice = Events.STARTED(once=1) | Events.STARTED(once=5)
    engine.add_event_handler(twice, print)
    engine.remove_event_handler(print, twice)
    assert not engine.has_event_handler(print)


# ------------------------------------------------------------------ handles


def test_a_handle_takes_its_handler_away_and_may_do_so_again(engine, ran):
    handle = engine.add_event_handler("STARTED", lambda: ran.append(1))
    handle.remove()
    handle.remove()
    engine.run([1])
    assert ran == []


def test_a_handle_is_a_context_manager(engine, ran):
    with engine.add_event_handler("STARTED", lambda: ran.append(1)) as handle:
        engine.run([1])
    engine.run([1])
    assert ran == [1]
    handle.remove()


def test_a_handle_is_left_on_an_error_too(engine):
    with pytest.raises(KeyError), engine.add_event_handler("STARTED", print):
        raise KeyError
    assert not engine.has_event_handler(print)


def test_the_handle_of_several_events_takes_away_all(engine):
    several = Events.STARTED | Events.EPOCH_COMPLETED(every=2) | IgniteEvents.COMPLETED
    handle = engine.add_event_handler(several, print)
    assert len(engine.describe()) == 3
    handle.remove()
    assert len(engine.describe()) == 0


def test_a_handle_takes_away_its_own_addition_only(engine, ran):
    def handler():
        ran.append(1)

    engine.add_event_handler("STARTED", handler)
    engine.add_event_handler("STARTED", handler).remove()
    engine.run([1])
    assert ran == [1]


def test_a_handle_outlives_its_engine():
    handle = Engine(nothing).add_event_handler("STARTED", print)
    handle.remove()


# ------------------------------------------------------------------ a firing is a snapshot


def test_a_handler_added_while_its_event_fires_counts_from_the_next(engine, ran):
    @engine.on("EPOCH_STARTED")
    def add(engine):
        engine.on("EPOCH_STARTED")(lambda engine: ran.append(engine.state.epoch))

    engine.run([1], max_epochs=3)
    assert ran == [2, 3, 3]


def test_a_handler_removed_while_its_event_fires_counts_no_more_from_the_next(engine, ran):
    @engine.on("EPOCH_STARTED")
    def remove(engine):
        if engine.has_event_handler(last, "EPOCH_STARTED"):
            engine.remove_event_handler(last, "EPOCH_STARTED")

    @engine.on("EPOCH_STARTED")
    def last(engine):
        ran.append(engine.state.epoch)

    engine.run([1], max_epochs=3)
    assert ran == [1]


# ------------------------------------------------------------------ custom events


def test_a_custom_event_is_registered_handled_and_fired(engine, ran):
    assert not engine.has_registered_events("SAVED")
    engine.register_events("SAVED")
    assert engine.has_registered_events("SAVED")
    engine.add_event_handler("SAVED", lambda engine: ran.append(engine.last_event_name))
    engine.fire_event("SAVED")
    assert ran == ["SAVED"]


def test_firing_what_nobody_registered_is_refused(engine):
    with pytest.raises(EventError, match=r"'SAVED' is not an event.*register_events\(\)"):
        engine.fire_event("SAVED")


def test_several_events_are_not_fired_at_once(engine):
    with pytest.raises(TypeError, match=r"STARTED \| COMPLETED are several events; give one"):
        engine.fire_event(Events.STARTED | Events.COMPLETED)


def test_events_are_registered_for_one_engine_only(engine):
    engine.register_events("SAVED")
    other = Engine(nothing, bus=engine.bus)
    assert not other.has_registered_events("SAVED")


def test_an_event_counts_its_own_firings_before_its_handlers_run(engine, ran):
    engine.register_events("SAVED")

    @engine.on("SAVED")
    def note(engine):
        ran.append(engine.state.get_event_attrib_value("SAVED"))

    engine.on(Events.ITERATION_COMPLETED)(lambda: engine.fire_event("SAVED"))
    engine.run([1, 2, 3])
    assert ran == [1, 2, 3]


def test_its_filters_see_its_own_count(engine, ran):
    engine.register_events("SAVED")
    engine.on(Event("SAVED")(every=2))(lambda engine: ran.append(engine.count_of("SAVED")))
    for _ in range(5):
        engine.fire_event("SAVED")
    assert ran == [2, 4]


def test_a_new_run_counts_from_the_beginning(engine, ran):
    engine.register_events("SAVED")
    engine.on(Events.ITERATION_COMPLETED)(lambda: engine.fire_event("SAVED"))
    for _ in range(2):
        engine.run([1, 2, 3])
        assert engine.state.get_event_attrib_value("SAVED") == 3


def test_event_to_attr_names_the_attribute_that_counts(engine, ran):
    engine.register_events("SAVED", event_to_attr={"SAVED": "saves"})
    assert engine.state.saves == 0
    engine.on(Event("SAVED")(once=3))(lambda engine: ran.append(engine.state.saves))
    for _ in range(4):
        engine.state.saves += 1
        engine.fire_event("SAVED")
    assert ran == [3]
    assert engine.state.get_event_attrib_value("SAVED") == 4


def test_event_to_attr_is_the_engines_own(engine):
    other = Engine(nothing, bus=engine.bus)
    engine.register_events("SAVED", event_to_attr={"SAVED": "saves"})
    other.register_events("SAVED", event_to_attr={"SAVED": "files"})
    assert engine.state.event_to_attr["SAVED"] == "saves"
    assert other.state.event_to_attr["SAVED"] == "files"
    assert not hasattr(other.state, "saves")
    assert "SAVED" not in Engine(nothing).state.event_to_attr


def test_event_to_attr_leaves_an_attribute_as_it_is(engine):
    engine.state.saves = 7
    engine.register_events("SAVED", event_to_attr={"SAVED": "saves"})
    assert engine.state.get_event_attrib_value("SAVED") == 7


@pytest.mark.parametrize("wrong", [["SAVED"], "saves", 3])
def test_event_to_attr_must_be_a_mapping(engine, wrong):
    with pytest.raises(TypeError, match="event_to_attr maps events to attributes"):
        engine.register_events("SAVED", event_to_attr=wrong)


def test_an_event_that_is_registered_again_keeps_its_count(engine, ran):
    engine.register_events("SAVED", event_to_attr={"SAVED": "saves"})
    engine.register_events("SAVED", "EPOCH_COMPLETED", *IgniteEvents)
    assert engine.state.event_to_attr["SAVED"] == "saves"
    engine.on(Events.EPOCH_COMPLETED(every=2))(lambda engine: ran.append(engine.state.epoch))
    engine.run([1], max_epochs=4)
    assert ran == [2, 4]


def test_the_count_of_an_unknown_event_is_an_error(engine):
    with pytest.raises(EventError, match="'NEVER' has no count on this engine"):
        engine.state.get_event_attrib_value("NEVER")


# ------------------------------------------------------------------ payloads


def test_a_handler_gets_of_the_payload_what_its_signature_names(engine, ran):
    engine.register_events(Event("SAVED", payload=("path", "size")))
    engine.on("SAVED")(lambda: ran.append("nothing"))
    engine.on("SAVED")(lambda engine, size: ran.append(size))
    engine.on("SAVED")(lambda path: ran.append(f"path {path}"))
    engine.on("SAVED")(lambda engine, **values: ran.append(values))
    engine.on("SAVED", "own")(lambda engine, own, path: ran.append((own, path)))
    engine.fire_event("SAVED", size=3, path="a")
    assert ran == ["nothing", 3, "path a", {"path": "a", "size": 3}, ("own", "a")]


def test_an_emitter_that_runs_nothing_hands_over_values_too(ran):
    emitter = Emitter()
    emitter.register_events("SAVED", payload=("path",))
    emitter.on("SAVED")(lambda emitter, path: ran.append((emitter, path)))
    emitter.fire_event("SAVED", path="a.pt")
    assert ran == [(emitter, "a.pt")]


def test_a_payload_is_declared_by_register_events_too(engine):
    engine.register_events("SAVED", payload=("path",))
    with pytest.raises(EventError, match="SAVED hands over path, but was fired with none"):
        engine.fire_event("SAVED")
    with pytest.raises(TypeError, match=r"write payload=\('path',\)"):
        engine.register_events("LOADED", payload="path")


def test_an_event_that_hands_over_nothing_is_fired_with_nothing(engine):
    with pytest.raises(EventError, match="STARTED hands over no values, but was fired with path"):
        engine.fire_event(Events.STARTED, path="a")


@pytest.mark.parametrize("payload", [{}, {"file": 1}, {"path": 1, "size": 2}])
def test_firing_with_other_values_than_declared_is_refused(engine, payload):
    engine.register_events(Event("SAVED", payload=("path",)))
    with pytest.raises(EventError, match="SAVED hands over path, but was fired with"):
        engine.fire_event("SAVED", **payload)


def test_a_firing_of_an_undeclared_event_may_bring_what_it_likes(engine, ran):
    engine.register_events("SAVED")
    engine.on("SAVED")(lambda engine: ran.append("nothing"))
    engine.on("SAVED")(lambda engine, path=None: ran.append(path))
    engine.on("SAVED")(lambda engine, **values: ran.append(values))
    engine.fire_event("SAVED")
    engine.fire_event("SAVED", path="a", size=3)
    assert ran == ["nothing", None, {}, "nothing", "a", {"path": "a", "size": 3}]


def test_a_handlers_own_argument_stands_before_an_undeclared_value_of_its_name(engine, ran):
    engine.register_events("SAVED")
    engine.add_event_handler("SAVED", lambda engine, path: ran.append(path), "mine")
    engine.add_event_handler("SAVED", lambda engine, path: ran.append(path), path="mine too")
    engine.fire_event("SAVED", path="the event's")
    assert ran == ["mine", "mine too"]


def test_a_payload_may_have_any_names(engine, ran):
    engine.register_events("SAVED", payload=("event", "self"))
    engine.on("SAVED")(lambda engine, event: ran.append(event))
    engine.fire_event("SAVED", event="the event", self=1)
    assert ran == ["the event"]


def test_a_payload_sticks_to_no_handler(engine, ran):
    engine.register_events("SAVED")
    engine.on("SAVED", suffix=".pt")(lambda engine, **values: ran.append(values))
    engine.fire_event("SAVED", path="a")
    engine.fire_event("SAVED")
    assert ran == [{"suffix": ".pt", "path": "a"}, {"suffix": ".pt"}]


def test_an_attached_keyword_that_is_a_name_of_the_payload_is_refused(engine):
    engine.register_events(Event("SAVED", payload=("path",)))
    with pytest.raises(HandlerError, match=r"was attached to SAVED with path=, .*choose another"):
        engine.add_event_handler("SAVED", lambda engine, path: None, path="mine")


def test_the_exception_comes_by_position_behind_the_engine(ran):
    engine = Engine(lambda engine, batch: 1 / 0)

    def handler(engine, whatever, own):
        ran.append((type(whatever), own))

    engine.add_event_handler(Events.EXCEPTION_RAISED, handler, "own")
    engine.on(Events.EXCEPTION_RAISED)(lambda engine, *, exception: ran.append(type(exception)))
    engine.on(Events.EXCEPTION_RAISED)(lambda: ran.append("nothing"))
    with pytest.raises(ZeroDivisionError):
        engine.run([1])
    assert ran == [(ZeroDivisionError, "own"), ZeroDivisionError, "nothing"]


def test_terminate_single_epoch_hands_over_iter_counter_to_those_that_name_it(engine, ran):
    engine.on(Events.ITERATION_COMPLETED(once=2))(lambda engine: engine.terminate_epoch())
    engine.on(Events.TERMINATE_SINGLE_EPOCH)(lambda engine: ran.append("engine"))
    engine.on(Events.TERMINATE_SINGLE_EPOCH)(lambda engine, iter_counter: ran.append(iter_counter))
    engine.run(range(5))
    assert ran == ["engine", 2]


# ------------------------------------------------------------------ what can't be a handler


def test_a_handler_that_does_not_fit_is_refused_with_both_signatures(engine):
    engine.register_events(Event("SAVED", payload=("path",)))

    def greedy(engine, one, two, path):
        pass

    with pytest.raises(HandlerError) as refused:
        engine.add_event_handler("SAVED", greedy, 1, key="x")
    for part in (
        "greedy can't handle SAVED",
        "it takes (engine, one, two, path)",
        "called as (engine, 1, key='x') or (1, key='x')",
        "with path= where its signature names it",
    ):
        assert part in str(refused.value)
    assert isinstance(refused.value, ValueError)
    assert not engine.has_event_handler(greedy)


def test_the_error_of_exception_raised_shows_what_comes_by_position(engine):
    with pytest.raises(HandlerError, match=re.escape("called as (engine, exception) or ()")):
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine: None)


@pytest.mark.parametrize("wrong", [None, 3, "print", Events.STARTED(every=2).filter])
def test_what_can_not_be_called_is_no_handler(engine, wrong):
    if wrong is not None and callable(wrong):
        with pytest.raises(HandlerError, match="can't handle STARTED"):
            engine.add_event_handler("STARTED", wrong)
    else:
        with pytest.raises(TypeError, match="the handler for STARTED is not callable"):
            engine.add_event_handler("STARTED", wrong)


async def coroutine(engine):
    pass


async def async_generator(engine):
    yield


def generator(engine):
    yield


class AsyncCallable:
    async def __call__(self, engine):
        pass


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (coroutine, "coroutine is an async function"),
        (async_generator, "async_generator is an async generator"),
        (generator, "generator is a generator function"),
        (AsyncCallable(), "AsyncCallable is an async function"),
        (functools.partial(coroutine), "coroutine is an async function"),
        (functools.partial(AsyncCallable()), "AsyncCallable is an async function"),
    ],
)
def test_async_and_generator_functions_are_refused(engine, handler, kind):
    with pytest.raises(HandlerError, match=f"{kind}; calling it would run nothing"):
        engine.add_event_handler("STARTED", handler)


def test_a_builtin_without_a_signature_must_be_wrapped(engine):
    with pytest.raises(HandlerError, match=r"max has no signature .* wrap it: lambda engine: max"):
        engine.add_event_handler("STARTED", max, 1, 2)
    engine.add_event_handler("STARTED", lambda engine: max(1, 2))


# ------------------------------------------------------------------ what can


def test_partials_are_handlers(engine, ran):
    def handler(engine, number):
        ran.append(number)

    engine.add_event_handler("STARTED", functools.partial(handler, number=3))
    engine.run([1])
    assert ran == [3]
    assert engine.describe()[0].handler.endswith("handler")


def test_callable_objects_are_handlers_under_the_name_of_their_class(engine):
    counter = Counter()
    engine.add_event_handler("STARTED", counter)
    engine.run([1])
    assert counter.calls == 1
    assert engine.describe()[0].handler == "Counter"


def test_decorated_functions_are_called_as_what_they_wrap(engine, ran):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            ran.append("before")
            return function(*args, **kwargs)

        return wrapper

    engine.on("STARTED")(decorate(lambda engine: ran.append(engine.name)))
    engine.run([1])
    assert ran == ["before", None]


def test_static_and_class_methods_are_handlers(engine, ran):
    class Tools:
        @staticmethod
        def static(engine):
            ran.append("static")

        @classmethod
        def of_class(cls, engine):
            ran.append(cls.__name__)

    engine.add_event_handler("STARTED", Tools.static)
    engine.add_event_handler("STARTED", Tools.of_class)
    engine.run([1])
    assert ran == ["static", "Tools"]


def test_the_error_of_a_handler_names_it_and_its_event(engine):
    def broken(engine):
        raise KeyError("mine")

    engine.add_event_handler(Events.EPOCH_COMPLETED(every=1), broken)
    with pytest.raises(KeyError, match="mine") as raised:
        engine.run([1])
    notes = "\n".join(raised.value.__notes__)
    assert re.search(r"raised by .*broken, handling EPOCH_COMPLETED of <Engine .*: epoch 1", notes)


@pytest.mark.covers("A4")
@pytest.mark.parametrize(
    ("handler", "given"),
    [
        (lambda i=7: i, 7),
        (lambda engine=None: engine.name, "train"),
        (lambda i, factor=2: (i.name, factor), ("train", 2)),
        (lambda *args: len(args), 1),
    ],
    ids=["default", "engine", "second", "any"],
)
def test_a_first_parameter_with_a_default_keeps_it(handler, given):
    engine, got = Engine(lambda engine, batch: None, name="train"), []
    wrapped = functools.wraps(handler)(lambda *args, **kwargs: got.append(handler(*args, **kwargs)))
    engine.add_event_handler(Events.STARTED, wrapped)
    engine.run([1])
    assert got == [given]


@pytest.mark.covers("A4")
def test_custom_events_stand_behind_the_one_that_is_named():
    engine = Engine(lambda engine, batch: None)
    before = list(engine.fires)
    engine.register_events("LOOKED", "SAVED", behind=Events.ITERATION_COMPLETED)
    place = before.index(Events.ITERATION_COMPLETED.name) + 1
    assert list(engine.fires) == [*before[:place], "LOOKED", "SAVED", *before[place:]]


def test_an_event_that_has_not_fired_yet_has_the_count_zero():
    engine = Engine(lambda engine, batch: None)
    engine.register_events("SAVED")
    assert engine.state.get_event_attrib_value("SAVED") == 0
    engine.fire_event("SAVED")
    assert engine.state.get_event_attrib_value("SAVED") == 1
    engine.run([1])
    assert engine.state.get_event_attrib_value("SAVED") == 0
