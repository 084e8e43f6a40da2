"""EpochBasedRunner and IterBasedRunner: what counts epochs, and what counts iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.evaluating import measured
from ...engine.iter_loader import IterLoader
from .base_runner import BaseRunner, Loaders, Workflows
from .registry import Registry
from .stages import EpochTraining, EpochValidation, IterTraining, IterValidation

__all__ = ["RUNNERS", "EpochBasedRunner", "IterBasedRunner", "Runner"]

RUNNERS = Registry("runner")
"""Runners by name."""

_ONCE = (("train", 1),)


@RUNNERS.register_module(name=["EpochBasedRunner", "Runner"])
class EpochBasedRunner(BaseRunner):
    """Trains and validates by epochs, in turns.

    Args:
        arguments: those of :class:`.BaseRunner`.

    Example:
        >>> import torch
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data))
        >>> model = Line(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> runner = EpochBasedRunner(model, optimizer=sgd, max_epochs=3)
        >>> runner.register_training_hooks(dict(policy="step", step=[2]), dict(grad_clip=None))
        >>> runner.run([[torch.ones(4, 1)] * 5], [("train", 1)])
        >>> runner.epoch, runner.iter, [round(lr, 6) for lr in runner.current_lr()]
        (3, 15, [0.01])

    Source: mmcv.runner.EpochBasedRunner of MMCV 1.7.
    """

    unit, limit = "epoch", "max_epochs"
    training, validation = EpochTraining, EpochValidation

    def run(
        self,
        data_loaders: Loaders,
        workflow: Workflows,
        max_epochs: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Go through the phases, until so many epochs of training are over.

        Args:
            data_loaders: one for each phase, in their order; each has a length.
            workflow: the phases, ``[("train", 2), ("val", 1)]`` say.
            max_epochs: in place of what the runner was made with.
            kwargs: handed to ``train_step``.

        Raises:
            ValueError: for no limit, other phases than train and val, and loaders that don't fit.
        """
        self._max_epochs = self._max_epochs if max_epochs is None else max_epochs
        self._prepare(data_loaders, workflow, self._max_epochs)
        self.note_length(_first_of_train(data_loaders, workflow))
        self.call_hook("before_run")
        self._go(data_loaders, workflow, self._max_epochs, kwargs)
        self.call_hook("after_run")

    def train(self, data_loader: Any, **kwargs: Any) -> None:
        """Train for one epoch."""
        self._max_epochs = max(self._max_epochs or 0, self.epoch + 1)
        self._prepare([data_loader], _ONCE, self.epoch + 1)
        self.note_length(data_loader)
        self._go([data_loader], _ONCE, self.epoch + 1, kwargs)

    def val(self, data_loader: Any, **kwargs: Any) -> None:
        """Validate for one epoch."""
        self.settle()
        self.validator.state.keywords = kwargs
        measured(self.validator, data_loader)

    def note_length(self, data_loader: Any) -> None:
        """Have ``max_iters`` follow the loader that is trained on."""
        self._max_iters = (self._max_epochs or 0) * len(data_loader)

    def _outputs_of(self, data_batch: Any, train_mode: bool, kwargs: Mapping[str, Any]) -> Any:
        if self.batch_processor is not None:
            keywords = kwargs if train_mode else {}
            return self.batch_processor(self.model, data_batch, train_mode=train_mode, **keywords)
        if train_mode:
            return self.model.train_step(data_batch, self.optimizer, **kwargs)
        return self.model.val_step(data_batch, self.optimizer)


Runner = EpochBasedRunner
"""MMCV's older name of it."""


@RUNNERS.register_module()
class IterBasedRunner(BaseRunner):
    """Trains and validates by iterations, in turns.

    Args:
        arguments: those of :class:`.BaseRunner`.

    Source: mmcv.runner.IterBasedRunner of MMCV 1.7.

    Example:
        >>> import torch
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         return {"loss": self(data).square().mean()}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> runner = IterBasedRunner(line, optimizer=sgd, max_iters=5)
        >>> runner.register_training_hooks(lr_config=None, optimizer_config={})
        >>> runner.run([[torch.ones(4, 1)] * 3], workflow=[("train", 1)])
        >>> runner.iter, runner.epoch
        (5, 1)
    """

    unit, limit = "iteration", "max_iters"
    keep = 10_000
    training, validation = IterTraining, IterValidation

    def run(
        self,
        data_loaders: Loaders,
        workflow: Workflows,
        max_iters: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Go through the phases, until so many iterations of training are over.

        Args:
            data_loaders: one for each phase, in their order; each has a length.
            workflow: the phases, ``[("train", 100), ("val", 10)]`` say.
            max_iters: in place of what the runner was made with.
            kwargs: handed to ``train_step`` and ``val_step``.

        Raises:
            ValueError: for no limit, other phases than train and val, and loaders that don't fit.
        """
        self._max_iters = self._max_iters if max_iters is None else max_iters
        self._prepare(data_loaders, workflow, self._max_iters)
        self.call_hook("before_run")
        self.call_hook("before_epoch")
        self._go(data_loaders, workflow, self._max_iters, kwargs)
        self.call_hook("after_epoch")
        self.call_hook("after_run")

    def train(self, data_loader: IterLoader, **kwargs: Any) -> None:
        """Train for one iteration on the next batch."""
        self._prepare([data_loader], _ONCE, self.iter + 1)
        self._go([data_loader], _ONCE, self.iter + 1, kwargs)

    def val(self, data_loader: IterLoader, **kwargs: Any) -> None:
        """Validate for one iteration on the next batch."""
        self.settle()
        self.validator.state.keywords = kwargs
        measured(self.validator, [next(data_loader)])

    def _outputs_of(self, data_batch: Any, train_mode: bool, kwargs: Mapping[str, Any]) -> Any:
        if train_mode:
            return self.model.train_step(data_batch, self.optimizer, **kwargs)
        return self.model.val_step(data_batch, **kwargs)

    def _counting(self, given: Any) -> Any:
        """A configuration that counts iterations unless it says otherwise; a hook as it is."""
        return {"by_epoch": False, **given} if isinstance(given, Mapping) else given


def _first_of_train(loaders: Loaders, workflow: Workflows) -> Any:
    """The loader of the first phase that trains; of none that of the first, for errors to come."""
    pairs = zip(workflow, loaders, strict=False)
    return next((loader for (mode, _), loader in pairs if mode == "train"), loaders[0])
