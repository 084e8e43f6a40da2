"""Hook: the base of hooks as MMCV has them, and the stages of a run that they are called at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .registry import Registry

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["HOOKS", "Hook"]

HOOKS = Registry("hook")
"""Hooks by name, as configurations name them."""


class Hook:
    """Base of hooks; each method is called with the runner, at the stage that it is named after.

    ``before_epoch``, ``after_epoch``, ``before_iter`` and ``after_iter`` are called in training
    and in validation, as long as the methods of the phase are not overridden. A hook with
    ``state_dict()`` and ``load_state_dict(state)`` is saved with each checkpoint. Its priority is
    said when it is registered.

    Attributes:
        stages: the stages, in their order.

    Example:
        >>> class Greeter(Hook):
        ...     def before_epoch(self, runner): ...
        >>> Greeter().get_triggered_stages()
        ['before_train_epoch', 'before_val_epoch']

    Source: mmcv.runner.hooks.Hook of MMCV 1.7.
    """

    priority: int  # which the runner sets
    stages: ClassVar[tuple[str, ...]] = (
        "before_run",
        "before_train_epoch",
        "before_train_iter",
        "after_train_iter",
        "after_train_epoch",
        "before_val_epoch",
        "before_val_iter",
        "after_val_iter",
        "after_val_epoch",
        "after_run",
    )

    def settle(self, runner: BaseRunner) -> None:
        """Called once, before the runner first runs or resumes; here handlers are attached."""

    def before_run(self, runner: BaseRunner) -> None:
        """Before anything runs, also where a run goes on."""

    def after_run(self, runner: BaseRunner) -> None:
        """When all is over."""

    def before_epoch(self, runner: BaseRunner) -> None:
        """Before an epoch of any phase; by iterations once, before all."""

    def after_epoch(self, runner: BaseRunner) -> None:
        """Behind an epoch of any phase; by iterations once, behind all."""

    def before_iter(self, runner: BaseRunner) -> None:
        """Before an iteration of any phase."""

    def after_iter(self, runner: BaseRunner) -> None:
        """Behind an iteration of any phase."""

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Before an epoch of training."""
        self.before_epoch(runner)

    def before_val_epoch(self, runner: BaseRunner) -> None:
        """Before an epoch of validation."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Behind an epoch of training, which ``runner.epoch`` does not count yet."""
        self.after_epoch(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Behind an epoch of validation."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Before an iteration of training; its batch is ``runner.data_batch``."""
        self.before_iter(runner)

    def before_val_iter(self, runner: BaseRunner) -> None:
        """Before an iteration of validation."""
        self.before_iter(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Behind an iteration of training, which ``runner.iter`` does not count yet."""
        self.after_iter(runner)

    def after_val_iter(self, runner: BaseRunner) -> None:
        """Behind an iteration of validation."""
        self.after_iter(runner)

    # ------------------------------------------------------------------ where the run stands

    def every_n_epochs(self, runner: BaseRunner, n: int) -> bool:
        """Whether this is each n-th epoch; never for n below 1."""
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_inner_iters(self, runner: BaseRunner, n: int) -> bool:
        """Whether this is each n-th iteration of its epoch; never for n below 1."""
        return n > 0 and (runner.inner_iter + 1) % n == 0

    def every_n_iters(self, runner: BaseRunner, n: int) -> bool:
        """Whether this is each n-th iteration of the run; never for n below 1."""
        return n > 0 and (runner.iter + 1) % n == 0

    def end_of_epoch(self, runner: BaseRunner) -> bool:
        """Whether this is the last iteration of its epoch."""
        return runner.inner_iter + 1 == len(runner.data_loader)

    def is_last_epoch(self, runner: BaseRunner) -> bool:
        """Whether this is the last epoch of the run."""
        return runner.epoch + 1 == runner.max_epochs

    def is_last_iter(self, runner: BaseRunner) -> bool:
        """Whether this is the last iteration of the run."""
        return runner.iter + 1 == runner.max_iters

    def get_triggered_stages(self) -> list[str]:
        """The stages at which the hook does something, in their order."""
        return [stage for stage in self.stages if any(map(self._overrides, _ways_to(stage)))]

    def _overrides(self, name: str) -> bool:
        own: Any = getattr(type(self), name)
        return own is not getattr(Hook, name) or name in vars(self)


def _ways_to(stage: str) -> tuple[str, ...]:
    """The methods that are called at a stage."""
    generic = stage.replace("_train_", "_").replace("_val_", "_")
    return (stage,) if generic == stage else (stage, generic)
