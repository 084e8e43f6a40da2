"""What an engine saves of itself, and what it takes."""

import ignite.engine
import pytest
import torch

from footplate import Engine, Events, Handler
from footplate.engine.errors import StateError
from footplate.engine.serialization import is_plain
from footplate.engine.state import Next
from tests.engine.recording import RecordingEngine


def passing(engine, batch):
    return batch


def interrupted(engine, at, data=(10, 20, 30), **limits):
    """The engine, stopped behind an iteration."""
    with engine.add_event_handler(Events.SAFE_POINT(once=at), engine.interrupt):
        engine.run(data, **limits)
    return engine


class Counting(Handler):
    """Counts iterations, and saves how many."""

    def __init__(self, name=None):
        self.count = 0
        self.name = name

    def iteration_completed(self, engine):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


# ------------------------------------------------------------------ what is saved


@pytest.mark.covers("A9")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_the_keys_are_those_of_ignite_and_one_more(limit):
    ours, theirs = Engine(passing), ignite.engine.Engine(passing)
    for engine in (ours, theirs):
        engine.state_dict_user_keys.append("best")
        engine.state.best = 0.5
        engine.run([10, 20], **{limit: 2})
    saved = ours.state_dict()
    assert list(saved) == [*theirs.state_dict(), "footplate"]
    del saved["footplate"]
    assert saved == dict(theirs.state_dict())


@pytest.mark.covers("A9")
def test_a_state_holds_no_graph():
    """Taken where a signal has cut ITERATION_COMPLETED, it has the batch and the output."""
    weight = torch.ones(2, requires_grad=True)
    engine = Engine(lambda engine, batch: {"loss": weight * batch, "all": [weight.sum(), 3]})
    engine.run([2.0])
    engine.progress.next = Next.ITERATION_COMPLETED
    output = engine.state_dict()["footplate"]["output"]
    assert not output["loss"].requires_grad
    assert not output["all"][0].requires_grad
    assert [*output["loss"].tolist(), *map(float, output["all"])] == [2.0, 2.0, 2.0, 3.0]


@pytest.mark.covers("A9")
@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_state_goes_through_torch_save_and_weights_only(at, tmp_path):
    engine, resumed = RecordingEngine(), RecordingEngine()
    for one in (engine, resumed):
        one.attach(Counting())
        one.state_dict_user_keys.append("mean")
        one.register_events("STEPPED")
    engine.state.mean = torch.tensor([0.5, 1.5])
    interrupted(engine, at, max_epochs=2)

    torch.save(engine.state_dict(), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(loaded)
    assert resumed.state.mean.tolist() == [0.5, 1.5]
    assert resumed.run([10, 20, 30]).iteration == 6
    assert engine.batches + resumed.batches == [10, 20, 30] * 2


@pytest.mark.covers("A9")
def test_saving_and_loading_twice_changes_nothing():
    engine = interrupted(Engine(passing), 2, max_epochs=2)
    first = engine.state_dict()
    other = Engine(passing)
    other.load_state_dict(first)
    assert other.state_dict() == first


def test_custom_counters_are_saved():
    def engine_that_counts():
        engine = Engine(lambda engine, batch: engine.fire_event("STEPPED"))
        engine.register_events("STEPPED")
        return engine

    resumed, seen = engine_that_counts(), []
    resumed.load_state_dict(interrupted(engine_that_counts(), 2).state_dict())
    resumed.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.get_event_attrib_value("STEPPED"))
    )
    resumed.run([10, 20, 30])
    assert seen == [3]


# ------------------------------------------------------------------ handlers


@pytest.mark.covers("A9")
def test_stateful_handlers_are_saved_by_name():
    engine = Engine(passing)
    engine.attach(Counting())
    engine.attach(Counting("other"))
    engine.run([10, 20])
    assert engine.state_dict()["footplate"]["handlers"] == {
        "counting": {"count": 2}, "other": {"count": 2}
    }  # fmt: skip


@pytest.mark.covers("A9")
def test_handlers_get_their_state_back():
    engine, resumed, counting = Engine(passing), Engine(passing), Counting()
    engine.attach(Counting())
    resumed.attach(counting)
    resumed.load_state_dict(interrupted(engine, 2).state_dict())
    assert counting.count == 2
    resumed.run([10, 20, 30])
    assert counting.count == 3


@pytest.mark.covers("A9")
def test_handlers_that_do_not_match_are_an_error_that_lists_both_sides():
    engine, resumed = Engine(passing), Engine(passing)
    engine.attach(Counting("before"))
    resumed.attach(Counting("after"))
    state = interrupted(engine, 1).state_dict()
    with pytest.raises(StateError, match="no state for 'after'; no handler for 'before'"):
        resumed.load_state_dict(state)
    assert resumed.state.iteration == 0

    report = resumed.load_state_dict(state, strict=False)
    assert (report.missing, report.unexpected) == (("after",), ("before",))
    assert resumed.state.iteration == 1


