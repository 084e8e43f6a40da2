"""Phases of several engines take turns as MMCV's runners let them."""

import itertools
import math
import os
import random
import signal
import weakref
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from footplate import Engine, Events, Signalled
from footplate.engine.errors import DataError
from footplate.engine.workflow import Workflow
from footplate.handlers.sampler_seed import SamplerSeed
from tests.engine.recording import RecordingEngine
from tests.golden.scenarios import Unsized

LIMITS = {"epoch": "max_epochs", "iteration": "max_iters"}

pytestmark = pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")


def plain_loops(phases, loaders, unit, limit):
    """MMCV's loops, written out: the sequence of (name, batch)."""
    endless = [itertools.cycle(loader) for loader in loaders]
    sequence, train_units = [], 0
    while train_units < limit:
        for i, (name, n) in enumerate(phases):
            for _ in range(n):
                if name == "train":
                    if train_units >= limit:
                        break
                    train_units += 1
                batches = loaders[i] if unit == "epoch" else [next(endless[i])]
                sequence += [(name, batch) for batch in batches]
    return sequence


class Turns:
    """A workflow that notes which engine was given which batch."""

    def __init__(self, phases, unit="epoch", fails=lambda name, batch: False):
        self.sequence = []
        self.fails = fails

        def step(engine, batch):
            if self.fails(engine.name, batch):
                raise ValueError(f"{engine.name} can't take {batch}")
            self.sequence.append((engine.name, batch))
            return engine.name

        names = {"train", *(name for name, _ in phases)}
        engines = {
            name: (RecordingEngine if name == "train" else Engine)(step, name=name)
            for name in sorted(names)
        }
        self.limit = LIMITS[unit]
        self.trainer = engines["train"]
        self.reported = []
        self.trainer.on(Events.ITERATION_COMPLETED)(
            lambda e: self.reported.append((e.state.iteration, e.state.batch))
        )
        self.workflow = Workflow(phases, engines, unit)

    def run(self, loaders, limit=None, **keywords):
        given = {} if limit is None else {self.limit: limit}
        return self.workflow.run(loaders, **given, **keywords)


def labelled(lengths, unsized=()):
    """One loader for each phase, whose batches say whose they are."""
    batches = [[f"{i}{letter}" for letter in "abcd"[:n]] for i, n in enumerate(lengths)]
    return [Unsized(*one) if i in unsized else one for i, one in enumerate(batches)]


# ---------------------------------------------------------------------- the sequence


@st.composite
def workflows(draw):
    phases = draw(
        st.lists(
            st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(1, 4)),
            min_size=1,
            max_size=5,
        ).filter(lambda phases: any(name == "train" for name, _ in phases))
    )
    lengths = draw(st.lists(st.integers(1, 4), min_size=len(phases), max_size=len(phases)))
    unsized = draw(st.sets(st.integers(0, len(phases) - 1)))
    unit = draw(st.sampled_from(["epoch", "iteration"]))
    return phases, labelled(lengths, unsized), unit, draw(st.integers(1, 10))


@pytest.mark.covers("B3")
@given(workflows())
def test_any_workflow_is_the_plain_loops(given):
    phases, loaders, unit, limit = given
    turns = Turns(phases, unit)
    state = turns.run(loaders, limit)
    assert turns.sequence == plain_loops(phases, [list(one) for one in loaders], unit, limit)
    assert getattr(state, "epoch" if unit == "epoch" else "iteration") == limit


@pytest.mark.covers("B2")
@pytest.mark.covers("B3")
@given(workflows(), st.lists(st.integers(1, 30), max_size=3), st.booleans())
def test_a_workflow_stopped_anywhere_is_the_unbroken_one(given, stops, fresh):
    phases, loaders, unit, limit = given
    unbroken = Turns(phases, unit)
    unbroken.run(loaders, limit)

    turns, sequence, order, given_limit = Turns(phases, unit), [], [], limit
    for stop in sorted(stops):
        interrupted = turns.trainer.add_event_handler(
            Events.SAFE_POINT(once=stop), turns.trainer.interrupt
        )
        state = turns.run(loaders, given_limit)
        interrupted.remove()
        if state.reason != "interrupted":
            break
        if fresh:
            sequence += turns.sequence
            order += turns.trainer.order
            saved, turns = turns.trainer.state_dict(), Turns(phases, unit)
            turns.trainer.load_state_dict(saved)
        given_limit = None
    if turns.trainer.state.reason in (None, "interrupted"):
        turns.run(loaders, given_limit)

    order += turns.trainer.order
    assert sequence + turns.sequence == unbroken.sequence
    assert [line for line in order if line.event != "INTERRUPT"] == unbroken.trainer.order
    ours, theirs = (one.trainer.state_dict()["footplate"] for one in (turns, unbroken))
    assert [ours[key] for key in ("pass", "position")] == [
        theirs[key] for key in ("pass", "position")
    ]


