"""Schedules move by the unit asked for, behind what logs the rate, and are planned beforehand."""

from __future__ import annotations

import copy
import io
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine as IgniteEngine
from ignite.engine import Events as IgniteEvents
from ignite.handlers import param_scheduler as ignites
from torch.optim import lr_scheduler as torchs
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

from footplate import Engine, Events
from footplate.engine.errors import EventError, StateError
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from footplate.engine.step.warm_up import warm_up
from footplate.handlers.lr_schedule import LRSchedule

Values = list[tuple[float, ...]]


def optimizer(groups: int = 1, **options: Any) -> torch.optim.Optimizer:
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    return torch.optim.SGD(parameters, **{"lr": 1.0, "momentum": 0.9, **options})


def trainer(sgd: torch.optim.Optimizer) -> Engine:
    return Engine(lambda engine, batch: sgd.step(), name="train")


def rate(sgd: torch.optim.Optimizer) -> float:
    return sgd.param_groups[0]["lr"]


def values(sgd: torch.optim.Optimizer) -> tuple[float, ...]:
    """All that schedules of these tests move."""
    names = ("lr", "momentum", "weight_decay")
    return tuple(float(group[name]) for group in sgd.param_groups for name in names)


def reloaded(state: Any) -> Any:
    """Saved to a file and loaded from it, as a checkpoint would."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ---------------------------------------------------------------------- units


@pytest.mark.covers("D1")
@pytest.mark.parametrize(("unit", "expected"), [("epoch", 0.5**2), ("iteration", 0.5**6)])
def test_a_move_is_an_epoch_or_an_iteration(unit, expected):
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), unit))
    engine.run(range(3), max_epochs=2)
    assert rate(sgd) == expected


def test_what_logs_behind_an_epoch_sees_the_rate_that_was_used():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5)))
    seen = []
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: seen.append(rate(sgd)), priority="BELOW_NORMAL"
    )
    engine.run([0], max_epochs=3)
    assert seen == [1.0, 0.5, 0.25]


class Steps:
    """An engine whose iterations are ``.``, ``s`` (a step), ``o`` (an overflow), or both."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizations = [
            Optimization(one, name=str(i), precision="fp16") for i, one in enumerate(optimizers)
        ]
        self.engine = Engine(self, name="train")
        for one in self.optimizations:
            self.engine.attach(one)

    def __call__(self, engine: Engine, batch: str) -> None:
        for at, what in enumerate(batch):
            if what in "so":
                optimization = self.optimizations[at % len(self.optimizations)]
                (weight,) = optimization.parameters[:1]
                optimization.update((weight * (1.0 if what == "s" else float("inf"))).sum())


@pytest.mark.covers("D1")
@pytest.mark.parametrize(
    ("unit", "iterations", "moves"),
    [
        ("iteration", [".", ".", ".", "s"], [1, 2, 3, 4]),
        ("iteration", [".", "o", ".", "s"], [1, 1, 2, 3]),
        ("iteration", ["o", "os", "so", "o"], [0, 1, 2, 2]),
        ("step", [".", ".", ".", "s"], [0, 0, 0, 1]),
        ("step", ["o", "os", "ss", "o"], [0, 1, 3, 3]),
        ("epoch", [".", ".", "s", "."], [0, 1, 1, 2]),
        ("epoch", ["o", ".", "o", "s"], [0, 0, 0, 1]),
        ("epoch", ["s", "o", ".", "o"], [0, 1, 1, 1]),
    ],
)
def test_units_are_not_mixed_up_by_accumulation_and_skipped_steps(unit, iterations, moves):
    sgd = optimizer()
    engine = Steps(sgd).engine
    scheduler = ExponentialLR(sgd, 0.5)
    engine.attach(LRSchedule(scheduler, unit))
    seen = []
    engine.on(Events.SAFE_POINT)(lambda: seen.append(scheduler.last_epoch))
    engine.run(iterations, max_iters=len(iterations), epoch_length=2)
    assert seen == moves


