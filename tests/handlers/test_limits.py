"""Time and optimizer steps end a run, and what is left of them is resumed."""

from __future__ import annotations

import io
import math
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch

import footplate.engine.state
from footplate import Engine, Events
from footplate.engine.errors import EventError
from footplate.engine.minimum import Minimum
from footplate.engine.step.events import StepEvents
from footplate.handlers.limits import MaxSteps, MaxTime

pytestmark = pytest.mark.covers("B5")


@pytest.fixture
def clock(monkeypatch):
    """The clock that stopwatches read, set by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        footplate.engine.state, "time", SimpleNamespace(perf_counter=lambda: clock.now)
    )
    return clock


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("01:02:03:04", 93784),
        ("00:12:00:00", 43200),
        (timedelta(minutes=2), 120),
        ({"hours": 1, "seconds": 0.5}, 3600.5),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_a_limit_of_time_is_said_in_many_ways(limit, seconds):
    assert MaxTime(limit).limit == seconds


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ("12:00:00", ValueError, "'12:00:00' is no time as 'DD:HH:MM:SS'"),
        ("a day", ValueError, "no time as"),
        ("00:00:00:00", ValueError, "positive and finite"),
        (0, ValueError, "positive and finite"),
        (-1, ValueError, "positive and finite"),
        (math.inf, ValueError, "positive and finite"),
        (math.nan, ValueError, "positive and finite"),
        (timedelta(0), ValueError, "positive and finite"),
        ({"hour": 1}, TypeError, "no keywords of timedelta, which are weeks, days, hours"),
        (True, TypeError, "given True"),
        (None, TypeError, "given None"),
        ([1], TypeError, r"given \[1\]"),
    ],
)
def test_what_is_no_limit_of_time_is_refused(limit, error, message):
    with pytest.raises(error, match=message):
        MaxTime(limit)


def timed(clock, limit, seconds=1.0, **options) -> Engine:
    """An engine whose iterations take so long."""

    def step(engine, batch):
        clock.now += seconds

    engine = Engine(step)
    engine.attach(MaxTime(limit, **options))
    return engine


def test_time_ends_a_run_between_two_iterations(clock):
    engine = timed(clock, 4, seconds=1.5)
    engine.run(range(10), max_epochs=math.inf)
    assert (engine.state.iteration, engine.state.reason) == (3, "terminated")


def test_a_run_with_time_left_is_completed(clock):
    engine = timed(clock, 100)
    engine.run(range(3), max_epochs=2)
    assert (engine.state.reason, engine.handlers["max_time"].left) == ("completed", 94)


def test_time_that_is_up_in_the_last_iteration_lets_the_epoch_be_completed(clock):
    engine, seen = timed(clock, 3), []
    engine.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(e.state.epoch))
    engine.run(range(3), max_epochs=9)
    assert (engine.state.iteration, seen) == (3, [1])


def test_evaluation_takes_time_too(clock):
    engine = timed(clock, 10)

    @engine.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        clock.now += 100

    engine.run(range(3), max_epochs=9)
    assert engine.state.iteration == 3


def test_pauses_take_no_time(clock):
    engine = timed(clock, 4)
    engine.on(Events.ITERATION_COMPLETED(once=3))(lambda e: e.interrupt())
    engine.run(range(10))
    clock.now += 1000
    engine.run()
    assert (engine.state.iteration, engine.state.reason) == (4, "terminated")


def test_a_run_that_goes_on_in_another_process_has_only_what_is_left(clock):
    first, second = timed(clock, 4), timed(clock, 4)
    first.on(Events.ITERATION_COMPLETED(once=3))(lambda e: e.interrupt())
    first.run(range(10))
    clock.now += 1000
    second.load_state_dict(saved_and_loaded(first.state_dict()))
    second.run(range(10))
    assert (second.state.iteration, second.state.reason) == (4, "terminated")


def test_no_iteration_runs_if_no_time_is_left(clock):
    engine = timed(clock, 4)
    engine.run(range(10), max_epochs=2)
    engine.run()
    assert (engine.state.iteration, engine.state.reason) == (4, "terminated")


def test_a_state_saved_when_the_time_was_up_goes_on_with_more_time(clock):
    first, second, saved = timed(clock, 4), timed(clock, 6), []
    first.on(Events.SAFE_POINT)(lambda e: saved.append(e.state_dict()))
    first.run(range(10))
    second.load_state_dict(saved[-1])
    second.run(range(10))
    assert (first.state.iteration, second.state.iteration) == (4, 6)


def test_a_run_that_starts_anew_has_all_the_time(clock):
    engine = timed(clock, 4)
    engine.run(range(10))
    engine.state.max_epochs = None
    engine.run(range(10))
    assert engine.state.iteration == 4


@pytest.mark.parametrize(
    ("minimum", "iterations"),
    [(Minimum(epochs=2), 6), (Minimum(iters=5), 5), (Minimum(iters=1), 2), (Minimum(), 2)],
)
def test_the_minimum_is_done_however_long_it_takes(clock, minimum, iterations):
    engine = timed(clock, 2, minimum=minimum)
    engine.run(range(3), max_epochs=9)
    assert (engine.state.iteration, engine.state.reason) == (iterations, "terminated")


def test_a_minimum_of_steps_needs_an_engine_that_counts_them(clock):
    with pytest.raises(EventError, match="counts no steps of an optimizer"):
        timed(clock, 1, minimum=Minimum(steps=1))


def test_real_time_passes():
    engine = Engine(lambda engine, batch: None)
    engine.attach(MaxTime(0.05))
    engine.run([0], max_epochs=math.inf)
    assert engine.state.reason == "terminated"
    assert engine.state.times["COMPLETED"] >= 0.04


# ------------------------------------------------------------------ steps


def stepping(steps: int, each: int = 1, every: int = 1) -> Engine:
    """An engine whose optimizer really steps, ``each`` times in every n-th iteration."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def step(engine, batch):
        weight.grad = -torch.ones(1)
        if engine.state.iteration % every == 0:
            for _ in range(each):
                optimizer.step()
                engine.fire_event(
                    StepEvents.OPTIMIZER_STEPPED, optimization=SimpleNamespace(optimizer=optimizer)
                )

    engine = Engine(step)
    engine.state.weight = weight
    engine.register_events(*StepEvents)
    engine.attach(MaxSteps(steps))
    return engine


