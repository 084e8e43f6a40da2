"""Every event is a real blinker signal, and does what blinker documents of one.

Two deviations are deliberate: receivers are held strongly unless asked otherwise, and leaving
``connected_to`` takes away its own connection only.
"""

import asyncio
import gc
import sys
import threading
import weakref

import blinker
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import Bus, Engine, Event, Events, where
from footplate.engine import EventSignal
from footplate.engine.errors import EventError, HandlerError

pytestmark = pytest.mark.covers("A3")


class Sender:
    """Any object may send."""


class Log(list):
    """A receiver that notes its sender, and what it was given."""

    def __call__(self, sender, **payload):
        self.append((sender, payload))


class Methods:
    """An object whose methods receive."""

    def __init__(self):
        self.heard = []

    def receive(self, sender):
        self.heard.append(sender)

    def receive_loudly(self, sender):
        self.heard.append(sender.upper())


def nothing(engine, batch):
    return None


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def signal(bus):
    return bus.signal("SAVED")


def names(signal, sender):
    """The receivers of a sender by name, in the order in which they run."""
    return [receiver.__name__ for receiver in signal.receivers_for(sender)]


def receiver_named(name, log):
    def receiver(sender):
        log.append(name)

    receiver.__name__ = name
    return receiver


# ------------------------------------------------------------------ a bus is a namespace


def test_a_bus_is_a_namespace_of_named_signals(bus):
    signal = bus.signal("SAVED")
    assert isinstance(bus, blinker.Namespace)
    assert isinstance(signal, blinker.NamedSignal)
    assert isinstance(signal, EventSignal)
    assert signal.ANY is blinker.ANY
    assert bus["SAVED"] is bus.signal("SAVED") is bus.signal(Event("SAVED")) is signal
    assert (signal.name, repr(signal)[-10:]) == ("SAVED", "; 'SAVED'>")


def test_asking_for_an_unknown_signal_makes_it(bus):
    assert "NEW" not in bus
    bus.signal("NEW", doc="something new")
    assert bus["NEW"].__doc__ == "something new"


def test_a_known_event_brings_its_documentation(bus):
    assert bus.signal("STARTED").__doc__ == Events.STARTED.doc


def test_every_event_of_an_engine_is_a_signal_of_its_bus():
    engine = Engine(nothing)
    assert set(engine.bus) == set(Events)
    assert all(isinstance(signal, blinker.NamedSignal) for signal in engine.bus.values())


def test_blinkers_own_api_hears_an_engine():
    engine, heard = Engine(nothing), Log()
    engine.bus.signal("EPOCH_COMPLETED").connect(heard, sender=engine)
    engine.run([1], max_epochs=2)
    assert heard == [(engine, {}), (engine, {})]


# ------------------------------------------------------------------ connect and send


def test_send_calls_with_the_sender_and_returns_pairs(signal):
    def first(sender, path):
        return path.upper()

    def second(sender):
        return sender

    signal.connect(first)
    signal.connect(second)
    assert signal.send("someone", path="a") == [(first, "A"), (second, "someone")]
    assert signal.send(path="a") == [(first, "A"), (second, None)]


def test_connect_returns_the_receiver_and_so_is_a_decorator(signal):
    @signal.connect
    def receiver(sender):
        return 1

    assert receiver(None) == 1
    assert signal.send() == [(receiver, 1)]


def test_a_receiver_of_one_sender_hears_no_other(signal):
    one, other, heard = Sender(), Sender(), Log()
    signal.connect(heard, sender=one)
    signal.send(one)
    signal.send(other)
    signal.send()
    assert heard == [(one, {})]


def test_a_receiver_without_a_sender_hears_everybody(signal):
    heard = Log()
    signal.connect(heard)
    senders = [Sender(), "name", 3, None]
    for sender in senders:
        signal.send(sender)
    assert [sender for sender, _ in heard] == senders