@pytest.mark.covers("D1")
def test_accumulation_of_real_batches_moves_each_unit_at_its_own_pace():
    moved = {}
    for unit in ("epoch", "iteration", "step"):
        sgd = optimizer()
        optimization = Optimization(sgd, accumulate=4)
        engine = Engine(lambda e, x, o=optimization: o.update((o.parameters[0] * x).sum()))
        engine.attach(optimization)
        scheduler = ExponentialLR(sgd, 0.5)
        engine.attach(LRSchedule(scheduler, unit))
        engine.run([1.0] * 8, max_epochs=3)
        moved[unit] = scheduler.last_epoch
    assert moved == {"epoch": 3, "iteration": 24, "step": 6}


@pytest.mark.covers("D1")
@pytest.mark.parametrize(
    ("unit", "expected"), [("step", (0.5**3, 0.5**1)), ("iteration", (0.5**3, 0.5**2))]
)
def test_each_schedule_moves_with_its_own_optimizer_only(unit, expected):
    first, second = optimizer(), optimizer()
    engine = Steps(first, second).engine
    engine.attach(
        LRSchedule({"a": ExponentialLR(first, 0.5), "b": [ExponentialLR(second, 0.5)]}, unit)
    )
    engine.run(["s.", "so", "ss"])
    assert (rate(first), rate(second)) == expected


def test_a_step_that_is_vetoed_moves_nothing():
    sgd = optimizer()
    optimization = Optimization(sgd)
    engine = Engine(lambda e, x: optimization.update((optimization.parameters[0] * x).sum()))
    engine.attach(optimization)
    engine.on(StepEvents.OPTIMIZER_STEP_STARTED(every=2))(lambda optimization: optimization.veto())
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), "iteration"))
    engine.run([1.0] * 6)
    assert rate(sgd) == 0.5**3


def test_steps_are_heard_of_an_optimization_that_is_attached_later():
    sgd = optimizer()
    optimization = Optimization(sgd)
    engine = Engine(lambda e, x: optimization.update((optimization.parameters[0] * x).sum()))
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), "iteration"))
    engine.attach(optimization)
    engine.on(StepEvents.OPTIMIZER_STEP_STARTED)(lambda optimization: optimization.veto())
    for _ in range(2):
        engine.run([1.0])
    assert rate(sgd) == 1.0


def test_what_was_skipped_is_saved_in_the_midst_of_an_epoch():
    def made() -> tuple[torch.optim.Optimizer, Engine]:
        sgd = optimizer()
        engine = Steps(sgd).engine
        engine.attach(LRSchedule(ExponentialLR(sgd, 0.5)))
        return sgd, engine

    _, engine = made()
    engine.on(Events.ITERATION_COMPLETED(once=1))(engine.interrupt)
    engine.run(["o", "."])
    sgd, other = made()
    other.load_state_dict(reloaded(engine.state_dict()))
    other.run(["o", "."])
    assert rate(sgd) == 1.0
    sgd, fresh = made()
    fresh.run([".", "."])
    assert rate(sgd) == 0.5


def test_a_new_run_forgets_what_was_skipped_in_the_one_before():
    sgd = optimizer()
    engine = Steps(sgd).engine
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), "iteration"))
    engine.run(["o"])
    engine.run(["."])
    assert rate(sgd) == 0.5


def test_torch_still_warns_of_a_step_that_was_replaced():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5)))
    sgd.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden"):
        engine.run([0])


# ---------------------------------------------------------------------- one, a list, a dict


@pytest.mark.covers("D1")
def test_a_list_is_moved_in_its_order():
    sgd = optimizer(lr=8.0)
    engine = trainer(sgd)
    chained = [StepLR(sgd, 1, 0.5), torchs.MultiplicativeLR(sgd, lambda epoch: 0.25)]
    engine.attach(LRSchedule(chained))
    engine.run([0], max_epochs=1)
    assert rate(sgd) == 1.0

    last = optimizer()
    engine = trainer(last)
    both = [
        ignites.PiecewiseLinear(last, "lr", [(0, 5.0)]),
        ignites.PiecewiseLinear(last, "lr", [(0, 7.0)]),
    ]
    engine.attach(LRSchedule(both))
    engine.run([0])
    assert rate(last) == 7.0


