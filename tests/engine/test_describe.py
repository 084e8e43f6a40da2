"""describe() shows who runs on which event, as a table and as data."""

import functools
import inspect
import json
from pathlib import Path

import pytest

from footplate import Engine, Events, Handler, after, every
from footplate.engine import Plan, PlanRow

pytestmark = pytest.mark.covers("A10")


def nothing(engine, batch):
    return None


def save(engine):
    pass


def hear(sender):
    pass


class Watcher(Handler):
    priority = "LOW"

    def started(self, engine):
        pass

    def after_train_epoch(self, engine):
        pass


class Callable:
    def __call__(self, engine):
        pass


@pytest.fixture
def engine():
    return Engine(nothing, name="train")


def here(thing):
    """The file and line where a thing is written."""
    return f"{__file__}:{inspect.getsourcelines(thing)[1]}"


def test_an_engine_without_handlers_says_so(engine):
    assert list(engine.describe()) == []
    assert str(engine.describe()) == "no handlers"


def test_a_row_says_everything_about_one_handler(engine):
    engine.add_event_handler(Events.EPOCH_COMPLETED(every(10) & after(100)), save, priority="HIGH")
    assert engine.describe() == (
        PlanRow(
            event="EPOCH_COMPLETED",
            order=1,
            handler="save",
            filter="every(10) & after(100)",
            priority="HIGH",
            sender="this",
            source=here(save),
            note="",
        ),
    )


def test_the_rows_follow_the_loop_and_then_the_order_of_running(engine):
    engine.add_event_handler("COMPLETED", save)
    engine.attach(Watcher())
    engine.add_event_handler(Events.STARTED(once=1), save, priority=35)
    engine.bus.signal("STARTED").connect(hear, priority=20)
    rows = [(row.event, row.order, row.handler, row.priority) for row in engine.describe()]
    assert rows == [
        ("STARTED", 1, "hear", "20"),
        ("STARTED", 2, "save", "35"),
        ("STARTED", 3, "Watcher.started", "LOW"),
        ("EPOCH_COMPLETED", 1, "Watcher.after_train_epoch", "LOW"),
        ("COMPLETED", 1, "save", "NORMAL"),
    ]


def test_the_plan_is_what_a_run_does(engine):
    ran = []
    for number, priority in enumerate([50, 10, 90, 10]):
        handler = functools.partial(ran.append, number)
        engine.add_event_handler("STARTED", functools.partial(handler), priority=priority)
    engine.run([1])
    assert ran == [1, 3, 0, 2]
    assert [row.priority for row in engine.describe()] == ["VERY_HIGH"] * 2 + ["NORMAL", "VERY_LOW"]


def test_a_receiver_of_all_engines_is_marked(engine):
    other = Engine(nothing, bus=engine.bus)
    engine.bus.signal("STARTED").connect(hear)
    engine.bus.signal("STARTED").connect(save, sender=engine)
    assert [(row.handler, row.sender) for row in engine.describe()] == [
        ("hear", "any"),
        ("save", "this"),
    ]
    assert [(row.handler, row.sender) for row in other.describe()] == [("hear", "any")]


def test_custom_events_come_behind_those_of_the_loop(engine):
    engine.register_events("SAVED")
    engine.add_event_handler("SAVED", save)
    engine.add_event_handler("CLOSED", save)
    assert [row.event for row in engine.describe()] == ["CLOSED", "SAVED"]


@pytest.mark.parametrize(
    ("handler", "name", "source"),
    [
        (save, "save", here(save)),
        (functools.partial(save), "save", here(save)),
        (Callable(), "Callable", here(Callable.__call__)),
        (Watcher().started, "Watcher.started", here(Watcher.started)),
        (functools.lru_cache(save), "save", here(save)),
        (print, "print", ""),
    ],
    ids=["function", "partial", "callable", "method", "wrapped", "builtin"],
)
def test_a_handler_is_named_and_found_in_its_file(engine, handler, name, source):
    engine.add_event_handler("STARTED", handler)
    (row,) = engine.describe()
    assert (row.handler, row.source) == (name, source)


def test_an_inherited_method_is_named_after_the_class_that_runs_it(engine):
    class Special(Watcher):
        pass

    engine.attach(Special())
    assert engine.describe()[0].handler.endswith("Special.started")