def test_a_receiver_may_hear_several_senders(signal):
    one, other, heard = Sender(), Sender(), Log()
    signal.connect(heard, one)
    signal.connect(heard, other)
    signal.send(one)
    signal.send(other)
    assert len(heard) == 2


def test_equal_names_and_numbers_are_one_sender(signal):
    heard = Log()
    signal.connect(heard, sender="na" + "me")
    signal.connect(heard, sender=10**20)
    signal.send("".join(["name"]))
    signal.send(10**20)
    assert [sender for sender, _ in heard] == ["name", 10**20]


def test_connecting_twice_connects_once_and_keeps_the_place(signal):
    log = []
    first, second = receiver_named("first", log), receiver_named("second", log)
    for receiver in (first, second, first):
        signal.connect(receiver)
    signal.send()
    assert log == ["first", "second"]


def test_connecting_again_with_another_priority_keeps_the_place(signal):
    log = []
    first, second = receiver_named("first", log), receiver_named("second", log)
    for receiver, priority in ((first, 50), (second, 50), (first, 90)):
        signal.connect(receiver, priority=priority)
    signal.send()
    assert log == ["first", "second"]


def test_a_bound_method_is_the_same_receiver_each_time(signal):
    thing = Methods()
    signal.connect(thing.receive)
    signal.connect(thing.receive)
    signal.send("x")
    assert thing.heard == ["x"]
    signal.disconnect(thing.receive)
    signal.send("y")
    assert thing.heard == ["x"]


def test_two_methods_of_one_object_are_two_receivers(signal):
    thing = Methods()
    signal.connect(thing.receive)
    signal.connect(thing.receive_loudly)
    signal.send("x")
    assert thing.heard == ["x", "X"]
    signal.disconnect(thing.receive)
    signal.send("y")
    assert thing.heard == ["x", "X", "Y"]


@pytest.mark.parametrize("order", ["any first", "sender first"])
def test_a_receiver_of_all_and_of_the_sender_runs_once_at_its_earlier_place(signal, order):
    sender, log = Sender(), []
    both, between = receiver_named("both", log), receiver_named("between", log)
    first, second = (blinker.ANY, sender) if order == "any first" else (sender, blinker.ANY)
    signal.connect(both, first)
    signal.connect(between)
    signal.connect(both, second)
    signal.send(sender)
    assert log == ["both", "between"]
    assert names(signal, sender) == ["both", "between"]


def test_the_earlier_place_of_two_is_that_of_the_higher_priority(signal):
    sender, log = Sender(), []
    both, between = receiver_named("both", log), receiver_named("between", log)
    signal.connect(both, priority="LOW")
    signal.connect(between)
    signal.connect(both, sender, priority="HIGH")
    signal.send(sender)
    signal.send("another")
    assert log == ["both", "between", "between", "both"]


def test_connect_via_is_a_decorator_for_one_sender(signal):
    sender, log = Sender(), []

    @signal.connect_via(sender)
    def receiver(sender):
        log.append(sender)

    signal.send(sender)
    signal.send("another")
    assert log == [sender]
    assert callable(receiver)


def test_an_error_of_a_receiver_reaches_the_sender(signal):
    @signal.connect
    def broken(sender):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        signal.send()


# ------------------------------------------------------------------ disconnect


def test_disconnecting_takes_a_receiver_from_everybody(signal):
    sender, heard = Sender(), Log()
    signal.connect(heard)
    signal.connect(heard, sender)
    signal.disconnect(heard)
    signal.send(sender)
    assert heard == []
    assert not signal.receivers


def test_disconnecting_from_a_sender_leaves_the_others(signal):
    one, other, heard = Sender(), Sender(), Log()
    signal.connect(heard, one)
    signal.connect(heard, other)
    signal.disconnect(heard, one)
    signal.send(one)
    signal.send(other)
    assert heard == [(other, {})]


