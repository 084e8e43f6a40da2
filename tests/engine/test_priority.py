"""Priority: one total order over everything that hears an event, the same wherever it runs."""

import itertools
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate import Engine, Events, Handler, Priority

pytestmark = pytest.mark.covers("A6")

LEVELS = [*range(0, 101, 25), *(level.name for level in Priority)]


def nothing(engine, batch):
    return None


# ------------------------------------------------------------------ what names a priority


def test_the_names_and_numbers_are_those_of_mmengine():
    assert {level.name: level.value for level in Priority} == {
        "HIGHEST": 0,
        "VERY_HIGH": 10,
        "HIGH": 30,
        "ABOVE_NORMAL": 40,
        "NORMAL": 50,
        "BELOW_NORMAL": 60,
        "LOW": 70,
        "VERY_LOW": 90,
        "LOWEST": 100,
    }


@pytest.mark.parametrize(
    ("given", "number"),
    [("VERY_HIGH", 10), ("very_high", 10), (Priority.LOW, 70), (0, 0), (100, 100), (35, 35)],
)
def test_a_name_in_any_case_or_a_number_will_do(given, number):
    assert Priority.of(given) == number
    assert type(Priority.of(given)) is int


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (-1, ValueError, r"priority -1 lies outside 0 \(first\) to 100 \(last\)"),
        (101, ValueError, "priority 101 lies outside"),
        ("VERY_HIHG", ValueError, "HIGHEST 0, VERY_HIGH 10.* Did you mean 'VERY_HIGH'"),
        ("", ValueError, "priority '' is not one of"),
        ("50", ValueError, "priority '50' is not one of"),
        (50.0, TypeError, "priority 50.0 is a float; give a whole number"),
        (True, TypeError, "priority True is a bool"),
        (None, TypeError, "priority None is a NoneType"),
    ],
)
def test_anything_else_is_a_clear_error(given, error, message):
    with pytest.raises(error, match=message):
        Priority.of(given)


def test_a_priority_is_read_by_its_name_where_it_has_one():
    assert [Priority.label(number) for number in (0, 50, 51)] == ["HIGHEST", "NORMAL", "51"]


@pytest.mark.parametrize(
    "add",
    [
        lambda engine: engine.add_event_handler(Events.STARTED, print, priority=200),
        lambda engine: engine.on(Events.STARTED, priority=200)(print),
        lambda engine: engine.bus.signal("STARTED").connect(lambda s: None, priority=200),
        lambda engine: engine.bus.signal("STARTED").connect_via(engine, priority=200)(
            lambda s: None
        ),
    ],
)
def test_a_wrong_priority_connects_nothing(add):
    engine = Engine(nothing)
    with pytest.raises(ValueError, match="priority 200 lies outside"):
        add(engine)
    assert len(engine.describe()) == 0


# ------------------------------------------------------------------ the order


@st.composite
def attachments(draw):
    """Priorities, each with the way in which its receiver is connected."""
    ways = st.sampled_from(["handler", "sender", "any"])
    return draw(st.lists(st.tuples(st.sampled_from(LEVELS), ways), max_size=12))


def attach(engine, way, receiver, priority):
    signal = engine.bus.signal("STARTED")
    if way == "handler":
        engine.add_event_handler(Events.STARTED, receiver, priority=priority)
    elif way == "sender":
        signal.connect(receiver, sender=engine, priority=priority)
    else:
        signal.connect(receiver, priority=priority)


@given(attachments())
def test_priority_then_attachment_orders_everything_that_hears_an_event(attached):
    engine, ran = Engine(nothing), []
    for number, (priority, way) in enumerate(attached):
        attach(engine, way, lambda sender, number=number: ran.append(number), priority)
    expected = sorted(range(len(attached)), key=lambda n: (Priority.of(attached[n][0]), n))
    engine.fire_event(Events.STARTED)
    assert ran == expected
    ran.clear()
    engine.bus.signal("STARTED").send(engine)
    assert ran == expected
    assert [row.order for row in engine.describe()] == list(range(1, len(attached) + 1))


@given(attachments(), st.data())
def test_removing_some_leaves_the_order_of_the_rest(attached, data):
    engine, ran = Engine(nothing), []
    receivers = [lambda sender, number=number: ran.append(number) for number in range(12)]
    for receiver, (priority, way) in zip(receivers, attached, strict=False):
        attach(engine, way, receiver, priority)
    numbers = range(len(attached))
    gone = data.draw(st.sets(st.sampled_from(numbers))) if attached else set()
    for number in gone:
        engine.bus.signal("STARTED").disconnect(receivers[number])
    engine.fire_event(Events.STARTED)
    kept = [n for n in numbers if n not in gone]
    assert ran == sorted(kept, key=lambda n: (Priority.of(attached[n][0]), n))


@given(st.permutations(range(5)))
def test_the_order_of_engines_on_a_shared_bus_is_each_ones_own(order):
    first, ran = Engine(nothing), []
    second = Engine(nothing, bus=first.bus)
    for number in order:
        sender = (first, second)[number % 2]
        attach(sender, "sender", lambda s, n=number: ran.append(n), 50)
    first.fire_event("STARTED")
    second.fire_event("STARTED")
    assert ran == [n for n in order if n % 2 == 0] + [n for n in order if n % 2 == 1]


def test_class_handlers_take_their_place_among_functions():
    ran = []

    class Early(Handler):
        priority = "HIGH"

        def started(self, engine):
            ran.append("early")

    class Late(Handler):
        priority = Priority.LOW

        def started(self, engine):
            ran.append("late")

    engine = Engine(nothing)
    engine.attach(Late())
    engine.on(Events.STARTED)(lambda: ran.append("function"))
    engine.attach(Early())
    engine.run([1])
    assert ran == ["early", "function", "late"]


def test_a_handler_on_several_events_has_its_place_on_each():
    engine, ran = Engine(nothing), []
    engine.on(Events.STARTED | Events.COMPLETED)(lambda: ran.append("first attached"))
    engine.on(Events.STARTED | Events.COMPLETED, priority="HIGH")(lambda: ran.append("high"))
    engine.run([1])
    assert ran == ["high", "first attached"] * 2


# ------------------------------------------------------------------ in every process

PROGRAM = textwrap.dedent(
    """
    from footplate import Engine, Events, Handler

    ran = []
    engine = Engine(lambda engine, batch: None, name="train")

    class Watcher(Handler):
        def __init__(self, name):
            self.name = name
        def started(self, engine):
            ran.append(self.name)
        def before_train(self, engine):
            ran.append(self.name + " as a point")

    for n in range(20):
        def receiver(sender, n=n):
            ran.append(f"receiver {n}")
        priority = n * 37 % 3 * 50
        if n % 4 == 0:
            engine.bus.signal("STARTED").connect(receiver, priority=priority)
        elif n % 4 == 1:
            engine.bus.signal("STARTED").connect(receiver, engine, weak=False, priority=priority)
        elif n % 4 == 2:
            engine.add_event_handler(Events.STARTED, receiver, priority=priority)
        else:
            engine.attach(Watcher(f"watcher {n}"), priority=priority)
    engine.run([1])
    print(ran)
    """
)


def test_the_order_is_the_same_in_fresh_processes_with_other_hash_seeds():
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "12345", "random")
    ]
    orders = [process.communicate(timeout=60)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(eval(orders[0])) == 25
    for one, other in itertools.pairwise(orders):
        assert one == other
