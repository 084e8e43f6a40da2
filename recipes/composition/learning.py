"""Learning: the optimizers of a runner, what moves their values, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ...engine.minimum import Minimum
from ...engine.step.optimization import Optimization
from ...handlers.lr_schedule import LRSchedule
from .data import Data
from .validation import run_length

__all__ = ["Learning"]


class Learning(Data):
    """The optimizers of a runner and their schedulers, made when they are first needed."""

    @cached_property
    def optim_wrapper(self) -> Optimization | dict[str, Optimization]:
        """The optimization of the model, or several by name."""
        made = self.build_optim_wrapper(self.given["optim_wrapper"])
        wrappers = made if isinstance(made, dict) else {made.name: made}
        rule = self.settings.auto_scale_lr
        if rule is not None and rule.enable:
            self.scale_lr(wrappers, _batch_size(self.train_dataloader))
        return made

    @property
    def optimizations(self) -> dict[str, Optimization]:
        """The optimizations by name; one alone, too."""
        made = self.optim_wrapper
        return made if isinstance(made, dict) else {made.name: made}

    @cached_property
    def param_schedulers(self) -> list[LRSchedule]:
        """The handlers that move the optimizers' schedulers."""
        given = self.given["param_scheduler"]
        if (own := self.guest.schedules(given)) is not None:
            return own
        if given is None:
            return []
        return self.build_param_scheduler(given, self.optimizations)

    @property
    def run_length(self) -> Callable[[str], int | None]:
        """What tells how long training is, in ``"epoch"``, ``"iteration"`` or ``"step"``."""
        first = next(iter(self.optimizations.values()))
        every = first.accumulation.size_in(1)
        return run_length(self.settings.train, self.batches_in_epoch, every)

    @property
    def minimum(self) -> Minimum:
        """What a run does before time or early stopping may end it."""
        options = self.settings.train
        return Minimum(epochs=options.min_epochs, iters=options.min_iters, steps=options.min_steps)


def _batch_size(loader: Any) -> int | None:
    """Samples in a batch, where the loader tells it, or what makes its batches."""
    of_loader: int | None = getattr(loader, "batch_size", None)
    of_batches: int | None = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return of_batches if of_loader is None else of_loader
