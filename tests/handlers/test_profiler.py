"""torch's profiler runs over the iterations asked for, and is stopped whatever happens."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from footplate import Engine, Events
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.profiler import Profiler

pytestmark = pytest.mark.filterwarnings("ignore:Memory block of unknown size")


def multiply(engine, batch):
    return (torch.ones(8, 8) @ torch.ones(8, 8)).sum()


@pytest.fixture(autouse=True)
def _nothing_is_left_on():
    yield
    assert Profiler._recording is None
    assert not torch.autograd._profiler_enabled()


def profiled(folder, **options):
    engine = Engine(options.pop("step", multiply), name="train")
    return engine, engine.attach(Profiler(folder, **options))


def ranges_in(path):
    """The iterations that a trace holds."""
    with open(path) as file:
        events = json.load(file)["traceEvents"]
    found = {e["name"] for e in events if e.get("name", "").startswith("train: epoch")}
    assert any(event.get("name") == "aten::mm" for event in events) or not found
    return sorted(int(name.rpartition(" ")[2]) for name in found)


@pytest.mark.covers("F7")
@pytest.mark.parametrize(
    ("schedule", "iterations"),
    [
        ({}, {4: [2, 3, 4]}),
        ({"warmup": 0, "active": 1}, {1: [1]}),
        ({"skip_first": 2, "wait": 1, "active": 2}, {6: [5, 6]}),
        ({"wait": 2, "active": 2, "repeat": 2}, {5: [4, 5], 10: [9, 10]}),
        ({"active": 2, "repeat": 0}, {3: [2, 3], 6: [5, 6], 9: [8, 9], 11: [11]}),
        ({"warmup": 0, "active": 11, "repeat": 0}, {11: [*range(1, 12)]}),
        ({"skip_first": 20}, {}),
    ],
)
def test_it_records_what_the_schedule_says(schedule, iterations, tmp_path):
    engine, profiler = profiled(tmp_path / "profile", **schedule)
    engine.run(range(11))
    assert {
        int(path.stem.removeprefix("iteration-")): ranges_in(path) for path in profiler.written
    } == iterations
    for path in profiler.written:
        table = path.with_suffix(".txt").read_text()
        assert "aten::mm" in table
        assert f"train: epoch 1, iteration {path.stem.removeprefix('iteration-')}" in table
    assert len(list(tmp_path.glob("profile/*"))) == 2 * len(iterations)


def test_iterations_are_counted_over_epochs(tmp_path):
    engine, profiler = profiled(tmp_path, warmup=3, active=2)
    engine.run(range(2), max_epochs=4)
    (path,) = profiler.written
    with open(path) as file:
        names = {event.get("name", "") for event in json.load(file)["traceEvents"]}
    assert {"train: epoch 2, iteration 4", "train: epoch 3, iteration 5"} <= names


def test_an_evaluation_lies_within_its_iteration(tmp_path):
    engine, profiler = profiled(tmp_path, warmup=0, active=1)
    evaluator = Engine(lambda engine, batch: torch.zeros(3).cos(), name="val")
    engine.attach(Evaluation(evaluator, [0], Events.ITERATION_COMPLETED))
    engine.run(range(3))
    with open(profiler.written[0]) as file:
        spans = {e["name"]: e for e in json.load(file)["traceEvents"] if e.get("ph") == "X"}
    outer, inner = spans["train: epoch 1, iteration 1"], spans["aten::cos"]
    assert outer["ts"] <= inner["ts"] <= inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]


@pytest.mark.covers("F7")
@pytest.mark.parametrize(
    ("where", "recorded"), [("step", [2, 3]), ("handler", [2, 3]), ("evaluation", [2, 3])]
)
def test_an_error_stops_it_and_is_recorded_until_there(where, recorded, tmp_path):
    def fail(engine, batch=None):
        if engine.name == "val" or engine.state.iteration == 3:
            raise ValueError("bad")
        return multiply(engine, batch)

    engine, profiler = profiled(tmp_path, step=fail if where == "step" else multiply)
    if where == "handler":
        engine.add_event_handler(Events.ITERATION_COMPLETED, fail)
    if where == "evaluation":
        evaluator = Engine(fail, name="val")
        engine.attach(Evaluation(evaluator, [0], Events.ITERATION_COMPLETED(once=3)))
    with pytest.raises(ValueError, match="bad"):
        engine.run(range(10))
    (path,) = profiler.written
    assert path.name == "iteration-3.json"
    assert ranges_in(path) == recorded


@pytest.mark.covers("F7")
@pytest.mark.parametrize(("last", "recorded"), [(1, None), (2, [2]), (3, [2, 3])])
def test_an_early_end_stops_it(last, recorded, tmp_path, caplog):
    engine, profiler = profiled(tmp_path)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=last), lambda e: e.terminate())
    engine.run(range(10))
    assert [ranges_in(path) for path in profiler.written] == ([recorded] if recorded else [])
    said = [(one.levelno, one.getMessage()) for one in caplog.records]
    assert len(said) == (recorded is None)
    for level, message in said:
        assert level == logging.WARNING
        assert message.endswith(
            "the first that the profiler records is number 2; nothing was written."
        )


def test_each_run_has_its_cycles(tmp_path):
    engine, profiler = profiled(tmp_path, active=1)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda e: e.interrupt())
    engine.run(range(10))
    assert [path.name for path in profiler.written] == ["iteration-2.json"]
    engine.run()
    assert [path.name for path in profiler.written] == ["iteration-6.json"]
    assert len(list(tmp_path.iterdir())) == 4


def test_it_is_stopped_by_hand_before_it_is_detached(tmp_path):
    engine, profiler = profiled(tmp_path, active=5)

    @engine.on(Events.ITERATION_COMPLETED(once=3))
    def stop(engine):
        profiler.stop()
        profiler.stop()
        engine.detach(profiler)

    engine.run(range(10))
    assert [ranges_in(path) for path in profiler.written] == [[2, 3]]


@pytest.mark.covers("F7")
def test_options_are_handed_on(tmp_path):
    engine, profiler = profiled(
        tmp_path, record_shapes=True, profile_memory=True, with_stack=True, activities=["CPU"]
    )
    engine.run(range(5))
    table = profiler.written[0].with_suffix(".txt").read_text()
    assert "Input Shapes" in table
    assert "[[8, 8], [8, 8]]" in table
    assert "CPU Mem" in table
    with open(profiler.written[0]) as file:
        names = {event.get("name", "") for event in json.load(file)["traceEvents"]}
    assert any("test_profiler.py" in name and "multiply" in name for name in names)

    engine, profiler = profiled(tmp_path / "plain", activities=[ProfilerActivity.CPU])
    engine.run(range(5))
    table = profiler.written[0].with_suffix(".txt").read_text()
    assert "Input Shapes" not in table
    assert "CPU Mem" not in table


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "schedule",
    [
        {"active": 0},
        {"active": -1},
        {"active": 1.5},
        {"skip_first": -1},
        {"wait": -1},
        {"warmup": -2},
        {"repeat": -1},
    ],
)
def test_a_schedule_without_sense_is_refused(schedule, tmp_path):
    (name,) = schedule
    with pytest.raises((TypeError, ValueError), match=name):
        Profiler(tmp_path, **schedule)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["gpu"], "can't look at 'gpu' on this machine, but at 'cpu'"),
        (["cpuu"], "Did you mean 'cpu'"),
        ("cpu", r"write activities=\['cpu'\]"),
        ([], "activities= is empty"),
    ],
)
def test_activities_that_there_are_not_are_refused(given, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        Profiler(tmp_path, activities=given)


@pytest.mark.covers("F7")
@pytest.mark.parametrize(("warmup", "recorded"), [(1, [[2]]), (5, [])])
def test_two_at_once_are_refused(warmup, recorded, tmp_path):
    engine, first = profiled(tmp_path / "first", warmup=warmup, active=5)
    engine.attach(Profiler(tmp_path / "second", wait=2), name="second")
    with pytest.raises(RuntimeError, match="while another profiler records"):
        engine.run(range(10))
    assert [ranges_in(path) for path in first.written] == recorded


def test_two_in_turns_are_not(tmp_path):
    engine, first = profiled(tmp_path / "first", active=2)
    second = engine.attach(Profiler(tmp_path / "second", skip_first=3, active=2), name="second")
    engine.run(range(10))
    assert [ranges_in(path) for path in first.written] == [[2, 3]]
    assert [ranges_in(path) for path in second.written] == [[5, 6]]


def test_one_of_torch_s_own_is_not_disturbed(tmp_path):
    engine, _ = profiled(tmp_path)
    with profile(activities=[ProfilerActivity.CPU]) as own:
        with pytest.raises(RuntimeError, match="while another profiler records"):
            engine.run(range(10))
        torch.ones(3).cos()
    assert any(event.key == "aten::cos" for event in own.key_averages())
