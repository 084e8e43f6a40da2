"""A timer tells the scalar stream how fast a run is, and how long it will take."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest
import torch

from footplate import Engine, Events
from footplate.engine.errors import HandlerError
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars
from footplate.handlers.timer import Timer


class Clock:
    """A clock that goes on when somebody sleeps by it, so that a busy machine changes nothing."""

    def __init__(self):
        self.now = 1.0

    def __call__(self):
        self.now += 1e-12  # nothing takes no time at all
        return self.now

    def sleep(self, seconds):
        self.now += seconds


clock = Clock()


@pytest.fixture(autouse=True)
def _by_the_clock(monkeypatch):
    monkeypatch.setattr("footplate.handlers.timer.perf_counter", clock)


def sleeper(seconds):
    return lambda engine, batch: clock.sleep(seconds)


class SlowData:
    def __init__(self, length, seconds):
        self.length, self.seconds = length, seconds

    def __len__(self):
        return self.length

    def __iter__(self):
        for number in range(self.length):
            clock.sleep(self.seconds)
            yield torch.full((8, 2), number)


def timed(step, **options):
    """An engine with a timer, and what it tells at each log point."""
    engine, told = Engine(step, name="train"), []
    timer = engine.attach(Timer(**options))
    when = Events.ITERATION_COMPLETED(every=5)
    engine.add_event_handler(when, lambda e: told.append(timer.gauges(e)), priority="BELOW_NORMAL")
    return engine, timer, told


def test_the_clock_is_that_of_the_machine(monkeypatch):
    monkeypatch.undo()
    engine, _, told = timed(lambda engine, batch: time.sleep(0.002))
    begun = time.perf_counter()
    engine.run(range(10))
    took = time.perf_counter() - begun
    assert all(0.002 <= gauges["time"] <= took / 5 for gauges in told)


@pytest.mark.covers("F7")
def test_it_measures_iterations_and_the_wait_for_data():
    engine, _, told = timed(sleeper(0.006))
    engine.run(SlowData(10, 0.004), max_epochs=2)
    assert len(told) == 4
    for gauges in told:
        assert gauges["time"] == pytest.approx(0.010)
        assert gauges["data_time"] == pytest.approx(0.004)
        assert gauges["samples/s"] == pytest.approx(8 / gauges["time"])
        assert gauges["memory"] > 10
    assert told[-1]["eta"] == pytest.approx(0, abs=1e-9)


@pytest.mark.covers("F7")
def test_blocks_are_added_up_in_each_window():
    engine, timer, told = timed(lambda engine, batch: augment(batch))

    def augment(batch):
        with timer.measure("augment"):
            clock.sleep(0.002)
        with timer.measure("augment"):
            clock.sleep(0.001)
        if batch == 7:
            with timer.measure("rare"):
                clock.sleep(0.001)

    engine.run(range(15))
    assert all(0.015 <= gauges["time/augment"] < 0.06 for gauges in told)
    assert ["time/rare" in gauges for gauges in told] == [False, True, True]
    assert told[1]["time/rare"] >= 0.001
    assert told[2]["time/rare"] == 0.0


@pytest.mark.parametrize("synchronize", [False, True])
def test_a_block_that_raises_is_measured(synchronize):
    engine, timer, told = timed(lambda engine, batch: attempt(batch))

    def attempt(batch):
        try:
            with timer.measure("fails", synchronize=synchronize):
                clock.sleep(0.002)
                raise ValueError(batch)
        except ValueError:
            pass

    engine.run(range(5))
    assert 0.010 <= told[0]["time/fails"] < 0.05


# ---------------------------------------------------------------------- evaluations


@pytest.mark.covers("F7")
def test_an_evaluation_is_no_part_of_an_iteration_but_of_what_is_left():
    engine, _, told = timed(sleeper(0.004))
    evaluator = Engine(sleeper(0.05), name="val")
    engine.attach(Evaluation(evaluator, [0, 1]))
    engine.run(range(5), max_epochs=4)
    assert [gauges["time"] for gauges in told] == pytest.approx([0.004] * 4)
    # at the first nothing is known of evaluations; at the last the last is still to come
    left = [15 * 0.004, 10 * 0.004 + 3 * 0.1, 5 * 0.004 + 2 * 0.1, 0.1]
    assert [gauges["eta"] for gauges in told] == pytest.approx(left)


def test_an_evaluation_in_an_epoch_is_none_either():
    engine, _, told = timed(sleeper(0.004))
    evaluator = Engine(sleeper(0.05), name="val")
    engine.attach(Evaluation(evaluator, [0, 1], Events.ITERATION_COMPLETED(every=5)))
    engine.run(range(20))
    assert [gauges["time"] for gauges in told] == pytest.approx([0.004] * 4)
    left = [15 * (0.004 + 0.1 / 5), 10 * (0.004 + 0.1 / 5), 5 * (0.004 + 0.1 / 5), 0]
    assert [gauges["eta"] for gauges in told] == pytest.approx(left)


@pytest.mark.covers("F7")
@pytest.mark.parametrize(("limits", "ends"), [({"max_epochs": 4}, 4), ({"max_iters": 18}, 3)])
def test_at_the_end_of_an_epoch_its_evaluation_is_over(limits, ends):
    engine = Engine(sleeper(0.004), name="train")
    timer, told = engine.attach(Timer()), []
    engine.attach(Evaluation(Engine(sleeper(0.1), name="val"), [0]))
    when = Events.EPOCH_COMPLETED
    engine.add_event_handler(when, lambda e: told.append(timer.gauges(e)), priority="BELOW_NORMAL")
    engine.run(range(5), **limits)
    iterations = limits.get("max_iters", 20)
    left = [(iterations - 5 * n) * 0.004 + (ends - n) * 0.1 for n in range(1, ends + 1)]
    assert [gauges["eta"] for gauges in told] == pytest.approx(left)


def test_an_evaluation_of_some_epochs_is_counted_by_its_share():
    engine, _, told = timed(sleeper(0.004))
    engine.attach(
        Evaluation(Engine(sleeper(0.1), name="val"), [0], Events.EPOCH_COMPLETED(every=2))
    )
    engine.run(range(5), max_epochs=6)
    assert told[4]["eta"] == pytest.approx(5 * 0.004 + 2 * 0.05)


def test_what_else_handlers_do_is_part_of_an_iteration():
    engine, _, told = timed(sleeper(0.001))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: clock.sleep(0.004))
    engine.run(range(10))
    assert all(gauges["time"] == pytest.approx(0.005) for gauges in told)


# ---------------------------------------------------------------------- what is known


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"max_epochs": 3}, [25, 20, 15, 10, 5, 0]),
        ({"max_iters": 17}, [12, 7, 2]),
        ({"max_epochs": 2, "epoch_length": 20}, [35, 30, 25, 20, 15, 10, 5, 0]),
    ],
)
def test_the_time_left_is_that_of_the_iterations_left(limits, left):
    engine, _, told = timed(sleeper(0.001))
    engine.run(range(10), **limits)
    times = [gauges["time"] for gauges in told]
    recent = [sum(times[:n]) / n for n in range(1, len(told) + 1)]
    etas = [gauges["eta"] for gauges in told]
    found = [eta / one for eta, one in zip(etas, recent, strict=True)]
    assert found == pytest.approx(left, abs=1e-6)


def test_of_a_run_without_a_known_end_no_time_is_left():
    endless, _, told = timed(sleeper(0))
    endless.add_event_handler(Events.ITERATION_COMPLETED(once=20), lambda e: e.terminate())
    endless.run(range(10), max_epochs=math.inf)
    assert len(told) == 4
    assert not any("eta" in gauges for gauges in told)

    unsized, _, told = timed(sleeper(0))
    unsized.run(number for number in range(10))
    assert not any("eta" in gauges for gauges in told)


def test_without_data_or_tensors_it_tells_what_there_is():
    engine, _, told = timed(sleeper(0.001))
    engine.run(epoch_length=5)
    assert told[0].keys() == {"time", "eta", "memory"}
    engine, _, told = timed(sleeper(0.001))
    engine.run(["a"] * 5)
    assert told[0].keys() == {"time", "data_time", "eta", "memory"}


def test_a_function_counts_the_samples():
    engine, _, told = timed(sleeper(0.001), samples=lambda batch: len(batch["text"]))
    engine.run([{"text": "abc"}] * 5)
    assert told[0]["samples/s"] == pytest.approx(3 / 0.001)


def test_a_second_log_point_at_one_iteration_tells_the_same():
    engine, timer, told = timed(sleeper(0.001))
    last = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: last.append(timer.gauges(e)))
    engine.run(range(10))
    moving = {"eta", "memory"}
    assert {key: value for key, value in last[0].items() if key not in moving} == {
        key: value for key, value in told[-1].items() if key not in moving
    }


def test_before_the_first_iteration_there_is_no_speed():
    timer = Timer()
    engine = Engine(sleeper(0), name="train")
    engine.attach(timer)
    assert timer.gauges(engine).keys() == {"memory"}
    assert timer.memory_of == "process"


def test_memory_grows_by_what_is_held():
    """In a process of its own: the highest that other tests came to would hide what this holds."""
    lines = [
        "import torch",
        "from footplate import Engine",
        "from footplate.handlers.timer import Timer",
        "timer, engine = Timer(), Engine(print, name='train')",
        "engine.attach(timer)",
        "before = timer.gauges(engine)['memory']",
        "held = torch.ones(2**20 * 64)  # 256 MiB",
        "print(timer.gauges(engine)['memory'] - before)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 200 < float(told) < 400


# ---------------------------------------------------------------------- pauses


@pytest.mark.covers("F7")
def test_a_run_that_goes_on_does_not_count_the_pause():
    engine, _, told = timed(sleeper(0.002))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=7), lambda e: e.interrupt())
    engine.run(range(10))
    state = engine.state_dict()
    clock.sleep(0.5)
    engine.run()
    assert all(gauges["time"] < 0.04 for gauges in told)

    again, _, told = timed(sleeper(0.002))
    clock.sleep(0.5)
    again.load_state_dict(state)
    clock.sleep(0.5)
    again.run(range(10))
    assert [gauges["time"] < 0.04 for gauges in told] == [True]
    assert told[0]["eta"] == 0


def test_a_run_that_failed_in_its_step_does_not_count_what_came_between():
    failing = [True]

    def step(engine, batch):
        clock.sleep(0.002)
        if batch == 7 and failing:
            failing.clear()
            raise ValueError("once")

    engine, _, told = timed(step)
    with pytest.raises(ValueError, match="once"):
        engine.run(range(10))
    clock.sleep(0.5)
    engine.run()
    assert len(told) == 2
    assert all(gauges["time"] < 0.04 and gauges["data_time"] < 0.04 for gauges in told)


def test_nothing_of_it_is_saved():
    engine, _, _ = timed(sleeper(0))
    engine.run(range(5))
    assert "timer" not in engine.state_dict()["footplate"]["handlers"]


def test_one_timer_is_for_one_engine():
    timer, first = Timer(), Engine(sleeper(0))
    first.attach(timer)
    with pytest.raises(HandlerError, match="make another one"):
        Engine(sleeper(0)).attach(timer)


@pytest.mark.covers("F7", "F1")
def test_the_scalar_stream_asks_it():
    engine = Engine(lambda engine, batch: {"loss": 1.0}, name="train")
    logged = []
    engine.attach(Timer())
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=5)))

    @engine.on("SCALARS_LOGGED")
    def note(engine, scalars):
        logged.append(scalars)

    engine.run([torch.ones(4, 2)] * 10)
    told = {"time", "data_time", "samples/s", "eta", "memory"}
    assert told < logged[0].keys()
    assert told < logged[1].keys()