TORCHS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step": lambda o: StepLR(o, 2, 0.5),
    "multistep": lambda o: torchs.MultiStepLR(o, [2, 2, 5], 0.5),
    "lambda": lambda o: torchs.LambdaLR(o, lambda k: 1 / (1 + k)),
    "multiplicative": lambda o: torchs.MultiplicativeLR(o, lambda k: 0.9),
    "constant": lambda o: torchs.ConstantLR(o, 0.5, 3),
    "linear": lambda o: torchs.LinearLR(o, 0.1, total_iters=4),
    "exponential": lambda o: ExponentialLR(o, 0.9),
    "polynomial": lambda o: torchs.PolynomialLR(o, 7, 2.0),
    "cosine": lambda o: torchs.CosineAnnealingLR(o, 5),
    "restarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 3, 2),
    "one cycle": lambda o: torchs.OneCycleLR(o, 0.3, total_steps=14),
    "cyclic": lambda o: torchs.CyclicLR(o, 0.1, 1.0, 2, mode="exp_range", gamma=0.9),
    "sequential": lambda o: torchs.SequentialLR(
        o, [torchs.ConstantLR(o, 0.5, 3), ExponentialLR(o, 0.9)], [3]
    ),
    "chained": lambda o: torchs.ChainedScheduler(
        [torchs.ConstantLR(o, 0.5, 3), ExponentialLR(o, 0.9)]
    ),
    "warm-up": lambda o: warm_up(torchs.CosineAnnealingLR(o, 5), 4),
    "list": lambda o: [torchs.ConstantLR(o, 0.5, 3), ExponentialLR(o, 0.9)],
    "dict": lambda o: {"a": torchs.ConstantLR(o, 0.5, 3), "b": [ExponentialLR(o, 0.9)]},
}

IGNITES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "piecewise": lambda o: ignites.PiecewiseLinear(o, "lr", [(1, 1.0), (4, 0.2), (9, 0.1)]),
    "linear cycles": lambda o: ignites.LinearCyclicalScheduler(
        o, "lr", 1.0, 0.0, 4, monotonic=True, warmup_duration=2, cycle_mult=1.5
    ),
    "cosine restarts": lambda o: ignites.CosineAnnealingScheduler(
        o, "lr", 1.0, 0.0, 3, cycle_mult=2.0, start_value_mult=0.5
    ),
    "concatenation": lambda o: ignites.ConcatScheduler(
        [
            ignites.LinearCyclicalScheduler(o, "lr", 1.0, 0.0, 6),
            ignites.CosineAnnealingScheduler(o, "lr", 1.0, 0.2, 4),
        ],
        durations=[5],
    ),
    "a scheduler of torch": lambda o: ignites.LRScheduler(StepLR(o, 3, 0.5)),
    "one that goes by factors": lambda o: ignites.LRScheduler(ExponentialLR(o, 0.5)),
    "warm-up of torch's": lambda o: ignites.create_lr_scheduler_with_warmup(
        ExponentialLR(o, 0.5), warmup_start_value=0.0, warmup_duration=4
    ),
    "warm-up of its own": lambda o: ignites.create_lr_scheduler_with_warmup(
        ignites.CosineAnnealingScheduler(o, "lr", 0.5, 0.1, 6), 0.0, 3, 0.5
    ),
    "momentum": lambda o: ignites.PiecewiseLinear(o, "momentum", [(0, 0.5), (8, 0.95)]),
    "weight decay": lambda o: ignites.CosineAnnealingScheduler(o, "weight_decay", 0.0, 0.1, 16),
}

GROUPED: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "one group": lambda o: ignites.PiecewiseLinear(
        o, "lr", [(0, 0.5), (9, 0.1)], param_group_index=1
    ),
    "groups": lambda o: ignites.ParamGroupScheduler(
        [
            ignites.LinearCyclicalScheduler(o, "lr", 0.0, 1.0, 4, param_group_index=0),
            ignites.PiecewiseLinear(o, "momentum", [(0, 0.5), (8, 0.95)], param_group_index=1),
        ]
    ),
}


