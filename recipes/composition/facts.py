"""Facts: what a runner says of itself, under the names that MMEngine's has."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch

from ...engine.engine import Engine
from ...engine.events import Events
from ...engine.placement.ranks import rank, world_size
from ...engine.state import Next
from ...engine.stopping import current_engine
from .hooking import Hooks
from .settings import Settings
from .validation import run_length

__all__ = ["Facts"]


class Facts:
    """Read-only facts about a run: where it stands, how long it goes, what it is made with."""

    settings: Settings
    model: torch.nn.Module
    _hooks: Hooks
    plain_config: dict[str, Any]
    batches_in_epoch: Callable[[], int | None]
    _launcher: str

    @property
    def epoch(self) -> int:
        """Epochs of training that are over; one is when its last handler is done.

        For a validation that runs at an epoch's end, that epoch is over, too.
        """
        if (trainer := self._trainer_so_far) is None:
            return 0
        under_way = (Next.ITERATION, Next.ITERATION_COMPLETED)
        ends = trainer.progress.next is Next.EPOCH_COMPLETED and not self._evaluates(trainer)
        return trainer.progress.epoch - (ends or trainer.progress.next in under_way)

    @property
    def iter(self) -> int:
        """Iterations of training that are over, in all; one is when its last handler is done.

        For a validation that runs behind an iteration, that iteration is over, too.
        """
        if (trainer := self._trainer_so_far) is None:
            return 0
        ends = trainer.delivering == Events.ITERATION_COMPLETED and self._evaluates(trainer)
        return trainer.progress.iteration + ends

    @property
    def max_epochs(self) -> int | float:
        """Epochs of training in all; infinite where something else limits it."""
        trainer = self._trainer_so_far
        begun = None if trainer is None else trainer.state.max_epochs
        return begun or self.settings.train.limits.get("max_epochs", math.inf)

    @property
    def max_iters(self) -> int | float | None:
        """Iterations of training in all; ``None`` where that is not known.

        If it is limited in epochs, the length of the training data is asked for.
        """
        trainer = self._trainer_so_far
        begun = None if trainer is None else trainer.state.max_iters
        return begun or run_length(self.settings.train, self.batches_in_epoch, 1)("iteration")

    @property
    def val_begin(self) -> int:
        """The first epoch, or iteration, that may be followed by a validation."""
        return self.settings.train.val_begin

    @property
    def val_interval(self) -> int | float | str:
        """Epochs, or iterations, from one validation to the next."""
        return self.settings.train.val_interval or 1

    @property
    def hooks(self) -> list[Any]:
        """The hooks by priority; a handler that nobody needs yet is the mapping that it is of."""
        return self._hooks.in_order()

    @property
    def cfg(self) -> dict[str, Any]:
        """What the run is made with, in plain values."""
        return self.plain_config

    @property
    def rank(self) -> int:
        """The number of this process."""
        return rank()

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return world_size()

    @property
    def distributed(self) -> bool:
        """Whether there are several."""
        return world_size() > 1

    @property
    def launcher(self) -> str:
        """How the processes were launched."""
        return self._launcher

    @property
    def deterministic(self) -> bool | str:
        """Whether operations without a deterministic form are refused."""
        return self.settings.randomness.deterministic

    @property
    def model_name(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__

    @property
    def logger(self) -> logging.Logger:
        """The runner's logger."""
        return logging.getLogger("footplate.runner")

    @property
    def _trainer_so_far(self) -> Engine | None:
        """The train engine, if it was built already."""
        trainer: Engine | None = vars(self).get("trainer")
        return trainer

    @staticmethod
    def _evaluates(trainer: Engine) -> bool:
        """Whether another engine runs within the training."""
        return trainer.watch is not None and current_engine() is not trainer
