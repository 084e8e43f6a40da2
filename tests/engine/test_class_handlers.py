"""Class handlers: one object whose methods are named after events or life-cycle points."""

import gc
import weakref

import pytest

from footplate import Engine, Event, Events, Handler
from footplate.engine.errors import HandlerError
from footplate.engine.handler import key_of
from footplate.engine.lifecycle import POINTS, points_of

pytestmark = pytest.mark.covers("A11")


def double(engine, batch):
    return batch * 2


@pytest.fixture
def engine():
    return Engine(double, name="train")


def handler_with(**methods):
    """An instance of a new handler class, ``Made``, with these methods."""
    return type("Made", (Handler,), methods)()


def noting(ran, what):
    def method(self, engine):
        ran.append(what)

    return method


# ------------------------------------------------------------------ methods named after events


@pytest.mark.parametrize("event", Events, ids=str)
def test_every_event_is_a_method_in_lower_case(engine, event):
    ran = []

    def method(self, engine, *values):
        ran.append(str(event))

    engine.attach(handler_with(**{event.lower(): method}))
    values = dict.fromkeys(event.payload)
    engine.fire_event(event, **values)
    assert ran == [event]


def test_its_methods_run_when_their_events_fire(engine):
    class Watcher(Handler):
        def __init__(self):
            self.seen = []

        def epoch_started(self, engine):
            self.seen.append(("epoch", engine.state.epoch))

        def iteration_completed(self, engine):
            self.seen.append(("iteration", engine.state.output))

    watcher = engine.attach(Watcher())
    engine.run([1, 2])
    assert watcher.seen == [("epoch", 1), ("iteration", 2), ("iteration", 4)]


def test_custom_events_have_methods_too(engine):
    got = []
    engine.register_events(Event("SAVED", payload=("path",)))
    engine.attach(handler_with(saved=lambda self, engine, path: got.append(path)))
    engine.fire_event("SAVED", path="a")
    assert got == ["a"]


@pytest.mark.parametrize("name", ["exception_raised", "on_exception"])
def test_the_exception_comes_by_position(name):
    got = []
    engine = Engine(lambda engine, batch: 1 / 0)
    engine.attach(handler_with(**{name: lambda self, engine, whatever: got.append(whatever)}))
    with pytest.raises(ZeroDivisionError) as raised:
        engine.run([1])
    assert got == [raised.value]


def test_a_method_that_does_not_fit_is_refused(engine):
    wrong = handler_with(started=lambda self, engine, batch: None)
    with pytest.raises(HandlerError, match=r"can't handle STARTED: it takes \(engine, batch\)"):
        engine.attach(wrong)
    assert engine.handlers == {}


@pytest.mark.parametrize("name", ["started", "before_run", "before_epoch"])
def test_methods_are_called_with_the_engine_always(engine, name):
    with pytest.raises(HandlerError, match=r"it takes \(\) but would be called as \(engine\)"):
        engine.attach(handler_with(**{name: lambda self: None}))


def test_async_methods_are_refused(engine):
    async def started(self, engine):
        pass

    with pytest.raises(HandlerError, match="started is an async function"):
        engine.attach(handler_with(started=started))


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_static_and_class_methods_are_refused(engine, kind):
    def started(*args):
        pass

    with pytest.raises(HandlerError, match=r"no method of the instance; write def started\(self"):
        engine.attach(handler_with(started=kind(started)))


def test_private_methods_and_attributes_are_left_alone(engine):
    handler = handler_with(
        started=lambda self, engine: None, _completed=print, completed=3, helper=lambda self: None
    )
    engine.attach(handler)
    assert [row.event for row in engine.describe()] == ["STARTED"]


# ------------------------------------------------------------------ life-cycle points