@pytest.mark.covers("D1")
@pytest.mark.parametrize("kind", TORCHS)
@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_any_scheduler_of_torch_goes_as_in_a_loop_by_hand(kind, unit):
    by_hand, expected = optimizer(), []
    made = TORCHS[kind](by_hand)
    if isinstance(made, dict):
        made = [made["a"], *made["b"]]
    for _ in range(12):
        expected.append(values(by_hand))
        by_hand.step()
        for one in made if isinstance(made, list) else [made]:
            one.step()
    assert curve(TORCHS[kind], unit) == expected


def curve(make: Callable[[torch.optim.Optimizer], Any], unit: str, groups: int = 1) -> Values:
    sgd, seen = optimizer(groups), []

    def step(engine: Engine, batch: None) -> None:
        seen.append(values(sgd))
        sgd.step()

    engine = Engine(step)
    engine.attach(LRSchedule(make(sgd), unit))
    if unit == "epoch":
        engine.run(epoch_length=1, max_epochs=12)
    else:
        engine.run(epoch_length=5, max_iters=12)
    return seen


# ---------------------------------------------------------------------- pytorch-ignite's


@pytest.mark.covers("D2")
@pytest.mark.parametrize("kind", [*IGNITES, *GROUPED])
@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_parameter_schedules_go_as_in_ignite(kind, unit):
    make = {**IGNITES, **GROUPED}[kind]
    groups = 2 if kind in GROUPED else 1
    sgd, expected = optimizer(groups), []
    engine = IgniteEngine(lambda engine, batch: expected.append(values(sgd)))
    event = IgniteEvents.EPOCH_STARTED if unit == "epoch" else IgniteEvents.ITERATION_STARTED
    engine.add_event_handler(event, make(sgd))
    if unit == "epoch":
        engine.run([0], max_epochs=12)
    else:
        engine.run([0] * 12)
    assert len(set(expected)) > 2
    assert curve(make, unit, groups) == expected


@pytest.mark.covers("D2")
def test_momentum_and_weight_decay_move_beside_the_rate():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.attach(
        LRSchedule(
            [
                StepLR(sgd, 1, 0.5),
                ignites.PiecewiseLinear(sgd, "momentum", [(0, 0.5), (4, 0.9)]),
                ignites.PiecewiseLinear(sgd, "weight_decay", [(0, 0.0), (2, 0.2)]),
            ],
            "iteration",
        )
    )
    seen = []
    engine.on(Events.ITERATION_STARTED)(lambda: seen.append(values(sgd)))
    engine.run([0] * 4)
    assert seen == [
        pytest.approx(row)
        for row in [(1.0, 0.5, 0.0), (0.5, 0.6, 0.1), (0.25, 0.7, 0.2), (0.125, 0.8, 0.2)]
    ]


@pytest.mark.covers("D2")
@pytest.mark.parametrize("kind", IGNITES)
def test_a_new_run_begins_at_the_first_value(kind):
    sgd, seen = optimizer(), []
    engine = Engine(lambda engine, batch: seen.append(values(sgd)))
    engine.attach(LRSchedule(IGNITES[kind](sgd), "iteration"))
    for _ in range(2):
        engine.run([0] * 9)
    assert seen[:9] == seen[9:]


@pytest.mark.covers("D2")
def test_the_first_value_is_there_whenever_anybody_looks():
    sgd, seen = optimizer(), []
    engine = trainer(sgd)
    engine.attach(LRSchedule(ignites.PiecewiseLinear(sgd, "lr", [(0, 0.5)])))
    engine.add_event_handler(Events.STARTED, lambda: seen.append(rate(sgd)), priority="HIGHEST")
    engine.run([0])
    assert seen == [0.5]


@pytest.mark.covers("D2")
@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_STARTED])
def test_a_schedule_attached_in_a_run_begins_there(event):
    sgd, seen = optimizer(), []
    engine = Engine(lambda engine, batch: seen.append(rate(sgd)))
    ramp = ignites.PiecewiseLinear(sgd, "lr", [(0, 0.0), (4, 4.0)])
    engine.on(event(once=1) if event != Events.STARTED else event)(
        lambda e: e.attach(LRSchedule(ramp, "iteration"))
    )
    engine.run([0] * 3)
    assert seen == [0.0, 1.0, 2.0]