@pytest.mark.covers("B3")
@given(workflows(), st.integers(1, 10))
def test_a_failed_step_is_tried_again_and_its_phase_with_it(given, which):
    phases, loaders, unit, limit = given
    unbroken = Turns(phases, unit)
    unbroken.run(loaders, limit)
    failing = itertools.count(1)
    turns = Turns(phases, unit, fails=lambda name, batch: next(failing) == which)
    with suppress(ValueError):
        turns.run(loaders, limit)
    failed = len(turns.sequence)
    assert turns.sequence == unbroken.sequence[:failed]
    if which > len(unbroken.sequence):
        return
    turns.run(loaders, limit)
    again = turns.sequence[failed:]
    begins = len(unbroken.sequence) - len(again)
    assert 0 <= begins <= failed
    assert unbroken.sequence[begins:] == again
    trained_twice = [name for name, _ in unbroken.sequence[begins:failed]].count("train")
    in_train = unbroken.sequence[failed][0] == "train"
    assert trained_twice <= (
        unit == "iteration" and not in_train
    )  # the iteration failed as a whole


@pytest.mark.covers("B3")
@pytest.mark.parametrize(
    ("phases", "limit", "expected"),
    [
        ([("train", 1)], 2, "TT"),
        ([("train", 2), ("val", 1)], 6, "TTVTTVTTV"),
        ([("train", 3), ("val", 1)], 3, "TTTV"),
        ([("val", 1), ("train", 1)], 2, "VTVT"),
        ([("train", 2), ("val", 1)], 3, "TTVTV"),
        ([("val", 1), ("train", 2)], 3, "VTTVT"),
        ([("train", 1), ("val", 1), ("train", 2), ("val", 2)], 4, "TVTTVVTVVV"),
        ([["train", 2.0], ["val", 1]], 2.0, "TTV"),
    ],
)
@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_examples(phases, limit, expected, unit):
    turns = Turns(phases, unit)
    turns.run([["x"]] * len(phases), limit)
    assert "".join(name[0].upper() for name, _ in turns.sequence) == expected


def test_a_larger_limit_goes_on_within_the_cycle():
    turns = Turns([("train", 3), ("val", 1)])
    turns.run([["x"], ["y"]], 1)
    turns.run([["x"], ["y"]], 3)
    assert "".join(name[0] for name, _ in turns.sequence) == "tvttv"


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_a_finished_run_starts_anew(unit):
    phases = [("train", 1), ("val", 1), ("train", 1)]
    turns, loaders = Turns(phases, unit), labelled([3, 2, 2])
    turns.run(loaders, 3)
    turns.run(loaders, 3)
    assert turns.sequence == 2 * plain_loops(phases, loaders, unit, 3)


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_terminate_leaves_the_phases_that_were_to_come(unit):
    turns = Turns([("train", 1), ("val", 1)], unit)
    turns.trainer.on(Events.ITERATION_COMPLETED(once=2), priority="HIGH")(turns.trainer.terminate)
    turns.run([["x"], ["y"]], 5)
    expected = {"epoch": "tvt", "iteration": "tvtv"}  # what handles the event at hand still does
    assert "".join(name[0] for name, _ in turns.sequence) == expected[unit]


def test_a_run_without_a_limit_ends_where_somebody_says_so():
    turns = Turns([("train", 1), ("val", 1)])
    turns.trainer.on(Events.EPOCH_COMPLETED(once=3))(turns.trainer.terminate)
    turns.run([["x"], ["y"]], math.inf)
    assert "".join(name[0] for name, _ in turns.sequence) == "tvtvtv"