def test_matching_handlers_report_nothing():
    engine = Engine(passing)
    assert engine.load_state_dict(Engine(passing).state_dict()) == ((), ())


def test_a_state_of_nothing_says_so():
    with pytest.raises(StateError, match="it has nothing"):
        Engine(passing).load_state_dict({})


PLAIN_VALUES = [None, b"bytes", [1, (2.0, "text")], {"a": {1: None}}, torch.ones(1), [], {}]
OTHER_VALUES = [object(), {1, 2}, [1, {2}], {"a": object()}, {(1, 2): 3}, {(1, 2): object()}]


@pytest.mark.parametrize("number", range(len(PLAIN_VALUES)))
def test_plain_values_are_told(number):
    assert is_plain(PLAIN_VALUES[number])


@pytest.mark.parametrize("number", range(len(OTHER_VALUES)))
def test_other_values_are_told_from_plain_ones(number):
    assert not is_plain(OTHER_VALUES[number])


def test_a_run_that_goes_on_over_data_with_a_length_knows_it_at_once():
    state = interrupted(Engine(passing), 1, (number for number in (10, 20, 30))).state_dict()
    resumed, lengths = Engine(passing), []
    resumed.load_state_dict(state)
    resumed.on(Events.OPENED)(lambda engine: lengths.append(engine.state.epoch_length))
    resumed.run([10, 20, 30])
    assert lengths == [3]


# ------------------------------------------------------------------ ignite's own dicts


@pytest.mark.covers("A9", "A12")
@pytest.mark.parametrize(
    ("state", "epoch", "batches"),
    [({"iteration": 0, "epoch_length": 3, "max_epochs": 2}, 0, [10, 20, 30] * 2),
     ({"iteration": 3, "epoch_length": 3, "max_epochs": 2}, 1, [10, 20, 30]),
     ({"iteration": 4, "epoch_length": 3, "max_epochs": 2}, 2, [20, 30]),
     ({"epoch": 1, "epoch_length": 3, "max_epochs": 2}, 1, [10, 20, 30]),
     ({"epoch": 0, "epoch_length": None, "max_epochs": 1}, 0, [10, 20, 30]),
     ({"iteration": 4, "epoch_length": 3, "max_iters": 5}, 2, [20])],
    ids=str,
)  # fmt: skip
def test_a_plain_dict_of_ignite_is_taken(state, epoch, batches):
    engine = RecordingEngine()
    engine.load_state_dict(state)
    assert engine.state.epoch == epoch
    engine.run([10, 20, 30])
    assert engine.batches == batches


def test_what_an_engine_of_ignite_saved_is_taken():
    theirs = ignite.engine.Engine(passing)
    theirs.add_event_handler(ignite.engine.Events.ITERATION_COMPLETED(once=4), theirs.terminate)
    theirs.run([10, 20, 30], max_epochs=3)
    engine = RecordingEngine()
    engine.load_state_dict(theirs.state_dict())
    state = engine.run([10, 20, 30])
    assert engine.batches == [20, 30, 10, 20, 30]
    assert (state.epoch, state.iteration) == (3, 9)


def test_an_engine_of_ignite_takes_what_ours_saved():
    theirs, batches = ignite.engine.Engine(lambda engine, batch: batches.append(batch)), []
    theirs.load_state_dict(interrupted(Engine(passing), 3, max_epochs=2).state_dict())
    theirs.run([10, 20, 30])
    assert batches == [10, 20, 30]


# ------------------------------------------------------------------ what is refused

PLAIN = {"iteration": 4, "epoch_length": 3, "max_epochs": 2}


def without(key, state=PLAIN):
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.covers("A9")
@pytest.mark.parametrize(
    ("state", "message"),
    [(without("iteration"), "exactly one of 'iteration' and 'epoch'"),
     ({**PLAIN, "epoch": 1}, "exactly one of 'iteration' and 'epoch'"),
     (without("max_epochs"), "exactly one of 'max_epochs' and 'max_iters'"),
     ({**PLAIN, "max_iters": 9}, "exactly one of 'max_epochs' and 'max_iters'"),
     (without("epoch_length"), "lacks 'epoch_length'; it has 'iteration', 'max_epochs'"),
     ({**PLAIN, "epoch_length": None}, "can't be placed without a positive epoch_length"),
     ({**PLAIN, "epoch_length": 0}, "can't be placed without a positive epoch_length"),
     ({**PLAIN, "epoch_length": -3}, "epoch_length"),
     ({**PLAIN, "iteration": -1}, "iteration"),
     ({**PLAIN, "iteration": "4"}, "iteration"),
     ({**PLAIN, "iteration": 9}, "beyond its max_epochs=2"),
     ({**PLAIN, "max_epochs": 0}, "max_epochs"),
     ({**without("max_epochs"), "max_iters": 3}, "beyond its max_iters=3"),
     ({"iteration": 0, "epoch_length": 3, "max_epochs": 0}, "max_epochs"),
     ({**PLAIN, "footplate": {"format": 99}}, "has format 99, and this version reads 1"),
     ({**PLAIN, "footplate": {"format": 1}}, "lacks")],
    ids=str,
)  # fmt: skip
def test_a_state_that_makes_no_sense_is_refused_and_nothing_is_loaded(state, message):
    engine = interrupted(Engine(passing), 1)
    before = engine.state_dict()
    with pytest.raises(StateError, match=message):
        engine.load_state_dict(state)
    assert engine.state_dict() == before


