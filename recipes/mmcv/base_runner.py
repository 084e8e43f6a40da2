"""BaseRunner: how a run of MMCV's kind is a workflow of two engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch

from ...engine.engine import Engine
from ...engine.errors import nearest
from ...engine.source import length_of
from ...engine.state import Next
from ...engine.step.losses import detached
from ...engine.stream.scalars import VALUE_LOGGED
from ...engine.workflow import Workflow
from .optimizing import optimizations
from .orders import warn_of_orders
from .saving import Saving, begin_at, checkpoint_for
from .stages import IterTraining, IterValidation

__all__ = ["BaseRunner", "Loaders", "Workflows"]

Workflows = Sequence[tuple[str, int]]
"""Phases, and how many units each is long."""

Loaders = Sequence[Any]
"""One loader for each phase."""

_MODES = ("train", "val")
_REPLACED = ("run", "train", "val")


class BaseRunner(Saving):
    """A model, its optimizer and hooks, and the engines on whose events the hooks are called.

    Each of :attr:`trainer` and :attr:`validator` is an engine of Footplate, so that any of its
    handlers can be attached there, too. A run is a
    :class:`~footplate.engine.workflow.Workflow` of the two.

    Args:
        model: has ``train_step(data, optimizer)``, and ``val_step`` if there are phases of
            validation. They return a dict: ``loss``; ``log_vars``, numbers by name; and
            ``num_samples``, what these weigh.
        batch_processor: in place of these methods, a function
            ``(model, data, train_mode=…) -> dict``.
        optimizer: an optimizer; or several by name, which the model steps itself.
        work_dir: where checkpoints and logs go.
        logger: what the runner says goes here; by default to the logger ``footplate.mmcv``.
        meta: facts to keep with the runner and its checkpoints.
        max_iters, max_epochs: how long to train; one of them.

    Attributes:
        trainer, validator: the engines.
        optimizations: what steps the optimizers, by name, once the runner has run or resumed.
        mode: ``"train"`` or ``"val"``.
        data_loader, data_batch, outputs: of the phase at hand.
        log_buffer: what was measured.
        place: where the run stands.

    Raises:
        TypeError: for what is none of these; NotImplementedError: in several processes.

    Source: mmcv.runner.BaseRunner of MMCV 1.7.

    Example:
        >>> import torch
        >>> from footplate.recipes.mmcv.runners import EpochBasedRunner
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> runner = EpochBasedRunner(line, optimizer=sgd, max_epochs=2)
        >>> steps = dict(policy="step", step=[1])
        >>> runner.register_training_hooks(lr_config=steps, optimizer_config={})
        >>> runner.run([[torch.ones(4, 1)] * 3], workflow=[("train", 1)])
        >>> runner.epoch, runner.iter, round(runner.current_lr()[0], 6)
        (2, 6, 0.01)
    """

    training: ClassVar[type[IterTraining]]
    validation: ClassVar[type[IterValidation]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        theirs = [base for base in cls.__mro__[1:] if "unit" in vars(base)]
        if theirs and (own := [name for name in _REPLACED if name in vars(cls)]):
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(own)}, but the loop is an engine's, and "
                f"would not call it. Override run_iter(data_batch, train_mode), or write a hook."
            )

    # ------------------------------------------------------------------ running

    def settle(self) -> None:
        """Attach to the engines what hooks and optimizer bring, once; more hooks may come."""
        if self._settled:
            return
        self.optimizations = optimizations(self)
        for one in self.optimizations.values():
            self.trainer.attach(one)
        self.trainer.attach(self.training(self))
        self.validator.attach(self.validation(self))
        self.checkpoint = checkpoint_for(self)
        self._settled = True
        for hook in list(self.hooks):
            hook.settle(self)
        self.log_buffer.heard = self._log

    def _prepare(self, loaders: Loaders, workflow: Workflows, limit: int | None) -> None:
        """Refuse what can't be run, and have everything attached."""
        if limit is None:
            raise ValueError(f"{type(self).__name__} needs a limit; give {self.limit}=.")
        for mode, _ in workflow:
            if mode not in _MODES:
                raise ValueError(
                    f"a phase is 'train' or 'val', given {mode!r}.{nearest(str(mode), _MODES)} "
                    f"For others make a footplate.Workflow of engines of your own."
                )
        for number, loader in enumerate(loaders):
            if length_of(loader) is None:
                raise TypeError(
                    f"loader {number} has no length, and hooks ask for it; give a loader that "
                    f"has len()."
                )
        self.settle()
        if self.checkpoint is not None:
            warn_of_orders(loaders, workflow, self.unit)
        self.logger.info("hooks, in the order of their calls:\n%s", self.get_hook_info())
        self.logger.info("workflow: %s, max: %d %ss", list(workflow), limit, self.unit)

    def _go(
        self, loaders: Loaders, workflow: Workflows, end: int | None, keywords: Mapping[str, Any]
    ) -> None:
        """Go through the phases until so many units of training are over."""
        walk = Workflow(workflow, {"train": self.trainer, "val": self.validator}, self.unit)
        self.phases = walk.phases
        try:
            if self._start_at is not None:
                start, self._start_at = self._start_at, None
                begin_at(self.trainer, start, walk, loaders, end)
            done = self.epoch if self.unit == "epoch" else self.iter
            ended = self.trainer.progress.next is Next.NOTHING
            if end is not None and not (ended and done >= end):  # else it would begin anew
                walk.run(loaders, **{self.limit: end}, **keywords)
        finally:
            walk.detach()

    def note_length(self, data_loader: Any) -> None:
        """Have ``max_iters`` follow the loader that is trained on, where epochs are counted."""

    def run_iter(self, data_batch: Any, train_mode: bool, **kwargs: Any) -> None:
        """Call the model, or the batch processor, on a batch, and keep its outputs."""
        with self._forward_context(train_mode):
            outputs = self._outputs_of(data_batch, train_mode, kwargs)
        if not isinstance(outputs, dict):
            raise TypeError(
                f"{'train' if train_mode else 'val'}_step returns a dict with 'loss', "
                f"'log_vars' and 'num_samples', given a {type(outputs).__name__}."
            )
        self.outputs = outputs
        self.log_buffer.add(self._log_vars(), outputs.get("num_samples", 1))

    def _outputs_of(self, data_batch: Any, train_mode: bool, kwargs: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def _forward_context(self, train_mode: bool) -> AbstractContextManager[None]:
        first = next(iter(self.optimizations.values()), None)
        if first is None or not train_mode or first.precision.dtype is None:
            return nullcontext()
        return first.precision.autocast(first.device_type)

    def _train_step(self, engine: Engine, batch: Any) -> dict[str, Any]:
        """One iteration of training, but for what the hooks do behind it."""
        self.run_iter(batch, train_mode=True, **(getattr(engine.state, "keywords", None) or {}))
        return self._log_vars()

    def _val_step(self, engine: Engine, batch: Any) -> dict[str, Any]:
        """One iteration of validation."""
        with torch.no_grad():
            keywords = getattr(engine.state, "keywords", None) or {}
            self.run_iter(batch, train_mode=False, **keywords)
        return self._log_vars()

    def _log_vars(self) -> dict[str, Any]:
        """What the step reports, by name."""
        found: dict[str, Any] = detached(dict(self.outputs.get("log_vars", {})))
        return found

    def _log(self, name: str, value: Any, weight: float) -> None:
        """Hand what a hook has measured to the scalar stream, if one is attached."""
        if self.mode == "train" and self.trainer.has_registered_events(VALUE_LOGGED):
            self.trainer.log(name, value, weight=weight)