def test_the_train_engine_may_have_another_name():
    seen = []
    engines = {
        name: Engine(lambda engine, batch: seen.append(engine.name), name=name)
        for name in ("generator", "train")
    }
    workflow = Workflow([("generator", 1), ("train", 2)], engines, train="generator")
    workflow.run([["x"], ["y"]], max_epochs=2)
    assert seen == ["generator", "train", "train"] * 2


@pytest.mark.covers("B6")
def test_any_engine_may_stand_in_the_place_of_a_phase():
    class Distillation(Engine):
        """Has events and a way to run of its own."""

        def __init__(self):
            super().__init__(lambda engine, batch: self.fire_event("DISTILLED"), name="distill")
            self.register_events("DISTILLED")

        def run(self, data=None, **limits):
            seen.append("run")
            return super().run(data, **limits)

    seen = []
    distillation = Distillation()
    distillation.on("DISTILLED")(lambda: seen.append("distilled"))
    trainer = Engine(lambda engine, batch: seen.append("train"), name="train")
    workflow = Workflow([("distill", 1), ("train", 1)], {"train": trainer, "distill": distillation})
    workflow.run([["x"], ["y", "z"]], max_epochs=1)
    assert seen == ["run", "distilled", "train", "train"]


# ---------------------------------------------------------------------- data


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_one_train_phase_gets_its_loader_as_it_is(unit):
    turns, loader = Turns([("val", 1), ("train", 2)], unit), ["x"]
    assert turns.run([["y"], loader], 2).dataloader is loader


@pytest.mark.covers("B2")
def test_iterations_of_a_phase_go_on_where_they_stood_and_make_an_epoch():
    turns, ends = Turns([("train", 1), ("val", 2)], "iteration"), []
    val = turns.workflow.engines["val"]
    val.on(Events.EPOCH_COMPLETED)(
        lambda e: ends.append((e.state.iteration, e.state.dataloader.epoch))
    )
    state = turns.run([["x", "y"], ["a", "b", "c"]], 3)
    assert [batch for name, batch in turns.sequence if name == "val"] == list("abcabc")
    assert ends == [(2, 0), (2, 1), (2, 1)]
    assert (state.epoch, state.epoch_length) == (2, 2)


def test_by_iteration_an_epoch_of_several_train_phases_is_a_cycle():
    turns = Turns([("train", 1), ("train", 2)], "iteration")
    state = turns.run(labelled([1, 2]), 6)
    assert (state.epoch, state.reason) == (2, "completed")
    assert [batch for _, batch in turns.sequence] == ["0a", "1a", "1b"] * 2


def test_by_epoch_each_epoch_is_as_long_as_its_loader():
    turns, lengths = Turns([("train", 1), ("train", 2)]), []
    turns.trainer.on(Events.EPOCH_COMPLETED)(lambda e: lengths.append(e.state.epoch_length))
    turns.run(labelled([4, 2]), 4)
    assert lengths == [4, 2, 2, 4]


def shuffled(size):
    sampler = DistributedSampler(range(size), num_replicas=1, rank=0, seed=1)
    batches = BatchSampler(sampler, 2, drop_last=False)
    return DataLoader(range(size), batch_sampler=batches, collate_fn=tuple)


@pytest.mark.parametrize("seeding", [True, False])
@pytest.mark.parametrize("unit", ["epoch", "iteration"])
@pytest.mark.parametrize("stop", range(1, 9))
def test_shuffled_loaders_of_several_phases_are_resumed_in_their_order(unit, stop, seeding):
    phases = [("train", 1), ("val", 1), ("train", 2)]

    def make():
        turns = Turns(phases, unit)
        if seeding:
            turns.trainer.attach(SamplerSeed())
        return turns, [shuffled(4), shuffled(6), shuffled(8)]

    unbroken, loaders = make()
    unbroken.run(loaders, 4 if unit == "epoch" else 16)
    first, loaders = make()
    first.trainer.on(Events.SAFE_POINT(once=stop))(first.trainer.interrupt)
    first.run(loaders, 4 if unit == "epoch" else 16)
    second, loaders = make()
    second.trainer.load_state_dict(first.trainer.state_dict())
    second.run(loaders)
    assert first.sequence + second.sequence == unbroken.sequence
    passes = [batch for name, batch in unbroken.sequence if name == "train"]
    assert len(set(passes)) > 8  # the order does change from pass to pass


