"""The guest of Lightning: what a LightningModule brings to a runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from ....engine.data.in_turn import InTurn
from ....engine.engine import Engine
from ....engine.handler import Handler
from ....engine.step.lightning.older import lightning_steps
from ....engine.step.lightning.optimizations import lightning_optimizations
from ....engine.step.lightning.overridden import overridden
from ....engine.step.lightning.steps import LightningSteps
from ....engine.step.lightning.trainer import LightningTrainer
from ....engine.step.optimization import Optimization
from ....handlers.lr_schedule import LRSchedule
from ..guests import Guest
from ..loaders import by_name
from ..optimizers import optimizations
from .facts import RunnerFacts
from .life import LightningLife

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["LightningGuest"]


class LightningGuest(Guest):
    """A LightningModule: it trains with its own optimizers, in Lightning's order.

    Without an optimizer, ``optim_wrapper`` says how the module's own ones are driven:
    ``dict(accumulative_counts=4, clip_grad=1.0, precision="bf16")``.

    Args:
        runner: whose model it is.

    Attributes:
        trainer: what the module has for its trainer.
        life: what calls the hooks around the runner's calls.
    """

    measures = True
    own_optimizers = True
    names_metrics = True
    combine = "max_size_cycle"

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        module: Any = runner.model
        self.trainer = LightningTrainer(module, RunnerFacts(runner))
        module.trainer = self.trainer
        if module.hparams:
            self.trainer.facts.note_hyper_parameters(module.hparams)
        self.life = LightningLife(runner, self.trainer)

    @cached_property
    def _contract(self) -> LightningSteps:
        return lightning_steps(self.runner.model)

    def contract(self) -> LightningSteps:
        """The contract, the same one for all engines."""
        return self._contract

    @property
    def moves_batches(self) -> bool:
        """Whether hooks of batch transfer move the batches."""
        return self.life.moves_batches

    def data_module(self) -> Any:
        """The loaders that the module has itself."""
        return self.life.data_module()

    def together(self, data: Any) -> Any:
        """Several loaders in one run, one after the other."""
        several = by_name(data)
        return data if several is None else InTurn(list(several.values()))

    def optimizations(self, given: Any) -> dict[str, Optimization]:
        """The module's own optimizers, driven as ``optim_wrapper`` says.

        Raises:
            ValueError: if that has an optimizer, and the module has some itself.
        """
        self.life.set_up("train")
        model, objects = self.runner.model, self.runner.objects
        own = overridden(model, "configure_optimizers")
        if own and _has_optimizer(given):
            raise ValueError(
                f"{type(model).__name__} makes its own optimizers in configure_optimizers(), and "
                f"optim_wrapper has one, too; leave that out: optim_wrapper=dict("
                f"accumulative_counts=…, clip_grad=…, precision=…) says how they are driven."
            )
        said = _driven(given, model, objects)
        made = lightning_optimizations(
            self._contract,
            optimizer=None if own or given is None else said.optimizer,
            precision=said.precision,
            accumulate=said.accumulation,
            clip=said.clip,
        )
        return dict(made)

    def schedules(self, given: Any) -> list[LRSchedule] | None:
        """None besides the module's own, which the contract moves.

        Raises:
            ValueError: if ``param_scheduler`` has some for optimizers that are the module's.
        """
        if not overridden(self.runner.model, "configure_optimizers"):
            return None
        if given is not None:
            raise ValueError(
                f"{type(self.runner.model).__name__} says in configure_optimizers() what moves its "
                f"learning rates; leave param_scheduler out, or return the scheduler there."
            )
        return []

    def handlers(self, engine: Engine) -> Iterator[Handler]:
        """What calls the module's hooks."""
        yield from self.life.handlers(engine)

    def set_up(self, call: str) -> None:
        """Call the hooks that come before a call."""
        self.life.set_up(call)

    def tear_down(self, call: str) -> None:
        """Call the hooks that come behind it."""
        self.life.tear_down(call)


def _has_optimizer(given: Any) -> bool:
    if isinstance(given, Mapping):
        return "optimizer" in given or "constructor" in given
    return given is not None


def _driven(given: Any, model: nn.Module, objects: Any) -> Optimization:
    """How optimizers are driven, said of a stand-in of theirs if they are the module's own."""
    if not _has_optimizer(given):
        stand_in = _StandIn([nn.Parameter(torch.zeros(1))], {})
        given = {**(given or {}), "optimizer": stand_in}
    made = optimizations(given, model, objects)
    if isinstance(made, dict):
        raise ValueError(
            f"{type(model).__name__} is a LightningModule, which takes one optimizer from outside, "
            f"given {', '.join(made)}; return several in its configure_optimizers()."
        )
    return made


class _StandIn(Optimizer):
    """An optimizer in the place of those that the module is yet to make."""

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""