@pytest.mark.covers("D2")
def test_a_schedule_attached_between_runs_begins_when_the_run_goes_on():
    sgd, seen = optimizer(), []
    engine = Engine(lambda engine, batch: seen.append(rate(sgd)))
    engine.run([0], max_epochs=1)
    engine.attach(LRSchedule(ignites.PiecewiseLinear(sgd, "lr", [(0, 0.0), (4, 4.0)])))
    engine.run([0], max_epochs=3)
    assert seen == [1.0, 0.0, 1.0]


@pytest.mark.covers("D2")
def test_a_run_that_goes_on_does_not_begin_anew():
    sgd, seen = optimizer(), []
    engine = Engine(lambda engine, batch: seen.append(rate(sgd)))
    engine.attach(LRSchedule(ignites.PiecewiseLinear(sgd, "lr", [(0, 0.0), (4, 4.0)])))
    engine.run([0], max_epochs=2)
    engine.run([0], max_epochs=4)
    assert seen == [0.0, 1.0, 2.0, 3.0]


def test_a_history_is_kept_where_ignite_keeps_it():
    sgd = optimizer()
    engine = trainer(sgd)
    ramp = ignites.PiecewiseLinear(sgd, "lr", [(0, 0.0), (4, 4.0)], save_history=True)
    engine.attach(LRSchedule(ramp))
    engine.run([0], max_epochs=2)
    assert engine.state.param_history == {"lr": [[0.0], [1.0], [2.0]]}


# ---------------------------------------------------------------------- a metric


@pytest.mark.covers("D3")
def test_plateau_looks_at_its_metric():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(val_loss=1.0))
    engine.attach(LRSchedule(ReduceLROnPlateau(sgd, factor=0.1, patience=1), metric="val_loss"))
    engine.run([0], max_epochs=3)
    assert rate(sgd) == pytest.approx(0.1)


@pytest.mark.covers("D3")
def test_plateau_looks_only_when_its_metric_was_measured():
    sgd = optimizer()
    engine = trainer(sgd)
    looked = Events.EPOCH_COMPLETED(every=3)
    engine.on(looked)(lambda e: e.state.metrics.update(val_loss=1.0))
    plateau = ReduceLROnPlateau(sgd, factor=0.5, patience=0)
    engine.attach(LRSchedule(plateau, metric="val_loss", when=looked))
    engine.run([0], max_epochs=9)
    assert (plateau.last_epoch, rate(sgd)) == (3, 0.25)


def test_plateau_stands_in_a_list_beside_others():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(loss=torch.tensor(1.0)))
    both = [ExponentialLR(sgd, 0.5), ReduceLROnPlateau(sgd, factor=0.1, patience=0)]
    engine.attach(LRSchedule(both, metric="loss"))
    engine.run([0], max_epochs=2)
    assert rate(sgd) == pytest.approx(0.5 * 0.5 * 0.1)


@pytest.mark.covers("D3")
def test_a_missing_metric_is_named_with_the_nearest_one():
    sgd = optimizer()
    engine = trainer(sgd)
    engine.state.metrics.update(val_loss=1.0, accuracy=0.5)
    engine.attach(LRSchedule(ReduceLROnPlateau(sgd), metric="val_lose"))
    with pytest.raises(KeyError, match=r"'val_loss', 'accuracy'.*Did you mean 'val_loss'"):
        engine.run([0])


# ---------------------------------------------------------------------- resuming