def test_a_muted_signal_is_noted(engine):
    engine.add_event_handler("STARTED", save)
    engine.add_event_handler("COMPLETED", save)
    with engine.bus.signal("STARTED").muted():
        assert [row.note for row in engine.describe()] == ["muted", ""]
    assert [row.note for row in engine.describe()] == ["", ""]


# ------------------------------------------------------------------ what nobody fires


@pytest.mark.parametrize("bound", [True, False])
def test_a_signal_that_no_engine_can_fire_is_noted_with_the_nearest_name(engine, bound):
    places = {"sender": engine} if bound else {}
    engine.bus.signal("EPOCH_COMPLETE").connect(hear, **places)
    (row,) = engine.describe()
    assert (row.event, row.handler, row.source) == ("EPOCH_COMPLETE", "hear", here(hear))
    assert row.note == "no engine on this bus fires it. Did you mean 'EPOCH_COMPLETED'?"


def test_a_name_that_is_near_to_none_gets_no_hint(engine):
    engine.bus.signal("XYZ").connect(hear)
    assert [row.note for row in engine.describe()] == ["no engine on this bus fires it."]


def test_a_signal_that_another_engine_fires_is_not_noted(engine):
    other = Engine(nothing, bus=engine.bus)
    other.register_events("SAVED")
    engine.bus.signal("SAVED").connect(hear)
    assert len(engine.describe()) == 0
    assert [(row.event, row.note) for row in other.describe()] == [("SAVED", "")]


def test_a_signal_is_noted_when_the_last_engine_that_fires_it_is_gone(engine):
    other = Engine(nothing, bus=engine.bus)
    other.register_events("SAVED")
    engine.bus.signal("SAVED").connect(hear)
    del other
    assert [row.event for row in engine.describe()] == ["SAVED"]


def test_an_unknown_signal_without_receivers_is_not_noted(engine):
    engine.bus.signal("EPOCH_COMPLETE")
    assert engine.bus.unfired() == []
    assert len(engine.describe()) == 0


# ------------------------------------------------------------------ as data and as text


def test_the_rows_are_data(engine):
    engine.add_event_handler(Events.STARTED(every=2), save)
    engine.bus.signal("EPOCH_COMPLETE").connect(hear)
    rows = engine.describe().as_dicts()
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0] == {
        "event": "STARTED",
        "order": 1,
        "handler": "save",
        "filter": "every=2",
        "priority": "NORMAL",
        "sender": "this",
        "source": here(save),
        "note": "",
    }


def test_the_plan_prints_as_a_table(engine, monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), save)
    engine.attach(Watcher())
    line = {thing: here(thing).rpartition(":")[2] for thing in (save, Watcher.started)}
    line["after"] = here(Watcher.after_train_epoch).rpartition(":")[2]
    header, rule, *rows = str(engine.describe()).splitlines()
    assert header.split() == ["event", "order", "handler", "filter", "priority", "sender", "source"]
    assert set(rule) == {"-", " "}
    assert [row.split() for row in rows] == [
        [
            "STARTED",
            "1",
            "Watcher.started",
            "LOW",
            "this",
            f"test_describe.py:{line[Watcher.started]}",
        ],
        [
            "EPOCH_COMPLETED",
            "1",
            "save",
            "every=2",
            "NORMAL",
            "this",
            f"test_describe.py:{line[save]}",
        ],
        [
            "EPOCH_COMPLETED",
            "2",
            "Watcher.after_train_epoch",
            "LOW",
            "this",
            f"test_describe.py:{line['after']}",
        ],
    ]
    begin = header.index("handler")
    assert [row[begin:].split()[0] for row in rows] == [
        "Watcher.started",
        "save",
        "Watcher.after_train_epoch",
    ]


def test_a_column_that_is_empty_everywhere_is_left_out(engine):
    engine.add_event_handler("STARTED", save)
    assert "note" not in str(engine.describe())
    with engine.bus.signal("STARTED").muted():
        assert "note" in str(engine.describe())


def test_files_elsewhere_keep_their_whole_path(engine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    engine.add_event_handler("STARTED", save)
    assert here(save) in str(engine.describe())


def test_a_plan_is_a_snapshot(engine):
    plan = engine.describe()
    engine.add_event_handler("STARTED", save)
    assert isinstance(plan, Plan)
    assert len(plan) == 0
