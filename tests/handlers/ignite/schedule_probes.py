"""Handlers of pytorch-ignite that move parameters: of optimizers, of the state, of loaders."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite import handlers as H
from ignite.engine import Events
from ignite.handlers.param_scheduler import BaseParamScheduler, ParamScheduler

from tests.handlers.ignite.training import BATCHES, Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


class _Halving(ParamScheduler):
    """A schedule of one's own."""

    def get_param(self) -> float:
        return float(0.5**self.event_index)


class _Counting(BaseParamScheduler):
    """The least that a scheduler is."""

    def __call__(self, engine: Any, name: str | None = None) -> None:
        self.event_index += 1
        engine.state.counted = self.get_param()

    def get_param(self) -> float:
        return float(self.event_index)

    @classmethod
    def simulate_values(cls, num_events: int, **given: Any) -> list[Any]:
        return list(range(num_events))


def _linear(optimizer: Any, **more: Any) -> Any:
    return H.LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.01, cycle_size=4, **more)


def _concatenated(optimizer: Any) -> Any:
    cosine = H.CosineAnnealingScheduler(optimizer, "lr", 0.01, 0.2, cycle_size=4)
    return H.ConcatScheduler([_linear(optimizer), cosine], durations=[4])


def _torchs(optimizer: Any) -> Any:
    return H.LRScheduler(torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5))


def _warmed_up(optimizer: Any) -> Any:
    torchs = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    return H.create_lr_scheduler_with_warmup(torchs, 0.0, warmup_duration=3, warmup_end_value=0.1)


def _grouped(optimizer: Any) -> Any:
    momentum = H.PiecewiseLinear(optimizer, "momentum", [(0, 0.9), (5, 0.5)])
    return H.ParamGroupScheduler([_linear(optimizer), momentum])


def _cyclical(optimizer: Any) -> Any:
    cosine = H.CosineAnnealingScheduler(optimizer, "lr", 0.3, 0.1, cycle_size=4, cycle_mult=1.5)
    assert isinstance(cosine, H.CyclicalScheduler)
    return cosine


MADE: dict[str, Callable[[Any], Any]] = {
    "ParamScheduler": lambda optimizer: _Halving(optimizer, "lr"),
    "CyclicalScheduler": _cyclical,
    "LinearCyclicalScheduler": _linear,
    "CosineAnnealingScheduler": lambda optimizer: H.CosineAnnealingScheduler(
        optimizer, "lr", 0.1, 0.01, cycle_size=6, save_history=True
    ),
    "PiecewiseLinear": lambda optimizer: H.PiecewiseLinear(
        optimizer, "lr", [(0, 0.1), (4, 0.3), (8, 0.0)], save_history=True
    ),
    "ConcatScheduler": _concatenated,
    "LRScheduler": _torchs,
    "create_lr_scheduler_with_warmup": _warmed_up,
    "ParamGroupScheduler": _grouped,
}
"""Schedulers of an optimizer's parameters, by name."""


def _of_an_optimizer(make: Callable[[Any], Any]) -> Probe:
    def probe(world: World, folder: Path) -> Any:
        one, seen = Training(world), []
        scheduler = make(one.optimizer)
        one.trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)

        @one.trainer.on(Events.ITERATION_COMPLETED)
        def note(engine: Any) -> None:
            group = one.optimizer.param_groups[0]
            seen.append((group["lr"], group["momentum"], engine.state.output))

        state = one.trainer.run(BATCHES, max_epochs=4)
        saved = scheduler.state_dict()
        other = make(Training(world).optimizer)
        other.load_state_dict(saved)
        # the optimizer of a scheduler of torch's comes with it, in an order of its own
        return seen, getattr(state, "param_history", None), sorted(map(str, other.state_dict()))

    return probe


PROBES.update({name: _of_an_optimizer(make) for name, make in MADE.items()})