@pytest.mark.covers("D1", "D2", "G4")
@settings(deadline=None, max_examples=120)
@given(
    kind=st.sampled_from([*TORCHS, *IGNITES]),
    unit=st.sampled_from(["epoch", "iteration", "step"]),
    stop=st.integers(1, 11),
)
def test_a_resumed_schedule_goes_on_where_it_stood(kind, unit, stop):
    make = {**TORCHS, **IGNITES}[kind]

    def made() -> tuple[Engine, Values]:
        sgd, seen = optimizer(), []
        optimization = Optimization(sgd, accumulate=2)

        def step(engine: Engine, batch: None) -> None:
            seen.append(values(sgd))
            optimization.update(optimization.parameters[0].sum())

        engine = Engine(step)
        engine.attach(optimization)
        engine.attach(LRSchedule(make(sgd), unit))
        return engine, seen

    whole, expected = made()
    whole.run(epoch_length=3, max_epochs=4)
    first, begun = made()
    first.on(Events.ITERATION_COMPLETED(once=stop))(first.interrupt)
    first.run(epoch_length=3, max_epochs=4)
    second, rest = made()
    second.load_state_dict(reloaded(first.state_dict()))
    second.run()
    assert begun + rest == expected
    assert len(begun) == stop


def test_a_state_that_was_loaded_is_not_taken_apart():
    sgd = optimizer()
    schedule = LRSchedule([TORCHS["cyclic"](sgd), TORCHS["sequential"](sgd)])
    state = schedule.state_dict()
    kept = reloaded(state)
    schedule.load_state_dict(state)
    assert state == kept


def test_the_state_of_other_schedulers_is_refused():
    state = LRSchedule(ExponentialLR(optimizer(), 0.5)).state_dict()
    other = LRSchedule({"a": ExponentialLR(optimizer(), 0.5)})
    with pytest.raises(StateError, match=r"\{'': 1\}, and this schedule \{'a': 1\}"):
        other.load_state_dict(state)


# ---------------------------------------------------------------------- plans


ALL = {**TORCHS, **IGNITES, **GROUPED}


def world(schedule: LRSchedule, sgd: torch.optim.Optimizer) -> list[Any]:
    """All that a plan must leave as it is."""
    groups = [{k: v for k, v in group.items() if k != "params"} for group in sgd.param_groups]
    seen = [
        repr(schedule.state_dict()),
        sgd.state_dict(),
        groups,
        torch.get_rng_state().tolist(),
        random.getstate(),
        repr(np.random.get_state()),
        getattr(sgd, "_opt_called", None),
    ]
    return copy.deepcopy(seen)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("moved", [0, 3])
def test_a_plan_says_what_comes_and_changes_nothing(kind, moved, tmp_path):
    sgd, seen = optimizer(2 if kind in GROUPED else 1), []
    engine = Engine(lambda engine, batch: (seen.append(values(sgd)), sgd.step()))
    schedule = engine.attach(LRSchedule(ALL[kind](sgd), "iteration"))
    if moved:
        engine.run([0] * 10, max_iters=moved)
    before = world(schedule, sgd)
    plan = schedule.planned(10 - moved)
    schedule.plot(tmp_path / "plan.png", 10 - moved)
    assert world(schedule, sgd) == before
    engine.run([0] * 10, max_iters=10)
    names = ["lr", "momentum", "weight_decay"]
    keys = [f"{n}/{i}" for i in range(2) for n in names] if kind in GROUPED else names
    for key, column in zip(keys, zip(*seen[moved:], strict=True), strict=True):
        if key in plan:
            assert plan[key] == list(column)
        else:
            assert len(set(column)) == 1


def test_a_plan_leaves_random_numbers_and_tensors_as_they_are():
    def noisy(move: int) -> float:
        return float(torch.rand(1)) + random.random() + np.random.rand()

    sgd = optimizer(lr=torch.tensor(1.0))
    held = sgd.param_groups[0]["lr"]
    schedule = LRSchedule(torchs.LambdaLR(sgd, noisy))
    before = world(schedule, sgd)
    plan = schedule.planned(5)["lr"]
    assert len(set(plan)) == 5
    assert world(schedule, sgd) == before
    assert sgd.param_groups[0]["lr"] is held


def test_keys_of_a_plan_name_optimizer_value_and_group():
    one, two, three = optimizer(), optimizer(2), optimizer()
    schedule = LRSchedule({"d": ExponentialLR(one, 0.5), "g": [StepLR(two, 1), StepLR(three, 1)]})
    assert list(schedule.planned(2)) == ["d/lr", "g/0/lr/0", "g/0/lr/1", "g/1/lr"]
    assert list(LRSchedule({"d": StepLR(one, 1), "e": StepLR(one, 2)}).planned(2)) == ["lr"]
    unnamed = LRSchedule([ExponentialLR(one, 0.5), ExponentialLR(three, 0.5)])
    assert list(unnamed.planned(2)) == ["0/lr", "1/lr"]