def test_disconnecting_what_is_not_connected_is_no_error(signal):
    signal.disconnect(print)
    signal.disconnect(print, Sender())


def test_disconnecting_takes_handlers_of_engines_away_too():
    engine, ran = Engine(nothing), []

    def handler():
        ran.append(1)

    engine.add_event_handler(Events.STARTED, handler)
    engine.bus.signal("STARTED").disconnect(handler)
    engine.run([1])
    assert ran == []


# ------------------------------------------------------------------ connected_to


def test_connected_to_connects_for_the_length_of_a_block(signal):
    sender, heard = Sender(), Log()
    with signal.connected_to(heard, sender):
        signal.send(sender)
        signal.send("another")
    signal.send(sender)
    assert heard == [(sender, {})]


def test_connected_to_disconnects_after_an_error_too(signal):
    with pytest.raises(KeyError), signal.connected_to(Log()):
        raise KeyError
    assert not signal.receivers


def test_leaving_connected_to_takes_away_its_own_connection_only(signal):
    one, other, heard = Sender(), Sender(), Log()
    signal.connect(heard, other)
    with signal.connected_to(heard, one):
        pass
    signal.send(one)
    signal.send(other)
    assert heard == [(other, {})]


def test_a_connection_that_stood_before_outlives_connected_to(signal):
    heard = Log()
    signal.connect(heard)
    with signal.connected_to(heard), signal.connected_to(heard):
        pass
    signal.send("x")
    assert heard == [("x", {})]


# ------------------------------------------------------------------ muted


def test_a_muted_signal_calls_nobody(signal):
    heard = Log()
    signal.connect(heard)
    with signal.muted():
        assert signal.is_muted
        assert signal.send(1) == []
    assert not signal.is_muted
    assert signal.send(2) == [(heard, None)]


def test_what_is_connected_while_muted_runs_afterwards(signal):
    heard = Log()
    with signal.muted():
        signal.connect(heard)
        signal.send(1)
    signal.send(2)
    assert heard == [(2, {})]


def test_a_muted_signal_moves_counters_and_times_all_the_same():
    engine, ran = Engine(nothing), []
    engine.register_events("SAVED")
    for event in ("ITERATION_COMPLETED", "EPOCH_COMPLETED", "SAVED"):
        engine.add_event_handler(event, ran.append)
        engine.bus.signal(event).is_muted = True
    engine.add_event_handler(Events.STARTED, lambda: engine.fire_event("SAVED"))
    engine.run([1, 2], max_epochs=3)
    assert ran == []
    assert (engine.state.iteration, engine.state.epoch) == (6, 3)
    assert engine.state.get_event_attrib_value("SAVED") == 1
    assert engine.state.times["EPOCH_COMPLETED"] > 0


# ------------------------------------------------------------------ who is connected


def test_receivers_is_a_view_that_nobody_can_write_to(signal):
    assert not signal.receivers
    sender, heard, other = Sender(), Log(), Log()
    signal.connect(heard, sender)
    signal.connect(heard)
    signal.connect(other)
    assert list(map(id, signal.receivers.values())) == [id(heard), id(other)]
    with pytest.raises(TypeError):
        signal.receivers["x"] = print
    with pytest.raises(AttributeError):
        signal.receivers = {}


def test_has_receivers_for_a_sender(signal):
    one, other = Sender(), Sender()
    assert not signal.has_receivers_for(one)
    signal.connect(Log(), one)
    assert signal.has_receivers_for(one)
    assert not signal.has_receivers_for(other)
    assert not signal.has_receivers_for(blinker.ANY)
    signal.connect(Log())
    assert signal.has_receivers_for(other)
    assert signal.has_receivers_for(blinker.ANY)


def test_receivers_for_a_sender_are_listed_in_order(signal):
    sender = Sender()
    for name, place, priority in (("c", sender, "LOW"), ("b", blinker.ANY, 50), ("a", sender, 10)):
        signal.connect(receiver_named(name, []), place, priority=priority)
    assert names(signal, sender) == ["a", "b", "c"]
    assert names(signal, "another") == ["b"]
    assert names(signal, blinker.ANY) == ["b"]


