"""Events are names: they compare, hash and combine as such, ours and pytorch-ignite's alike."""

import copy
import pickle

import ignite.engine
import pytest
from ignite.engine import EventEnum
from ignite.engine import Events as IgniteEvents

from footplate import Engine, Event, Events, EventTable, every
from footplate.engine import EventList
from footplate.engine.events import as_event, as_events

pytestmark = pytest.mark.covers("A2")

OURS_ALONE = {"OPENED", "SAFE_POINT", "CLOSED"}


class Backprop(EventEnum):
    """Custom events, the pytorch-ignite way: the value is not the name."""

    BACKWARD_STARTED = "backward_started"
    BACKWARD_COMPLETED = "backward_completed"


def nothing(engine, batch):
    return None


@pytest.fixture
def engine():
    return Engine(nothing)


# ------------------------------------------------------------------ the vocabulary


def test_the_vocabulary_is_in_the_order_of_the_loop():
    assert list(Events) == [
        "OPENED",
        "STARTED",
        "EPOCH_STARTED",
        "GET_BATCH_STARTED",
        "DATALOADER_STOP_ITERATION",
        "GET_BATCH_COMPLETED",
        "ITERATION_STARTED",
        "ITERATION_COMPLETED",
        "TERMINATE_SINGLE_EPOCH",
        "EPOCH_COMPLETED",
        "SAFE_POINT",
        "INTERRUPT",
        "TERMINATE",
        "COMPLETED",
        "EXCEPTION_RAISED",
        "CLOSED",
    ]
    assert len(Events) == 16


def test_it_is_that_of_ignite_and_three_more():
    assert {str(event) for event in Events} - {event.name for event in IgniteEvents} == OURS_ALONE
    assert {event.name for event in IgniteEvents} <= {str(event) for event in Events}


def test_a_run_fires_opened_first_closed_last_and_safe_points_between_iterations(engine):
    fired = []
    for event in Events:
        engine.add_event_handler(event, lambda *_, name=str(event): fired.append(name))
    engine.run("ab")
    assert (fired[0], fired[-1]) == ("OPENED", "CLOSED")
    iteration = ["GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED"]
    iteration += ["ITERATION_COMPLETED"]
    assert fired[1:-1] == [
        "STARTED",
        "EPOCH_STARTED",
        *iteration,
        "SAFE_POINT",
        *iteration,
        "EPOCH_COMPLETED",
        "SAFE_POINT",
        "COMPLETED",
    ]


def test_membership_goes_by_name():
    assert "STARTED" in Events
    assert IgniteEvents.STARTED in Events
    assert "STARTET" not in Events


@pytest.mark.parametrize("event", Events, ids=str)
def test_each_event_says_when_it_fires_and_what_it_hands_over(event):
    assert event.doc
    given = {"EXCEPTION_RAISED": ("exception",), "TERMINATE_SINGLE_EPOCH": ("iter_counter",)}
    assert event.payload == given.get(event, ())


def test_the_events_that_the_state_counts_are_those_of_ignite_and_safe_point():
    ours = {str(event): event.counter for event in Events if event.counter is not None}
    theirs = {event.name: name for event, name in ignite.engine.State.event_to_attr.items()}
    assert ours == {**theirs, "SAFE_POINT": "iteration"}


# ------------------------------------------------------------------ an event is its name


def test_an_event_is_a_string():
    assert Events.STARTED == "STARTED"
    assert f"{Events.STARTED(every=2)}" == "STARTED"
    assert {"STARTED": 1}[Events.STARTED] == 1
    assert Events.STARTED.name == Events.STARTED.value == "STARTED"
    assert type(Events.STARTED.name) is str


def test_events_compare_and_hash_by_name_whatever_their_filter():
    filtered = Events.STARTED(every=2)
    assert filtered == Events.STARTED
    assert hash(filtered) == hash(Events.STARTED)
    assert filtered != Events.COMPLETED


def test_a_filter_shows_in_the_repr_alone():
    assert repr(Events.STARTED) == "STARTED"
    assert repr(Events.STARTED(once=3)) == "STARTED(once=3)"


def test_a_second_filter_is_refused():
    with pytest.raises(ValueError, match="has a filter already; say all of it at once"):
        Events.STARTED(every=2)(once=3)


def test_filtering_leaves_the_event_itself_alone():
    Events.STARTED(every=2)
    assert Events.STARTED.filter is None