def test_the_points_of_a_role_are_events_of_its_engine():
    assert {name: str(point.event) for name, point in points_of("val").items()} == {
        "before_run": "OPENED",
        "before_val": "STARTED",
        "before_val_epoch": "EPOCH_STARTED",
        "before_val_iter": "ITERATION_STARTED",
        "after_val_iter": "ITERATION_COMPLETED",
        "after_val_epoch": "EPOCH_COMPLETED",
        "after_val": "COMPLETED",
        "before_epoch": "EPOCH_STARTED",
        "before_iter": "ITERATION_STARTED",
        "after_iter": "ITERATION_COMPLETED",
        "after_epoch": "EPOCH_COMPLETED",
        "on_exception": "EXCEPTION_RAISED",
        "after_run": "CLOSED",
    }


def test_the_points_run_in_the_order_of_the_loop(engine):
    ran = []
    names = [name for name in points_of("train") if name != "on_exception"]
    engine.attach(handler_with(**{name: noting(ran, name) for name in names}))
    engine.run([1])
    assert ran == [
        "before_run",
        "before_train",
        *("before_epoch", "before_train_epoch"),
        *("before_iter", "before_train_iter"),
        *("after_iter", "after_train_iter"),
        *("after_epoch", "after_train_epoch"),
        "after_train",
        "after_run",
    ]


PAYLOADS = {
    "before_train_iter": [{"batch_idx": i % 2, "data_batch": b} for i, b in enumerate("abab")],
    "before_iter": [{"batch_idx": i % 2, "data_batch": b} for i, b in enumerate("abab")],
    "after_train_iter": [
        {"batch_idx": i % 2, "data_batch": b, "outputs": b * 2} for i, b in enumerate("abab")
    ],
    "after_iter": [
        {"batch_idx": i % 2, "data_batch": b, "outputs": b * 2} for i, b in enumerate("abab")
    ],
    "after_train_epoch": [{"metrics": {"loss": epoch}} for epoch in (1, 2)],
    "after_epoch": [{"metrics": {"loss": epoch}} for epoch in (1, 2)],
    "after_train": [{"metrics": {"loss": 2}}],
    "before_run": [{}],
    "before_train": [{}],
    "before_train_epoch": [{}, {}],
    "before_epoch": [{}, {}],
    "after_run": [{}],
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_each_point_hands_over_the_values_of_the_table(engine, name):
    got = []

    def method(self, engine, **values):
        got.append({key: dict(v) if isinstance(v, dict) else v for key, v in values.items()})

    @engine.on(Events.EPOCH_COMPLETED, priority="HIGHEST")
    def measure(engine):
        engine.state.metrics["loss"] = engine.state.epoch

    engine.attach(handler_with(**{name: method}))
    engine.run("ab", max_epochs=2)
    assert got == PAYLOADS[name]
    assert points_of("train")[name].values.keys() == got[0].keys()


def test_every_point_is_in_the_table_above():
    assert {*PAYLOADS, "on_exception"} == points_of("train").keys()
    assert len(POINTS) == len(points_of("train"))


def test_a_point_gives_a_method_the_values_that_it_names(engine):
    got = []
    engine.attach(
        handler_with(
            after_train_iter=lambda self, engine, outputs: got.append(outputs),
            before_train_iter=lambda self, engine: got.append("begun"),
        )
    )
    engine.run([3])
    assert got == ["begun", 6]


def test_a_point_refuses_a_method_that_asks_for_more(engine):
    with pytest.raises(HandlerError) as refused:
        engine.attach(handler_with(after_train_epoch=lambda self, engine, outputs: None))
    for part in ("EPOCH_COMPLETED", "(engine, outputs)", "with metrics= where"):
        assert part in str(refused.value)


def test_points_of_another_role_wait_for_its_engine(engine):
    ran = []

    class Both(Handler):
        def after_train(self, engine):
            ran.append("train")

        def after_val(self, engine):
            ran.append("val")

    evaluator = Engine(double, name="val")
    both = evaluator.attach(engine.attach(Both()))
    evaluator.run([1])
    engine.run([1])
    assert ran == ["val", "train"]
    assert both in engine.handlers.values()


def test_any_name_is_a_role():
    ran = []
    engine = Engine(double, name="gan")
    engine.attach(handler_with(before_gan_epoch=noting(ran, "gan")))
    engine.run([1])
    assert ran == ["gan"]


def test_points_of_a_role_are_refused_on_an_engine_without_a_name():
    with pytest.raises(HandlerError, match=r"has no name; make it with Engine\(…, name='val'\)"):
        Engine(double).attach(handler_with(after_val_iter=lambda self, engine: None))


def test_points_without_a_role_need_no_name():
    ran = []
    engine = Engine(double)
    engine.attach(handler_with(after_epoch=noting(ran, "epoch")))
    engine.run([1])
    assert ran == ["epoch"]


# ------------------------------------------------------------------ names that are nearly right


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("epoch_complete", "epoch_completed"),
        ("iteration_complete", "iteration_completed"),
        ("after_train_iters", "after_train_iter"),
        ("before_train_epochs", "before_train_epoch"),
        ("on_exceptions", "on_exception"),
        ("on_epoch_end", "epoch_completed"),  # of Keras, or of Lightning
        ("on_batch_begin", "iteration_started"),
        ("on_batch_end", "iteration_completed"),
        ("on_train_epoch_end", "after_train_epoch"),
        ("on_train_batch_end", "after_train_iter"),
        ("on_validation_batch_start", "before_val_iter"),
        ("on_train_end", "after_train"),
        ("on_fit_start", "before_run"),
    ],
)
def test_a_method_that_is_named_almost_like_an_event_is_refused(engine, name, meant):
    with pytest.raises(
        HandlerError, match=f"Made.{name} is .* never be called. Did you mean '{meant}'"
    ):
        engine.attach(handler_with(**{name: noting([], name)}))