def test_a_plan_shows_what_a_scheduler_moves_besides_the_rate():
    weight = torch.nn.Parameter(torch.zeros(1))
    adam = torch.optim.Adam([weight], lr=0.1)
    plan = LRSchedule(torchs.OneCycleLR(adam, 0.1, total_steps=8)).planned(8)
    assert sorted(plan) == ["betas[0]", "lr"]
    assert (plan["betas[0]"][0], min(plan["betas[0]"])) == (0.95, pytest.approx(0.85, abs=0.01))


def test_the_picture_has_a_panel_for_each_value(tmp_path):
    sgd = optimizer()
    schedule = LRSchedule(
        [StepLR(sgd, 1, 0.5), ignites.PiecewiseLinear(sgd, "momentum", [(0, 0.5), (4, 0.9)])]
    )
    path = tmp_path / "new" / "plan.png"
    schedule.plot(path, 10)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:24]) == (840, 576)


@pytest.mark.parametrize("steps", [0, -1, 2.0, True])
def test_a_plan_has_at_least_one_step(steps):
    with pytest.raises(ValueError, match="whole number from 1 on"):
        LRSchedule(StepLR(optimizer(), 1)).planned(steps)


@pytest.mark.covers("D3")
def test_plateau_cannot_be_planned(tmp_path):
    schedule = LRSchedule(ReduceLROnPlateau(optimizer()), metric="loss")
    with pytest.raises(ValueError, match="depends on a metric"):
        schedule.planned(3)
    with pytest.raises(ValueError, match="depends on a metric"):
        schedule.plot(tmp_path / "plan.png", 3)


# ---------------------------------------------------------------------- what is refused


SGD = optimizer()
STEP = StepLR(SGD, 1)
PLATEAU = ReduceLROnPlateau(SGD)


@pytest.mark.covers("D3")
@pytest.mark.parametrize(
    ("scheduler", "options", "error", "message"),
    [
        (STEP, {"unit": "iterations"}, ValueError, "Did you mean 'iteration'"),
        (STEP, {"unit": "steps"}, ValueError, "Did you mean 'step'"),
        (STEP, {"metric": "loss"}, ValueError, "needed for ReduceLROnPlateau, and for no other"),
        (PLATEAU, {}, ValueError, "a metric is needed for ReduceLROnPlateau"),
        ([STEP, PLATEAU], {}, ValueError, "metric=None with StepLR and ReduceLROnPlateau"),
        (STEP, {"when": Events.EPOCH_COMPLETED}, ValueError, "`when` is for ReduceLROnPlateau"),
        (
            [STEP, PLATEAU],
            {"metric": "loss", "when": Events.EPOCH_COMPLETED},
            ValueError,
            "`when` is for ReduceLROnPlateau alone",
        ),
        (
            PLATEAU,
            {"unit": "step", "metric": "loss", "when": Events.EPOCH_COMPLETED},
            ValueError,
            "by epoch or iteration",
        ),
        (PLATEAU, {"metric": "loss", "when": 3}, TypeError, "3 is not an event"),
        (SGD, {}, TypeError, r"takes a scheduler of torch\.optim\.lr_scheduler"),
        (StepLR, {}, TypeError, "given the class"),
        (None, {}, TypeError, "given None"),
        ([STEP, "cosine"], {}, TypeError, "given 'cosine'"),
        ([], {}, ValueError, "no scheduler"),
        ({}, {}, ValueError, "no scheduler"),
        ({"a": STEP, "b": []}, {}, ValueError, "no scheduler"),
        ({1: STEP}, {}, TypeError, "names of schedulers are strings, given 1"),
        ([STEP, STEP], {}, ValueError, "StepLR is given twice"),
        ({"a": STEP, "b": STEP}, {}, ValueError, "StepLR is given twice"),
    ],
)
def test_nonsense_is_refused(scheduler, options, error, message):
    with pytest.raises(error, match=message):
        LRSchedule(scheduler, **options)