def test_a_filtered_event_keeps_its_declaration():
    event = Event("SAVED", payload=("path",), counter="saves", doc="a file was saved")(every=2)
    assert (event.payload, event.counter, event.doc) == (("path",), "saves", "a file was saved")


def test_events_are_copied_and_pickled():
    for twin in (copy.deepcopy(Events.STARTED), pickle.loads(pickle.dumps(Events.STARTED))):
        assert twin == Events.STARTED
        assert (twin.payload, twin.counter, twin.doc) == ((), "epoch", Events.STARTED.doc)


def test_a_payload_of_one_bare_name_is_refused():
    with pytest.raises(TypeError, match=r"write payload=\('loss',\)"):
        Event("BACKWARD", payload="loss")


# ------------------------------------------------------------------ several events


def test_a_bar_makes_a_list_and_leaves_its_operands_alone():
    several = Events.STARTED | Events.COMPLETED
    longer = several | Events.CLOSED
    assert several == (Events.STARTED, Events.COMPLETED)
    assert longer == (Events.STARTED, Events.COMPLETED, Events.CLOSED)
    assert isinstance(longer, EventList)


def test_names_join_from_either_side():
    assert Events.STARTED | "SAVED" == ("STARTED", "SAVED")
    assert "SAVED" | Events.STARTED == ("SAVED", "STARTED")
    assert "SAVED" | (Events.STARTED | Events.CLOSED) == ("SAVED", "STARTED", "CLOSED")


def test_events_of_ignite_join_ours():
    assert Events.STARTED | IgniteEvents.COMPLETED == ("STARTED", "COMPLETED")
    both = Events.STARTED | (IgniteEvents.COMPLETED | IgniteEvents.EPOCH_STARTED)
    assert both == ("STARTED", "COMPLETED", "EPOCH_STARTED")


def test_the_same_event_may_stand_in_a_list_twice():
    several = Events.EPOCH_COMPLETED(every=2) | Events.EPOCH_COMPLETED(once=1)
    assert repr(several) == "EPOCH_COMPLETED(every=2) | EPOCH_COMPLETED(once=1)"


@pytest.mark.parametrize(
    "mix",
    [
        lambda: Events.STARTED | every(2),
        lambda: every(2) | Events.STARTED,
        lambda: Events.CLOSED | Events.STARTED | every(2),
        lambda: every(2) | (Events.STARTED | Events.CLOSED),
    ],
)
def test_events_and_filters_do_not_mix_and_the_error_says_what_to_write(mix):
    with pytest.raises(TypeError, match=r"(STARTED|CLOSED)\(every\(2\)\)"):
        mix()


@pytest.mark.parametrize(
    "mix",
    [
        lambda: Events.STARTED & every(2),
        lambda: every(2) & Events.STARTED,
        lambda: Events.STARTED & Events.CLOSED,
    ],
)
def test_events_do_not_combine_with_and(mix):
    with pytest.raises(TypeError, match="events don't combine with &; a filter goes into"):
        mix()


def test_a_number_joins_no_event():
    with pytest.raises(TypeError, match="5 is not an event"):
        Events.STARTED | 5


# ------------------------------------------------------------------ what names an event


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("STARTED", ["STARTED"]),
        (Events.STARTED, ["STARTED"]),
        (Events.STARTED | Events.CLOSED, ["STARTED", "CLOSED"]),
        (["STARTED", IgniteEvents.COMPLETED], ["STARTED", "COMPLETED"]),
        (IgniteEvents.STARTED, ["STARTED"]),
        (IgniteEvents.STARTED | IgniteEvents.COMPLETED, ["STARTED", "COMPLETED"]),
        (Backprop.BACKWARD_STARTED, ["BACKWARD_STARTED"]),
        (Backprop, ["BACKWARD_STARTED", "BACKWARD_COMPLETED"]),
        (Events, list(Events)),
    ],
)
def test_an_event_is_named_in_many_ways(given, names):
    assert list(as_events(given)) == names


@pytest.mark.parametrize("given", [None, 3, object(), [], [[]]])
def test_what_names_no_event_is_refused(given):
    with pytest.raises(TypeError, match=r"is not an event; give Events\.X"):
        as_events(given)


def test_a_filter_alone_is_no_event():
    with pytest.raises(TypeError, match=r"write Events.X\(every\(2\)\)"):
        as_events(every(2))