def test_near_misses_of_custom_events_are_found_too(engine):
    engine.register_events("CHECKPOINT_SAVED")
    with pytest.raises(HandlerError, match="Did you mean 'checkpoint_saved'"):
        engine.attach(handler_with(checkpoint_save=noting([], "")))


def test_other_names_are_the_handlers_own_business(engine):
    handler = handler_with(
        started=noting([], ""), state_dict=lambda self: {}, _epoch_complete=print, step=print
    )
    engine.attach(handler)
    assert len(engine.describe()) == 1


# ------------------------------------------------------------------ what can be attached


@pytest.mark.parametrize("wrong", [None, 3, print, object(), Handler.__dict__])
def test_what_is_no_handler_is_refused(engine, wrong):
    with pytest.raises(TypeError, match=r"attach\(\) takes a Handler, given"):
        engine.attach(wrong)


def test_a_class_in_place_of_an_instance_is_refused(engine):
    class Watcher(Handler):
        def started(self, engine):
            pass

    with pytest.raises(TypeError, match=r"takes an instance; write attach\(Watcher\(…\)\)"):
        engine.attach(Watcher)


def test_a_handler_with_nothing_to_connect_is_refused(engine):
    with pytest.raises(HandlerError, match=r"Made has no method named after an event.*epoch_start"):
        engine.attach(handler_with(helper=print))


def test_a_handler_that_only_registers_is_one(engine):
    class Adder(Handler):
        def on_register(self, engine):
            engine.add_event_handler("STARTED", print, "added")

    engine.attach(Adder())
    assert engine.has_event_handler(print)


def test_the_same_handler_is_attached_once(engine):
    ran = []
    handler = engine.attach(handler_with(started=noting(ran, 1)))
    with pytest.raises(HandlerError, match=r"is attached to <Engine 'train'.* already"):
        engine.attach(handler)
    handler.name = "another"
    with pytest.raises(HandlerError, match=r"is attached to <Engine 'train'.* already"):
        engine.attach(handler)
    engine.run([1])
    assert ran == [1]