def test_a_batch_that_failed_is_not_fetched_again():
    failing = itertools.count(1)
    turns = Turns([("train", 1), ("train", 1)], "iteration", lambda name, batch: next(failing) == 4)
    loaders = [iter("abc"), iter("xyz")]  # which nobody can walk again
    with pytest.raises(ValueError, match="can't take y"):
        turns.run(loaders, 6)
    turns.run(loaders, 6)
    assert [batch for _, batch in turns.sequence] == list("axbycz")


def test_a_resumed_phase_is_walked_to_its_place_without_random_numbers():
    class Drawing:
        def __iter__(self):
            return ((n, random.random()) for n in range(5))

        def __len__(self):
            return 5

    def make():
        random.seed(0)
        turns = Turns([("train", 1), ("val", 1), ("train", 1)], "iteration")
        return turns, [Drawing() for _ in range(3)]

    unbroken, loaders = make()
    unbroken.run(loaders, 8)
    first, loaders = make()
    first.trainer.on(Events.SAFE_POINT(once=4))(first.trainer.interrupt)
    first.run(loaders, 8)
    drawn, state = random.getstate(), first.trainer.state_dict()
    second, loaders = make()
    second.trainer.load_state_dict(state)
    random.setstate(drawn)
    second.run(loaders)
    assert first.sequence + second.sequence == unbroken.sequence


def test_keywords_reach_the_steps_of_every_engine():
    seen = []

    def step(engine, batch):
        seen.append((engine.name, engine.state.keywords))

    engines = {name: Engine(step, name=name) for name in ("train", "val")}
    workflow = Workflow([("train", 1), ("val", 1)], engines)
    workflow.run([["x"], ["y"]], max_epochs=1, temperature=0.5)
    assert seen == [("train", {"temperature": 0.5}), ("val", {"temperature": 0.5})]


# ---------------------------------------------------------------------- what others see


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_metrics_of_a_phase_are_there_for_later_handlers(unit):
    engines = {name: Engine(lambda engine, batch: batch, name=name) for name in ("train", "val")}
    losses = []

    @engines["val"].on(Events.ITERATION_COMPLETED)
    def gather(engine):
        losses[engine.state.iteration - 1 :] = [engine.state.output]

    @engines["val"].on(Events.EPOCH_COMPLETED)
    def average(engine):
        engine.state.metrics["loss"] = sum(losses) / len(losses)

    seen = []
    completed = getattr(Events, f"{unit.upper()}_COMPLETED")
    engines["train"].on(completed)(lambda e: seen.append(e.state.metrics.get("val_loss")))
    workflow = Workflow([("train", 1), ("val", 2)], engines, unit)
    limit = {LIMITS[unit]: 2}
    workflow.run([[0.0], [1.0, 3.0, 5.0, 7.0]], **limit)
    assert seen == ([4.0, 4.0] if unit == "epoch" else [2.0, 6.0])


def test_metrics_that_a_phase_does_not_measure_again_are_not_taken_over():
    engines = {name: Engine(lambda engine, batch: None, name=name) for name in ("train", "val")}
    engines["train"].on(Events.EPOCH_STARTED)(lambda e: e.state.metrics.clear())
    once = itertools.count()

    @engines["val"].on(Events.EPOCH_COMPLETED)
    def measure(engine):
        engine.state.metrics[f"number_{next(once)}"] = 1

    workflow = Workflow([("train", 1), ("val", 1)], engines)
    assert workflow.run([["x"], ["y"]], max_epochs=2).metrics == {"val_number_1": 1}