@pytest.mark.parametrize("wrap", [lambda s: warm_up(s, 3), ignites.LRScheduler])
def test_a_scheduler_beside_one_that_holds_it_is_refused(wrap):
    cosine = torchs.CosineAnnealingLR(optimizer(), 5)
    with pytest.raises(ValueError, match="CosineAnnealingLR is given twice, by itself or within"):
        LRSchedule([wrap(cosine), cosine])


def test_a_value_that_the_optimizer_lacks_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"sets 'weight_deacy'.*Did you mean 'weight_decay'"):
        LRSchedule(ignites.PiecewiseLinear(optimizer(), "weight_deacy", [(0, 0.1)]))
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    nested = ignites.ConcatScheduler(
        [ignites.PiecewiseLinear(adam, "momentum", [(0, 0.1)]) for _ in range(2)], [3]
    )
    with pytest.raises(ValueError, match=r"'momentum', which its optimizer does not have.*betas"):
        LRSchedule(nested)


def test_a_group_of_two_optimizers_is_refused():
    both = [ignites.PiecewiseLinear(optimizer(), "lr", [(0, 0.1)]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"values of 2 optimizers; give its schedulers in a list"):
        LRSchedule(ignites.ParamGroupScheduler(both))
    assert len(LRSchedule(both).planned(1)) == 2


def test_schedulers_of_ignite_that_could_not_be_moved_or_saved_are_refused():
    plateau = ignites.ReduceLROnPlateauScheduler(optimizer(), "loss")
    with pytest.raises(TypeError, match="give torch's ReduceLROnPlateau with metric="):
        LRSchedule(plateau)
    restarts = torchs.CosineAnnealingWarmRestarts(optimizer(), 3)
    with pytest.raises(TypeError, match="can't save torch's CosineAnnealingWarmRestarts"):
        LRSchedule(ignites.create_lr_scheduler_with_warmup(restarts, 0.0, 3))
    batches = ignites.BatchSizeScheduler(torch.utils.data.DataLoader([1]), lambda event: 1)
    with pytest.raises(TypeError, match="takes a scheduler of torch"):
        LRSchedule(batches)


@pytest.mark.covers("D1")
def test_unit_step_needs_steps_that_are_announced():
    sgd = optimizer()
    engine = trainer(sgd)
    schedule = LRSchedule(ExponentialLR(sgd, 0.5), "step")
    with pytest.raises(EventError, match=r"unit 'step' needs OPTIMIZER_STEPPED.*plain function"):
        engine.attach(schedule)
    engine.attach(Optimization(sgd))
    engine.attach(schedule)


@pytest.mark.parametrize("unit", ["epoch", "iteration"])
def test_what_is_done_again_after_an_error_moves_the_schedule_once(unit):
    sgd, failures = optimizer(), iter([True, False, False, False])
    engine = trainer(sgd)
    engine.attach(LRSchedule(ExponentialLR(sgd, 0.5), unit))

    def fails():
        if next(failures):
            raise ArithmeticError

    event = Events.EPOCH_COMPLETED if unit == "epoch" else Events.ITERATION_COMPLETED
    engine.add_event_handler(event, fails, priority="LOWEST")
    with pytest.raises(ArithmeticError):
        engine.run([0], max_epochs=2)
    engine.run()
    assert engine.state.epoch == 2
    assert sgd.param_groups[0]["lr"] == 0.25


def test_an_optimizer_that_nobody_drives_is_refused_by_step():
    model, other = torch.nn.Linear(1, 1), optimizer()
    driven = torch.optim.SGD(model.parameters(), lr=1.0)
    engine = Engine(training_step(model, driven, torch.nn.functional.mse_loss))
    engine.attach(LRSchedule(ExponentialLR(other, 0.5), "step"))
    with pytest.raises(ValueError, match=r"no Optimization of .* drives \('optimization'\), so it"):
        engine.run([(torch.ones(1, 1), torch.ones(1, 1))])