# ------------------------------------------------------------------ signals about signals


def test_receiver_connected_tells_of_each_connection(signal):
    told, sender = [], Sender()

    @signal.receiver_connected.connect
    def tell(sig, receiver, sender, weak):
        told.append((sig, receiver, sender, weak))

    receiver = receiver_named("receiver", [])
    signal.connect(receiver)
    signal.connect(receiver, sender, weak=True)
    assert told == [(signal, receiver, blinker.ANY, False), (signal, receiver, sender, True)]


def test_receiver_disconnected_tells_of_each_disconnection(signal):
    told, sender = [], Sender()

    @signal.receiver_disconnected.connect
    def tell(sig, receiver, sender):
        told.append((sig, receiver, sender))

    receiver = receiver_named("receiver", [])
    signal.connect(receiver)
    signal.disconnect(receiver)
    with signal.connected_to(receiver, sender):
        pass
    assert told == [(signal, receiver, blinker.ANY), (signal, receiver, sender)]


def test_a_listener_that_can_not_be_told_undoes_the_connection(signal):
    def wrong(sig):
        pass

    signal.receiver_connected.connect(wrong)
    with pytest.raises(TypeError):
        signal.connect(Log())
    assert not signal.receivers


# ------------------------------------------------------------------ how long receivers live


def test_receivers_are_held_strongly_unless_asked_otherwise(signal):
    log = []
    signal.connect(receiver_named("inner", log))
    gc.collect()
    signal.send()
    assert log == ["inner"]


def test_a_weak_receiver_goes_when_nobody_else_holds_it(signal):
    log = []
    receiver = receiver_named("weak", log)
    signal.connect(receiver, weak=True)
    signal.send()
    assert log == ["weak"]
    del receiver
    gc.collect()
    assert not signal.receivers
    assert not signal.has_receivers_for(None)
    assert signal.send() == []


def test_a_weak_method_goes_with_its_object(signal):
    thing, sender = Methods(), Sender()
    signal.connect_via(sender, weak=True)(thing.receive)
    gc.collect()
    assert signal.send(sender) == [(thing.receive, None)]
    assert thing.heard == [sender]
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None
    assert signal.send(sender) == []


def test_a_weak_receiver_that_dies_during_a_send_is_skipped(signal):
    things = [Methods()]
    first = signal.connect(lambda sender: things.clear())
    signal.connect(things[0].receive, weak=True)
    assert signal.send() == [(first, None)]


def test_a_weak_receiver_that_dies_during_a_firing_is_skipped():
    engine, things = Engine(nothing), [Methods()]
    signal = engine.bus.signal("STARTED")
    signal.connect(lambda sender: things.clear())
    signal.connect(things[0].receive, weak=True)
    engine.fire_event("STARTED")
    assert len(signal.receivers) == 1


def test_connecting_weakly_then_strongly_holds_strongly(signal):
    log = []
    receiver = receiver_named("held", log)
    signal.connect(receiver, weak=True)
    signal.connect(receiver)
    del receiver
    gc.collect()
    signal.send()
    assert log == ["held"]


def test_a_sender_that_is_gone_leaves_nothing_behind(signal):
    sender, heard = Sender(), Log()
    signal.connect(heard, sender)
    gone = weakref.ref(sender)
    del sender
    gc.collect()
    assert gone() is None
    assert not signal.receivers
    assert not signal._channels


def test_a_sender_that_can_not_be_referenced_weakly_will_do(signal):
    sender, heard = (), Log()
    signal.connect(heard, sender)
    signal.send(sender)
    assert heard == [((), {})]