def test_a_phase_that_failed_is_a_new_run_the_next_time():
    failing = itertools.count(1)
    turns = Turns([("train", 1), ("val", 1)], fails=lambda name, batch: next(failing) == 3)
    loaders = [["x"], ["y", "z"]]
    with pytest.raises(ValueError, match="can't take z"):
        turns.run(loaders, 1)
    turns.run(loaders, 1)
    assert [batch for _, batch in turns.sequence] == ["x", "y", "y", "z"]


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_other_loaders_may_be_given_to_a_run_that_goes_on(unit):
    turns = Turns([("train", 1), ("val", 1)], unit)
    turns.run([["x"], ["y"]], 1)
    turns.run([["x"], ["z"]], 2)
    assert [batch for _, batch in turns.sequence] == ["x", "y", "x", "z"]


def test_the_plan_shows_the_phases_with_their_filters():
    turns = Turns([("val", 1), ("train", 2), ("test", 1), ("train", 1), ("val", 3)])

    def rows(trainer):
        return [
            (row.event, row.handler, row.filter, row.priority)
            for row in trainer.describe()
            if row.handler.startswith("phase")
        ]

    assert rows(turns.trainer) == [
        ("EPOCH_STARTED", "phase 1: train x 2", "units(1, 2, of=3)", "HIGHEST"),
        ("EPOCH_STARTED", "phase 3: train x 1", "unit(3, of=3)", "HIGHEST"),
        ("EPOCH_STARTED", "phase 0: val x 1", "unit(1, of=3)", "ABOVE_NORMAL"),
        (
            "EPOCH_COMPLETED",
            "phase 2: test x 1",
            "unit(2, of=3) | cut(before=2, of=3)",
            "ABOVE_NORMAL",
        ),
        (
            "EPOCH_COMPLETED",
            "phase 4: val x 3",
            "unit(3, of=3) | cut(before=3, of=3)",
            "ABOVE_NORMAL",
        ),
    ]
    turns.workflow.detach()
    turns.workflow.detach()
    assert rows(turns.trainer) == []
    assert "phase 2: test x 1" not in str(turns.trainer.describe())


def test_one_train_phase_needs_no_connection():
    turns = Turns([("train", 2), ("val", 1)], "iteration")
    rows = [row for row in turns.trainer.describe() if row.handler.startswith("phase")]
    assert [(row.event, row.filter) for row in rows] == [
        ("ITERATION_COMPLETED", "unit(2, of=2) | cut(before=2, of=2)")
    ]


def test_an_error_of_a_phase_reaches_the_caller_with_notes():
    turns = Turns([("train", 1), ("val", 1)], fails=lambda name, batch: name == "val")
    with pytest.raises(ValueError, match="val can't take y") as error:
        turns.run([["x"], ["y"]], 1)
    notes = "\n".join(error.value.__notes__)
    assert "phase 1: val x 1, handling EPOCH_COMPLETED(unit(1, of=1))" in notes
    assert "the step of <Engine 'val'" in notes
    assert turns.trainer.state.reason == "error"


@pytest.mark.usefixtures("no_collector")
def test_everything_dies_with_the_last_name():
    for unit in ("epoch", "iteration"):
        engines = {name: Engine(lambda engine, batch: None, name=name) for name in ("train", "val")}
        workflow = Workflow([("val", 1), ("train", 1), ("train", 1)], engines, unit)
        workflow.run(labelled([1, 2, 3]), **{LIMITS[unit]: 3})
        watched = [weakref.ref(one) for one in (workflow, *engines.values())]
        del engines, workflow
        assert [one() for one in watched] == [None] * 3


# ---------------------------------------------------------------------- signals


def signalled(unit, leading, which):
    """A run until a signal in a step, one that goes on from there, and the unbroken one."""
    phases = [("train", 1), ("val", 2), ("train", 2)]
    phases = [("val", 2), *phases] if leading else phases
    loaders = labelled([3, 2, 2, 3][: len(phases)])
    unbroken = Turns(phases, unit)
    unbroken.run(loaders, 5)
    steps = itertools.count(1)

    def stops(name, batch):
        if next(steps) == which:
            os.kill(os.getpid(), signal.SIGTERM)

    first = Turns(phases, unit, fails=stops)
    first.trainer.stop_on(signal.SIGTERM)
    with pytest.raises(Signalled):
        first.run(loaders, 5)
    second = Turns(phases, unit)
    second.trainer.load_state_dict(first.trainer.state_dict())
    second.run(loaders)
    return first, second, unbroken


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
@pytest.mark.parametrize("leading", [True, False])
@pytest.mark.parametrize("which", range(1, 10))
def test_a_signal_in_any_step_is_resumed_with_the_phase_run_whole(unit, leading, which):
    first, second, whole = signalled(unit, leading, which)
    assert first.reported + second.reported == whole.reported
    before, behind, unbroken = first.sequence, second.sequence, whole.sequence
    assert unbroken[: len(before)] == before
    done = len(unbroken) - len(behind)
    assert unbroken[done:] == behind
    assert done <= len(before)
    assert {name for name, _ in unbroken[done : len(before)]} <= {"val"}