def test_a_second_handler_of_the_same_name_is_refused(engine):
    engine.attach(handler_with(started=noting([], 1)))
    second = handler_with(started=noting([], 2))
    with pytest.raises(HandlerError, match=r"another handler named 'made'.*name=…"):
        engine.attach(second)
    engine.attach(second, name="second")
    third = handler_with(started=noting([], 3))
    third.name = "third"
    engine.attach(third)
    assert list(engine.handlers) == ["made", "second", "third"]


def test_attach_returns_the_handler_which_may_serve_several_engines(engine):
    ran = []
    handler = handler_with(started=lambda self, engine: ran.append(engine.name))
    assert engine.attach(handler) is handler
    other = Engine(double, name="val")
    other.attach(handler)
    other.run([1])
    engine.run([1])
    assert ran == ["val", "train"]


# ------------------------------------------------------------------ on_register


def test_on_register_is_called_once_when_the_methods_are_connected(engine):
    told = []

    class Watcher(Handler):
        def on_register(self, engine):
            told.append((engine, engine.has_event_handler(self.started)))

        def started(self, engine):
            pass

    engine.attach(Watcher())
    assert told == [(engine, True)]


def test_a_handler_that_fails_to_register_is_not_attached(engine):
    class Picky(Handler):
        def on_register(self, engine):
            raise RuntimeError("not on this engine")

        def started(self, engine):
            pass

    with pytest.raises(RuntimeError, match="not on this engine"):
        engine.attach(Picky())
    assert engine.handlers == {}
    assert len(engine.describe()) == 0


# ------------------------------------------------------------------ priority


def test_the_argument_beats_the_class_attribute(engine):
    class Late(Handler):
        priority = "LOW"

        def started(self, engine):
            pass

    engine.attach(Late())
    assert [row.priority for row in engine.describe()] == ["LOW"]
    other = Engine(double)
    other.attach(Late(), priority=20)
    assert [row.priority for row in other.describe()] == ["20"]
    assert Late.priority == "LOW"


@pytest.mark.parametrize("wrong", ["SOON", 101])
def test_a_wrong_priority_attaches_nothing(engine, wrong):
    handler = handler_with(started=noting([], 1))
    with pytest.raises(ValueError, match="priority"):
        engine.attach(handler, priority=wrong)
    handler.priority = wrong
    with pytest.raises(ValueError, match="priority"):
        engine.attach(handler)
    assert engine.handlers == {}
    assert len(engine.describe()) == 0


# ------------------------------------------------------------------ what methods return


@pytest.mark.parametrize("name", ["started", "before_train", "after_train_iter"])
def test_a_method_that_returns_something_is_an_error(engine, name):
    handler = engine.attach(handler_with(**{name: lambda self, engine: False}))
    with pytest.raises(TypeError) as raised:
        engine.run([1])
    who, _, why = str(raised.value).partition(" returned False; ")
    assert who.startswith(f"{type(handler).__name__}.")
    assert why.startswith("a handler's methods return None.")
    assert "terminate()" in why


# ------------------------------------------------------------------ detach


def test_detaching_takes_all_methods_away(engine):
    ran = []
    handler = engine.attach(
        handler_with(started=noting(ran, "event"), after_train=noting(ran, "point"))
    )
    engine.detach(handler)
    engine.run([1])
    assert ran == []
    assert engine.handlers == {}
    engine.attach(handler)
    engine.run([1])
    assert ran == ["event", "point"]


def test_detaching_takes_methods_that_on_register_added(engine):
    ran = []

    class Filtered(Handler):
        def on_register(self, engine):
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), self.save)

        def save(self, engine):
            ran.append(engine.state.epoch)

    handler = engine.attach(Filtered())
    engine.run([1], max_epochs=2)
    engine.detach(handler)
    engine.run([1], max_epochs=2)
    assert ran == [2]


def test_detaching_leaves_other_handlers_and_other_engines(engine):
    ran = []
    first, second = (handler_with(started=noting(ran, n)) for n in (1, 2))
    second.name = "second"
    other = Engine(double, bus=engine.bus)
    for one, where in ((first, engine), (second, engine), (first, other)):
        where.attach(one)
    engine.detach(first)
    engine.run([1])
    other.run([1])
    assert ran == [2, 1]