@trying(PROBES, "BaseParamScheduler")
def base(world: World, folder: Path) -> Any:
    """A scheduler of one's own, on any event."""
    one = Training(world)
    one.trainer.add_event_handler(Events.EPOCH_STARTED, _Counting("counted"))
    return one.trainer.run(BATCHES, max_epochs=3).counted


@trying(PROBES, "ReduceLROnPlateauScheduler")
def plateau(world: World, folder: Path) -> Any:
    """A rate that falls when a metric of the evaluator no longer does."""
    one, rates = Training(world), []
    scheduler = H.ReduceLROnPlateauScheduler(
        one.optimizer,
        "loss",
        trainer=world.given(one.trainer),
        save_history=True,
        patience=1,
        factor=0.5,
    )
    one.evaluator.add_event_handler(Events.COMPLETED, scheduler)

    @one.trainer.on(Events.EPOCH_COMPLETED)
    def evaluate() -> None:
        one.evaluator.state.metrics["loss"] = 1.0
        one.evaluator.run(BATCHES)
        rates.append(one.optimizer.param_groups[0]["lr"])

    state = one.trainer.run(BATCHES, max_epochs=6)
    return rates, state.param_history


@trying(PROBES, "BatchSizeScheduler")
def batch_size(world: World, folder: Path) -> Any:
    """Batches that grow from epoch to epoch."""
    loader = torch.utils.data.DataLoader(torch.arange(12), batch_size=2)
    engine, sizes = world.engine(lambda engine, batch: len(batch)), []
    scheduler = H.BatchSizeScheduler(loader, lambda index: 2 + index, save_history=True)
    scheduler.attach(engine)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: sizes.append(engine.state.output)
    )
    state = engine.run(loader, max_epochs=3, epoch_length=3)
    return sizes, state.param_history


STATE: dict[str, tuple[type, dict[str, Any]]] = {
    "StateParamScheduler": (H.StepStateScheduler, {"initial_value": 1, "gamma": 1, "step_size": 1}),
    "LambdaStateScheduler": (H.LambdaStateScheduler, {"lambda_obj": lambda index: index**2}),
    "PiecewiseLinearStateScheduler": (
        H.PiecewiseLinearStateScheduler,
        {"milestones_values": [(1, 0.0), (5, 1.0)]},
    ),
    "ExpStateScheduler": (H.ExpStateScheduler, {"initial_value": 1.0, "gamma": 0.9}),
    "StepStateScheduler": (
        H.StepStateScheduler,
        {"initial_value": 1.0, "gamma": 0.5, "step_size": 2},
    ),
    "MultiStepStateScheduler": (
        H.MultiStepStateScheduler,
        {"initial_value": 1.0, "gamma": 0.1, "milestones": [2, 5]},
    ),
}
"""Schedulers of an attribute of the state, by name, and what they take."""


def _of_the_state(kind: type, given: dict[str, Any]) -> Probe:
    def probe(world: World, folder: Path) -> Any:
        one, seen = Training(world), []
        kind(param_name="alpha", save_history=True, create_new=True, **given).attach(one.trainer)
        one.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.alpha)
        )
        state = one.trainer.run(BATCHES, max_epochs=3)
        return seen, state.param_history

    return probe


PROBES.update({name: _of_the_state(*given) for name, given in STATE.items()})


@trying(PROBES, "FastaiLRFinder")
def finder(world: World, folder: Path) -> Any:
    """The curve of losses over rates, model and optimizer as they were, and a run behind it."""
    one, finder = Training(world), H.FastaiLRFinder()
    to_save = {"model": one.model, "optimizer": one.optimizer}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loss that does not diverge, and of torch's schedule
        with finder.attach(one.trainer, to_save, num_iter=20, end_lr=1.0) as trainer:
            trainer.run(BATCHES)
        suggestion = finder.lr_suggestion()
    finder.apply_suggested_lr(one.optimizer)
    state = one.trainer.run(BATCHES, max_epochs=2)
    weights = [p.tolist() for p in one.model.parameters()]
    return finder.get_results(), suggestion, state.iteration, weights