def test_an_engine_that_is_gone_leaves_nothing_on_a_shared_bus(bus):
    engine = Engine(nothing, bus=bus)
    engine.add_event_handler(Events.STARTED, print, engine)  # a handler that holds its engine
    bus.signal("STARTED").connect(lambda sender, holds=engine: None, sender=engine)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    assert not any(signal.receivers or signal._channels for signal in bus.values())


# ------------------------------------------------------------------ a shared bus


def test_a_shared_bus_is_heard_as_a_whole(bus):
    trainer, evaluator = Engine(nothing, bus=bus, name="train"), Engine(nothing, bus=bus)
    heard, heard_trainer = Log(), Log()
    bus.signal("COMPLETED").connect(heard)
    bus.signal("COMPLETED").connect(heard_trainer, sender=trainer)
    trainer.run([1])
    evaluator.run([1])
    assert [sender for sender, _ in heard] == [trainer, evaluator]
    assert [sender for sender, _ in heard_trainer] == [trainer]


def test_a_receiver_hears_an_engine_that_joins_the_bus_later(bus):
    heard = Log()
    bus.signal("STARTED").connect(heard)
    engine = Engine(nothing, bus=bus)
    engine.run([1])
    assert heard == [(engine, {})]


def test_handlers_of_one_engine_are_not_run_by_another(bus):
    one, other, ran = Engine(nothing, bus=bus), Engine(nothing, bus=bus), []
    one.add_event_handler(Events.STARTED, ran.append)
    other.run([1])
    assert ran == []
    assert not other.has_event_handler(ran.append)


def test_engines_have_a_bus_of_their_own_by_default():
    assert Engine(nothing).bus is not Engine(nothing).bus


# ------------------------------------------------------------------ the payload


def test_a_receiver_gets_of_the_payload_what_it_names(bus):
    engine, got = Engine(nothing, bus=bus), []
    engine.register_events(Event("SAVED", payload=("path", "size")))
    saved = bus.signal("SAVED")
    saved.connect(lambda sender: got.append(()))
    saved.connect(lambda sender, size: got.append(size))
    saved.connect(lambda sender, **values: got.append(values))
    engine.fire_event("SAVED", path="a", size=3)
    saved.send(engine, path="b", size=4)
    assert got == [(), 3, {"path": "a", "size": 3}, (), 4, {"path": "b", "size": 4}]


def test_sending_other_values_than_declared_is_refused(bus):
    Engine(nothing, bus=bus).register_events(Event("SAVED", payload=("path",)))
    with pytest.raises(EventError, match="SAVED hands over path, but was sent with size"):
        bus.signal("SAVED").send(None, size=3)
    with pytest.raises(EventError, match="STARTED hands over no values, but was sent with a"):
        bus.signal("STARTED").send(None, a=1)
    Engine(nothing, bus=bus).register_events(Event("READ", payload=("path", "size")))
    with pytest.raises(EventError, match="READ hands over path, size, but was sent with none"):
        bus.signal("READ").send(None)


def test_a_filter_counts_what_the_engine_has_fired_and_not_what_others_send():
    engine, counts = Engine(nothing), []
    engine.register_events("SAVED")
    noting = where(lambda engine, count: counts.append(count) or False)
    engine.add_event_handler(Event("SAVED")(noting), lambda: None)
    engine.bus.signal("SAVED").send(engine)
    engine.fire_event("SAVED")
    engine.bus.signal("SAVED").send(engine)
    assert counts == [0, 1, 1]