def test_detaching_what_is_not_attached_does_nothing(engine):
    engine.detach(handler_with(started=noting([], 1)))


# ------------------------------------------------------------------ state and life


class Counting(Handler):
    def __init__(self, name=None):
        self.name = name
        self.count = 0

    def iteration_completed(self, engine):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]


@pytest.mark.parametrize(
    ("class_name", "key"),
    [
        ("Counting", "counting"),
        ("EarlyStopping", "early_stopping"),
        ("LRSchedule", "lr_schedule"),
        ("EMA", "ema"),
        ("Top5Best", "top5_best"),
        ("MyGANHandler", "my_gan_handler"),
    ],
)
def test_the_key_is_the_class_name_in_snake_case(class_name, key):
    assert key_of(type(class_name, (Handler,), {})()) == key


def test_the_key_is_the_name_where_there_is_one():
    assert key_of(Counting("of mine")) == "of mine"


def test_the_state_is_saved_and_loaded_under_the_key(engine):
    engine.attach(Counting())
    engine.attach(Counting("another"))
    engine.run([1, 2, 3])
    saved = engine.state_dict()
    assert saved["footplate"]["handlers"] == {"counting": {"count": 3}, "another": {"count": 3}}
    fresh = Engine(double, name="train")
    counting, another = fresh.attach(Counting()), fresh.attach(Counting("another"))
    fresh.load_state_dict(saved)
    assert (counting.count, another.count) == (3, 3)


@pytest.mark.usefixtures("no_collector")
def test_a_handler_does_not_keep_its_engine():
    handler = Counting()
    engine = Engine(double)
    engine.attach(handler)
    engine.run([1])
    gone = weakref.ref(engine)
    del engine
    assert gone() is None


def test_a_method_that_another_library_would_call_is_refused(engine):
    with pytest.raises(HandlerError, match=r"on_epoch_end is named as if it handled something"):
        engine.attach(handler_with(started=lambda self, engine: None, on_epoch_end=print))


def test_a_handler_for_one_engine_refuses_a_second():
    class Keeper(Handler):
        for_one_engine = True

        def started(self, engine):
            self.seen = engine.state.iteration

    keeper = Keeper()
    first, second = Engine(lambda engine, batch: None, name="one"), Engine(lambda e, b: None)
    first.attach(keeper)
    with pytest.raises(HandlerError, match=r"Keeper is attached to <Engine 'one'.* make another"):
        second.attach(keeper)
    first.detach(keeper)
    second.attach(keeper)


def test_a_handler_for_one_engine_outlives_it():
    class Keeper(Handler):
        for_one_engine = True

        def started(self, engine): ...

    keeper = Keeper()
    Engine(lambda engine, batch: None).attach(keeper)
    gc.collect()
    Engine(lambda engine, batch: None).attach(keeper)


def test_a_step_that_is_a_handler_is_attached():
    class Counting(Handler):
        calls = 0

        def __call__(self, engine, batch):
            self.calls += 1

        def completed(self, engine):
            engine.state.metrics["calls"] = self.calls

        def state_dict(self):
            return {"calls": self.calls}

        def load_state_dict(self, state):
            self.calls = state["calls"]

    engine = Engine(Counting())
    assert engine.run([0, 1, 2]).metrics == {"calls": 3}
    assert engine.state_dict()["footplate"]["handlers"] == {"counting": {"calls": 3}}


def test_a_handler_hears_when_it_is_detached():
    class Leaving(Handler):
        def __init__(self):
            self.left = []

        def started(self, engine):
            self.left.append("started")

        def on_unregister(self, engine):
            self.left.append(engine)

    engine, leaving = Engine(lambda engine, batch: None), Leaving()
    engine.detach(leaving)  # it was never there
    engine.attach(leaving)
    engine.detach(leaving)
    engine.run([0])
    assert leaving.left == [engine]