def test_where_one_event_is_wanted_several_are_refused():
    assert as_event(IgniteEvents.STARTED(every=2)) == "STARTED"
    with pytest.raises(TypeError, match="are several events; give one"):
        as_event(Events.STARTED | Events.CLOSED)


# ------------------------------------------------------------------ a table of one's own


def test_a_table_lists_its_events():
    class Steps(EventTable):
        BEGUN = Event("BEGUN", payload=())
        DONE = Event("DONE", payload=("loss",))

    assert list(Steps) == ["BEGUN", "DONE"]
    assert len(Steps) == 2


def test_an_event_has_one_name():
    with pytest.raises(ValueError, match=r"Steps\.BEGUN is named STARTED_STEP; use one name"):

        class Steps(EventTable):
            BEGUN = Event("STARTED_STEP")


# ------------------------------------------------------------------ pytorch-ignite's events


@pytest.mark.parametrize("theirs", list(IgniteEvents), ids=lambda event: event.name)
def test_ours_and_theirs_are_equal_and_hash_alike(theirs):
    ours = getattr(Events, theirs.name)
    assert ours == theirs
    assert theirs == ours
    assert hash(ours) == hash(theirs)
    assert {theirs: 1}[ours] == {ours: 1}[theirs] == 1


def test_ours_and_theirs_of_another_name_differ():
    assert Events.STARTED != IgniteEvents.COMPLETED
    assert IgniteEvents.STARTED != Events.COMPLETED


def test_events_of_ignite_are_taken_wherever_ours_are(engine):
    ran = []

    def handler(engine):
        ran.append(engine.state.epoch)

    engine.add_event_handler(IgniteEvents.EPOCH_COMPLETED, handler)
    assert engine.has_event_handler(handler, IgniteEvents.EPOCH_COMPLETED)
    assert engine.has_event_handler(handler, IgniteEvents.EPOCH_COMPLETED(every=5))
    assert engine.has_registered_events(IgniteEvents.EPOCH_COMPLETED)
    engine.fire_event(IgniteEvents.EPOCH_COMPLETED)
    assert ran == [0]
    engine.remove_event_handler(handler, IgniteEvents.EPOCH_COMPLETED)
    assert not engine.has_event_handler(handler)


def test_the_last_event_is_found_by_its_ignite_name(engine):
    names = []
    engine.add_event_handler(
        Events.COMPLETED, lambda e: names.append(e.last_event_name == IgniteEvents.COMPLETED)
    )
    assert engine.last_event_name is None
    engine.run([1])
    assert names == [True]


def test_a_filter_of_ignite_is_honoured(engine):
    ran = []
    engine.on(IgniteEvents.ITERATION_COMPLETED(every=3, after=2))(
        lambda engine: ran.append(engine.state.iteration)
    )
    engine.run(range(10))
    assert ran == [3, 6, 9]


def test_a_list_of_ignite_with_filters_is_honoured(engine):
    ran = []
    several = IgniteEvents.STARTED | IgniteEvents.EPOCH_COMPLETED(once=2)
    engine.on(several)(lambda engine: ran.append(engine.state.epoch))
    engine.run([1], max_epochs=3)
    assert ran == [0, 2]


def test_an_event_of_ignite_without_a_filter_runs_without_one(engine):
    engine.add_event_handler(IgniteEvents.STARTED, lambda engine: None)
    assert engine.describe()[0].filter == ""


def test_custom_events_of_ignite_are_registered_handled_and_fired(engine):
    ran = []
    engine.register_events(*Backprop)
    engine.on(Backprop.BACKWARD_STARTED(every=2))(lambda: ran.append("filtered"))
    handle = engine.add_event_handler(Backprop.BACKWARD_STARTED, lambda: ran.append("each"))
    for _ in range(2):
        engine.fire_event(Backprop.BACKWARD_STARTED)
    assert ran == ["each", "filtered", "each"]
    handle.remove()
    engine.fire_event(Backprop.BACKWARD_STARTED)
    assert ran == ["each", "filtered", "each"]


def test_event_to_attr_takes_custom_events_of_ignite(engine):
    engine.register_events(*Backprop, event_to_attr={Backprop.BACKWARD_STARTED: "backward"})
    assert engine.state.event_to_attr["BACKWARD_STARTED"] == "backward"
    assert engine.state.get_event_attrib_value(Backprop.BACKWARD_STARTED(every=2)) == 0