@pytest.mark.parametrize(
    ("options", "iterations", "steps"),
    [
        ({"steps": 5}, 5, 5),
        ({"steps": 5, "every": 2}, 10, 5),
        ({"steps": 5, "each": 2}, 3, 6),
        ({"steps": 4, "every": 3}, 12, 4),
    ],
)
def test_steps_end_a_run_and_not_iterations(options, iterations, steps):
    engine = stepping(**options)
    engine.run(range(4), max_epochs=math.inf)
    assert (engine.state.iteration, engine.state.weight.item()) == (iterations, steps)
    assert engine.state.reason == "terminated"


def test_steps_made_in_the_last_iteration_let_the_epoch_be_completed():
    engine, seen = stepping(8), []
    engine.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(e.state.epoch))
    engine.run(range(4), max_epochs=math.inf)
    assert seen == [1, 2]


def test_a_run_that_has_made_its_steps_makes_no_more():
    engine = stepping(5)
    engine.run(range(4), max_epochs=9)
    engine.run()
    assert (engine.state.iteration, engine.state.weight.item()) == (5, 5)


def test_the_count_of_steps_is_resumed():
    first, second = stepping(5), stepping(5)
    first.on(Events.ITERATION_COMPLETED(once=3))(lambda e: e.interrupt())
    first.run(range(4), max_epochs=math.inf)
    second.load_state_dict(saved_and_loaded(first.state_dict()))
    second.run(range(4))
    assert (second.state.iteration, second.state.weight.item()) == (5, 2)


def test_a_run_that_starts_anew_makes_all_steps():
    engine = stepping(5)
    engine.run(range(4), max_epochs=9)
    engine.state.max_epochs = None
    engine.run(range(4), max_epochs=9)
    assert (engine.state.iteration, engine.state.weight.item()) == (5, 10)


def test_steps_need_an_engine_that_counts_them():
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(EventError, match=r"counts no steps.*TrainingStep"):
        engine.attach(MaxSteps(1))


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "5"])
def test_a_number_of_steps_is_positive_and_whole(steps):
    with pytest.raises(ValueError, match="steps is a whole number from 1 on, given"):
        MaxSteps(steps)