@pytest.mark.parametrize("event", [Events.EXCEPTION_RAISED, Events.CLOSED])
def test_a_filter_is_asked_where_all_receivers_run_whatever_fails(event):
    engine, asked, ran = Engine(lambda engine, batch: 1 // batch), [], []
    engine.add_event_handler(
        event(where(lambda engine, count: asked.append((engine, count)) or False)),
        lambda: ran.append("filtered"),
    )
    engine.add_event_handler(event, lambda: ran.append("unfiltered"))
    with pytest.raises(ZeroDivisionError) as raised:
        engine.run([0])
    assert (asked, ran) == ([(engine, 1)], ["unfiltered"])
    assert len(raised.value.__notes__) == 1  # of where it was raised, and of nothing else


def test_a_receiver_that_does_not_fit_is_refused_when_it_connects(bus):
    def greedy(sender, path):
        pass

    with pytest.raises(HandlerError) as refused:
        bus.signal("STARTED").connect(greedy)
    for part in ("greedy", "STARTED", "(sender, path)", "(engine)"):
        assert part in str(refused.value)
    assert not bus.signal("STARTED").receivers


def test_a_receiver_must_take_the_sender(bus):
    with pytest.raises(HandlerError, match="can't handle STARTED: it takes"):
        bus.signal("STARTED").connect(lambda: None)


def test_the_exception_goes_to_a_receiver_by_position(bus):
    engine, got = Engine(lambda engine, batch: 1 / 0, bus=bus), []
    bus.signal("EXCEPTION_RAISED").connect(lambda sender, whatever: got.append(whatever))
    bus.signal("EXCEPTION_RAISED").connect(lambda sender, **values: got.append(*values.values()))
    with pytest.raises(ZeroDivisionError) as raised:
        engine.run([1])
    assert got == [raised.value] * 2


def test_two_declarations_of_one_event_on_one_bus_must_agree(bus):
    Engine(nothing, bus=bus).register_events(Event("SAVED", payload=("path",)))
    Engine(nothing, bus=bus).register_events(Event("SAVED", payload=("path",)), "OTHER")
    with pytest.raises(EventError, match="choose another name or the same payload"):
        Engine(nothing, bus=bus).register_events(Event("SAVED", payload=("size",)))


@pytest.mark.parametrize("weak", [False, True])
def test_a_late_declaration_checks_the_receivers_that_wait(bus, weak):
    def waiting(sender, path):
        pass

    bus.signal("SAVED").connect(waiting, weak=weak)
    engine = Engine(nothing, bus=bus)
    for _ in range(2):  # refused again, since the first time declared nothing
        with pytest.raises(HandlerError, match="waiting can't handle SAVED"):
            engine.register_events(Event("SAVED", payload=("size",)))
    bus.signal("SAVED").send(engine, path="as before")


def test_a_late_declaration_makes_waiting_receivers_ready(bus):
    heard = Log()
    bus.signal("SAVED").connect(heard)
    engine = Engine(nothing, bus=bus)
    engine.register_events(Event("SAVED", payload=()))
    engine.fire_event("SAVED")
    assert heard == [(engine, {})]


def test_a_late_declaration_counts_for_those_that_knew_the_event_before(bus):
    first, second, heard = Engine(nothing, bus=bus), Engine(nothing, bus=bus), Log()
    first.register_events("SAVED")
    bus.signal("SAVED").connect(heard)
    first.fire_event("SAVED", size=3)  # of any values, as none are declared
    second.register_events(Event("SAVED", payload=("path",)))
    with pytest.raises(EventError, match="SAVED hands over path, but was fired with size"):
        first.fire_event("SAVED", size=3)
    first.fire_event("SAVED", path="here")
    assert heard == [(first, {"size": 3}), (first, {"path": "here"})]


# ------------------------------------------------------------------ a firing is a snapshot


def test_what_connects_during_a_firing_counts_from_the_next():
    engine, ran = Engine(nothing), []

    def late(sender):
        ran.append("late")

    @engine.bus.signal("STARTED").connect
    def early(sender):
        ran.append("early")
        engine.bus.signal("STARTED").connect(late)

    engine.fire_event("STARTED")
    assert ran == ["early"]
    engine.fire_event("STARTED")
    assert ran == ["early", "early", "late"]


def test_what_disconnects_during_a_firing_still_runs_in_it():
    engine, ran = Engine(nothing), []

    def second(sender):
        ran.append("second")

    @engine.on(Events.STARTED)
    def first(engine):
        ran.append("first")
        engine.bus.signal("STARTED").disconnect(second)

    engine.bus.signal("STARTED").connect(second)
    engine.fire_event("STARTED")
    engine.fire_event("STARTED")
    assert ran == ["first", "second", "first"]


def test_muting_during_a_firing_counts_from_the_next():
    engine, ran = Engine(nothing), []

    @engine.on(Events.STARTED)
    def mute(engine):
        engine.bus.signal("STARTED").is_muted = True

    engine.on(Events.STARTED)(lambda: ran.append(1))
    engine.fire_event("STARTED")
    engine.fire_event("STARTED")
    assert ran == [1]


ACTIONS = st.dictionaries(
    st.integers(0, 4),  # when this receiver runs …
    st.lists(st.tuples(st.sampled_from(["connect", "disconnect"]), st.integers(0, 4)), max_size=3),
)


@given(connected=st.lists(st.integers(0, 4), unique=True), actions=ACTIONS, fire=st.booleans())
def test_connecting_and_disconnecting_at_random_during_a_firing(connected, actions, fire):
    """Each firing runs who was connected when it began, in that order."""
    engine, ran = Engine(nothing), []
    signal = engine.bus.signal("STARTED")
    expected, now = [], list(connected)

    def receiver_of(number):
        def receiver(sender):
            ran.append(number)
            for action, other in actions.get(number, []):
                getattr(signal, action)(receivers[other], sender=engine)

        return receiver

    receivers = [receiver_of(number) for number in range(5)]
    for number in connected:
        signal.connect(receivers[number], sender=engine)
    for _ in range(3):
        snapshot = list(now)
        expected += snapshot
        for number in snapshot:
            for action, other in actions.get(number, []):
                if action == "connect" and other not in now:
                    now.append(other)
                elif action == "disconnect" and other in now:
                    now.remove(other)
        engine.fire_event("STARTED") if fire else signal.send(engine)
    assert ran == expected


# ------------------------------------------------------------------ threads


def test_threads_may_connect_and_disconnect_while_others_fire(bus):
    engine, errors = Engine(nothing, bus=bus), []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work():
        senders = [Sender() for _ in range(50)]
        try:
            for turn, sender in enumerate(senders):
                kept, dropped = (lambda sender: None), (lambda sender: None)
                bus.signal("STARTED").connect(kept, sender=engine)
                bus.signal("STARTED").connect(dropped, sender=sender)
                bus.signal(f"EVENT_{turn}").connect(kept)
                _ = len(bus.signal("STARTED").receivers)
                engine.fire_event("STARTED")
                bus.signal("STARTED").disconnect(dropped)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    assert len(list(bus.signal("STARTED").receivers_for(engine))) == 4 * 50
    assert [len(bus.signal(f"EVENT_{turn}").receivers) for turn in range(50)] == [4] * 50


# ------------------------------------------------------------------ async


def test_send_async_awaits_what_the_wrapper_makes(signal):
    def receiver(sender, path):
        return path

    def in_a_coroutine(function):
        async def inner(*args, **kwargs):
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return inner

    signal.connect(receiver)
    sent = signal.send_async("x", _sync_wrapper=in_a_coroutine, path="a")
    assert asyncio.run(sent) == [(receiver, "a")]


def test_send_async_needs_a_wrapper_for_plain_functions(signal):
    signal.connect(lambda sender: None)
    with pytest.raises(RuntimeError, match="Cannot send to a non-coroutine function"):
        asyncio.run(signal.send_async("x"))


def test_send_async_of_a_muted_signal_calls_nobody(signal):
    signal.connect(lambda sender: None)
    with signal.muted():
        assert asyncio.run(signal.send_async("x")) == []


def test_async_receivers_are_refused(signal):
    async def receiver(sender):
        pass

    with pytest.raises(HandlerError, match="receiver is an async function"):
        signal.connect(receiver)