# ---------------------------------------------------------------------- what is refused


def engine(name="train"):
    return Engine(lambda engine, batch: None, name=name)


@pytest.mark.covers("B3")
@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], r"the workflow is empty; give phases such as \[\('train', 1\)\]"),
        ([("valid", 1)], "phase 0 is named 'valid', but the engines .* Did you mean 'val'"),
        ([("train", 1), (3, 1)], "phase 1 is named 3"),
        ([("val", 1)], "no train phase"),
        *[
            ([("train", n)], r"number of units of phase 0 \('train'\) is a whole number from 1")
            for n in (True, 0, -1, 1.5, "2", None, float("nan"), float("inf"))
        ],
    ],
)
def test_phases_that_are_refused(phases, message):
    with pytest.raises(ValueError, match=message):
        Workflow(phases, {"train": engine(), "val": engine("val")})


@pytest.mark.parametrize("phases", [["train"], [("train", 1, 2)], [3], "train", None])
def test_phases_that_are_no_pairs_are_refused(phases):
    with pytest.raises(TypeError, match=r"is a pair|is a list of phases"):
        Workflow(phases, {"train": engine()})


@pytest.mark.parametrize("unit", ["epochs", 3, ["epoch"]])
def test_an_unknown_unit_is_refused(unit):
    with pytest.raises(ValueError, match="unit is 'epoch' or 'iteration', given") as error:
        Workflow([("train", 1)], {"train": engine()}, unit)
    assert (unit == 3) == ("Did you mean 'epoch'?" not in str(error.value))


def test_engines_that_are_refused():
    trainer = engine()
    with pytest.raises(ValueError, match="is both 'train' and 'val'; an engine can't run within"):
        Workflow([("train", 1), ("val", 1)], {"train": trainer, "val": trainer})
    val = engine("val")
    with pytest.raises(ValueError, match="is both 'val' and 'test'"):
        Workflow([("train", 1)], {"train": trainer, "val": val, "test": val})
    with pytest.raises(TypeError, match=r"engines\['val'\] is no Engine but a function"):
        Workflow([("train", 1)], {"train": trainer, "val": lambda engine, batch: None})
    with pytest.raises(TypeError, match="engines maps names to engines, given a list"):
        Workflow([("train", 1)], [trainer])
    with pytest.raises(ValueError, match=r"train='trian' is none .* Did you mean 'train'"):
        Workflow([("train", 1)], {"train": trainer}, train="trian")
    assert list(trainer.describe()) == []


def test_a_second_workflow_is_refused_until_the_first_is_taken_away():
    engines = {"train": engine(), "val": engine("val")}
    first = Workflow([("train", 1), ("val", 1)], engines)
    with pytest.raises(ValueError, match=r"in a workflow already, with phase 1 \('val'\)"):
        Workflow([("train", 2), ("val", 1)], engines)
    first.detach()
    with pytest.raises(RuntimeError, match="was taken away"):
        first.run([["x"], ["y"]], max_epochs=1)
    assert Workflow([("train", 2), ("val", 1)], engines).run([["x"], ["y"]], 2).epoch == 2


@pytest.mark.parametrize(
    ("loaders", "error", "message"),
    [
        ([["x"]], ValueError, r"2 phases were given 1 loaders: phase 1 \('val'\) has none"),
        ([["x"]] * 3, ValueError, "2 phases were given 3 loaders: some have no phase"),
        ("xy", TypeError, "one loader for each phase, given a str"),
        ([["x"], None], TypeError, r"phase 1 \('val'\) was given no data; .* \[None\]"),
        ([["x"], 3], TypeError, "data of type int can't be iterated over"),
        ([["x"], []], DataError, r"the data of phase 1 \('val'\) have zero size"),
    ],
)
def test_loaders_that_are_refused(loaders, error, message):
    workflow = Workflow([("train", 1), ("val", 1)], {"train": engine(), "val": engine("val")})
    with pytest.raises(error, match=message):
        workflow.run(loaders, max_epochs=1)