def test_a_state_without_a_users_key_is_refused():
    engine = Engine(passing)
    engine.state_dict_user_keys.append("best")
    with pytest.raises(StateError, match="lacks 'best'"):
        engine.load_state_dict(PLAIN)


def test_a_state_is_not_loaded_into_a_running_engine():
    engine = Engine(lambda engine, batch: engine.load_state_dict(PLAIN))
    with pytest.raises(RuntimeError, match="is running"):
        engine.run([10])


# ------------------------------------------------------------------ finished runs


@pytest.mark.covers("A9")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_a_finished_run_that_was_loaded_is_refused(limit):
    engine, resumed = Engine(passing), RecordingEngine()
    engine.run([10, 20], **{limit: 2})
    resumed.load_state_dict(engine.state_dict())
    with pytest.raises(StateError, match=r"the loaded run is finished: .* a larger limit"):
        resumed.run([10, 20])
    assert resumed.lines == []


@pytest.mark.parametrize("state", [{"epoch": 2}, {"iteration": 6}], ids=str)
def test_a_finished_run_of_ignite_is_refused_too(state):
    engine = Engine(passing)
    engine.load_state_dict({**state, "epoch_length": 3, "max_epochs": 2})
    with pytest.raises(StateError, match="the loaded run is finished"):
        engine.run([10, 20, 30])


@pytest.mark.covers("A9")
@pytest.mark.parametrize("limit", ["max_epochs", "max_iters"])
def test_a_finished_run_that_was_loaded_goes_on_with_a_larger_limit(limit):
    engine, resumed = Engine(passing), RecordingEngine()
    engine.run([10, 20], **{limit: 2})
    done = engine.state.iteration
    resumed.load_state_dict(engine.state_dict())
    assert resumed.run([10, 20], **{limit: 4}).iteration == 2 * done
    assert resumed.batches == [10, 20] * (done // 2)


def test_a_finished_run_that_was_loaded_starts_anew_if_its_limits_are_taken_away():
    engine, resumed = Engine(passing), RecordingEngine()
    engine.run([10, 20])
    resumed.load_state_dict(engine.state_dict())
    resumed.state.max_epochs = None
    assert resumed.run([10, 20]).iteration == 2


def test_a_loaded_run_that_went_on_to_its_end_starts_anew():
    resumed = RecordingEngine()
    resumed.load_state_dict(interrupted(Engine(passing), 2).state_dict())
    resumed.run([10, 20, 30])
    assert resumed.run([10, 20, 30]).iteration == 3
    assert resumed.batches == [30, 10, 20, 30]


def test_a_state_saved_at_the_last_safe_point_has_only_its_end_before_it():
    engine, saved, resumed = Engine(passing), [], RecordingEngine()
    engine.add_event_handler(Events.SAFE_POINT, lambda e: saved.append(e.state_dict()))
    engine.run([10, 20])
    resumed.load_state_dict(saved[-1])
    assert resumed.run([10, 20]).reason == "completed"
    assert resumed.events == ["OPENED", "COMPLETED", "CLOSED"]


def test_a_loaded_run_needs_its_data():
    resumed = Engine(passing)
    resumed.load_state_dict(interrupted(Engine(passing), 2).state_dict())
    with pytest.raises(
        ValueError, match="run\\(\\) was given none; give the data that it was begun"
    ):
        resumed.run()


@pytest.mark.covers("A9")
def test_a_key_that_nobody_asked_for_is_refused_unless_not_strict():
    first = Engine(passing)
    first.state_dict_user_keys.append("alpha")
    first.state.alpha = 0.5
    first.run([10, 20])
    with pytest.raises(StateError, match=r"the state has 'alpha', which .* knows nothing of"):
        Engine(passing).load_state_dict(first.state_dict())
    second = Engine(passing)
    second.load_state_dict(first.state_dict(), strict=False)
    assert second.state.iteration == 2
