"""Updaters: hooks that set a value of the optimizers before each epoch or iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch.optim import Optimizer

from ...engine.errors import nearest
from .hook import Hook
from .policies import warm_up

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["Updater", "by_group"]

_WARM_UPS = ("constant", "linear", "exp")


class Updater(Hook):
    """Sets a value of the optimizers: what its policy says, more or less while it warms up.

    What it sets depends on nothing but where the run stands and the value that each parameter
    group began with, which is in the group itself, and so in every checkpoint. So a run that goes
    on amid an epoch, or amid the warm-up, has the values of one that was never stopped.

    Args:
        by_epoch: whether the policy counts epochs, or else iterations.
        warmup: ``"constant"``, ``"linear"`` or ``"exp"``; ``None`` for none.
        warmup_iters: how many iterations the warm-up lasts.
        warmup_ratio: the factor that it begins with, above 0 and up to 1.
        warmup_by_epoch: whether ``warmup_iters`` counts epochs.

    Raises:
        ValueError: for an unknown warm-up, one of no length, and a ratio outside of that range.
    """

    what: ClassVar[str]  # "lr" say

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        if warmup is not None and warmup not in _WARM_UPS:
            raise ValueError(
                f"warmup is one of {', '.join(map(repr, _WARM_UPS))} or None, given {warmup!r}."
                f"{nearest(str(warmup), _WARM_UPS)}"
            )
        if warmup is not None and not warmup_iters > 0:
            raise ValueError(f"warmup_iters is above 0, given {warmup_iters!r}.")
        if warmup is not None and not 0 < warmup_ratio <= 1:
            raise ValueError(f"warmup_ratio is above 0 and at most 1, given {warmup_ratio!r}.")
        self.by_epoch = by_epoch
        self.warmup = warmup
        self.warmup_iters = warmup_iters
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch

    # ------------------------------------------------------------------ of each quantity

    def begin_with(self, optimizer: Optimizer, name: str) -> None:
        """Note in the optimizer's groups the values that it begins with, unless they are there."""
        raise NotImplementedError

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """The values of the groups without a warm-up."""
        raise NotImplementedError

    def warmed(self, value: float, factor: float) -> float:
        """A value while it is warmed up."""
        raise NotImplementedError

    def put(self, group: dict[str, Any], value: float) -> None:
        """Set the value of a group."""
        raise NotImplementedError

    # ------------------------------------------------------------------ of each policy

    def shape(self, runner: BaseRunner, base: float) -> float:
        """What a value is that began with ``base``, where the run stands now."""
        raise NotImplementedError(f"{type(self).__name__}.get_{self.what} is missing.")

    def progress(self, runner: BaseRunner) -> tuple[int, int]:
        """How many epochs or iterations are over, and how many there are in all."""
        if self.by_epoch:
            return runner.epoch, int(runner.max_epochs or 0)
        return runner.iter, int(runner.max_iters or 0)

    # ------------------------------------------------------------------ when

    def before_run(self, runner: BaseRunner) -> None:
        """Note what the optimizers begin with."""
        if not runner.optimizers:
            raise ValueError(f"{type(self).__name__} needs an optimizer, and the runner has none.")
        for name, optimizer in runner.optimizers.items():
            self.begin_with(optimizer, name)

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Set what holds for the epoch."""
        if self.by_epoch:
            self._set(runner, None)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Set what holds for the iteration, where that is not the epoch's."""
        lasts = self._warm_up_iters(runner)
        if runner.iter < lasts:
            assert self.warmup is not None
            self._set(runner, warm_up(self.warmup, runner.iter, lasts, self.warmup_ratio))
        elif not self.by_epoch or (self.warmup is not None and runner.iter == lasts):
            self._set(runner, None)

    def _warm_up_iters(self, runner: BaseRunner) -> int:
        if self.warmup is None:
            return 0
        return self.warmup_iters * (len(runner.data_loader) if self.warmup_by_epoch else 1)

    def _set(self, runner: BaseRunner, factor: float | None) -> None:
        for name, optimizer in runner.optimizers.items():
            values = self.regular(runner, optimizer, name)
            for group, value in zip(optimizer.param_groups, values, strict=True):
                self.put(group, value if factor is None else self.warmed(value, factor))


def by_group(
    given: float | Sequence[float] | Mapping[str, Any], optimizer: Optimizer, name: str
) -> list[float]:
    """A value for each parameter group, of one for all, one each, or these by optimizer.

    Raises:
        ValueError: for another number of values than there are groups.
        KeyError: for an optimizer of which nothing is said.
    """
    if isinstance(given, Mapping):
        name = name or type(optimizer).__name__
        if name not in given:
            raise KeyError(f"nothing is said of {name!r}, but of {', '.join(map(repr, given))}.")
        given = given[name]
    if isinstance(given, (int, float)):
        return [given] * len(optimizer.param_groups)
    if len(given) != len(optimizer.param_groups):
        raise ValueError(
            f"{len(given)} values were given for {len(optimizer.param_groups)} parameter groups."
        )
    return [float(one) for one in given]