@pytest.mark.parametrize(
    ("unit", "limits", "message"),
    [
        ("epoch", {"max_iters": 3}, "counts by max_epochs, given max_iters=3"),
        ("iteration", {"max_epochs": 3}, "counts by max_iters, given max_epochs=3"),
        ("epoch", {}, "give max_epochs="),
        ("iteration", {}, "give max_iters="),
        ("epoch", {"max_epochs": 1.5}, "max_epochs is a whole number from 1 on, given 1.5"),
        ("epoch", {"max_epochs": -math.inf}, "max_epochs is a whole number from 1 on, given -inf"),
        ("iteration", {"max_iters": 0}, "max_iters is a whole number from 1 on, given 0"),
    ],
)
def test_limits_that_are_refused(unit, limits, message):
    workflow = Workflow([("train", 1)], {"train": engine()}, unit)
    with pytest.raises(ValueError, match=message):
        workflow.run([["x"]], **limits)


def test_an_unsized_loader_without_a_batch_is_refused_where_it_ends():
    turns = Turns([("train", 1), ("train", 1)])
    with pytest.raises(DataError, match="gave not one batch"):
        turns.run([["x"], Unsized()], 2)


def test_running_the_engine_without_its_workflow_is_refused():
    turns = Turns([("train", 1), ("val", 1)])
    with pytest.raises(RuntimeError, match=r"phase 1 \('val'\) has no data yet"):
        turns.trainer.run(["x"])


def test_a_workflow_that_runs_is_not_run_again():
    turns = Turns([("train", 1), ("val", 1)])
    turns.trainer.on(Events.STARTED)(lambda: turns.run([["z"], ["z"]], 1))
    with pytest.raises(RuntimeError, match="is running"):
        turns.run([["x"], ["y"]], 1)
    assert turns.workflow.phases[0].loader == ["x"]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("max_epoch", "Did you mean 'max_epochs'"),
        ("epochs", "Did you mean 'max_epochs'"),
        ("num_epochs", "Did you mean 'max_epochs'"),
        ("max_iter", "Did you mean 'max_iters'"),
        ("max_steps", "Did you mean 'max_iters'"),
        ("epoch_length", "a pass over its loader, or a cycle. For shorter ones give limited"),
        ("epoch_len", "unlike 'epoch_length'"),
    ],
)
def test_keywords_that_were_meant_for_the_run_are_refused(slip, meant):
    turns = Turns([("train", 1), ("val", 1)])
    loaders = [["x"], ["y"]]
    turns.run(loaders, 1)
    with pytest.raises(TypeError, match=f"^{slip}=5.*{meant}"):
        turns.run(loaders, **{slip: 5})
    assert turns.sequence == [("train", "x"), ("val", "y")]
    turns.run(loaders, 2, max_tokens=9, temperature=0.5, epoch=3)
    assert turns.trainer.state.keywords == {"max_tokens": 9, "temperature": 0.5, "epoch": 3}


@pytest.mark.parametrize("sized", [True, False])
def test_a_phase_before_all_train_phases_runs_behind_the_fetch(sized):
    """And, though the end of data without a length is found by a fetch in vain, once a cycle."""

    class Telling:
        def __iter__(self):
            for letter in "ab":
                seen.append(f"fetch {letter}")
                yield letter

    class Sized(Telling):
        def __len__(self):
            return 2

    seen = []
    engines = {
        name: Engine(lambda engine, batch: seen.append(f"{engine.name} {batch}"), name=name)
        for name in ("train", "val")
    }
    workflow = Workflow([("val", 1), ("train", 1)], engines, "iteration")
    workflow.run([["v"], Sized() if sized else Telling()], max_iters=3)
    cycle = [["fetch " + one, "val v", "train " + one] for one in "aba"]
    assert seen == [line for lines in cycle for line in lines]
