"""Momenta: the hooks that ``momentum_config=dict(policy=…)`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from . import policies
from .hook import HOOKS
from .policy_options import (
    by_group,
    check_by_iteration,
    check_cycle,
    check_places,
    check_share,
    check_target,
)
from .updater import Updater, progress_of, target_of

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = [
    "CosineAnnealingMomentumUpdaterHook",
    "CyclicMomentumUpdaterHook",
    "LinearAnnealingMomentumUpdaterHook",
    "MomentumUpdaterHook",
    "OneCycleMomentumUpdaterHook",
    "StepMomentumUpdaterHook",
    "momentum_of",
]


def momentum_of(group: Mapping[str, Any]) -> float:
    """The momentum of a parameter group: its own, the first of its betas, or 0.

    Example:
        >>> momentum_of({"betas": (0.9, 0.999)}), momentum_of({"lr": 0.1})
        (0.9, 0.0)
    """
    if "momentum" in group:
        return float(group["momentum"])
    return float(group["betas"][0]) if "betas" in group else 0.0


class MomentumUpdaterHook(Updater):
    """Base of those that set momenta: ``get_momentum(runner, base_momentum)`` says which.

    Args:
        by_epoch: whether the policy counts epochs, or else iterations.
        warmup, warmup_iters: as for learning rates.
        warmup_ratio: what the momentum is divided by to begin with.
    """

    what = "momentum"

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.9,
    ) -> None:
        super().__init__(by_epoch, warmup, warmup_iters, warmup_ratio)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """The momentum of a group that began with ``base_momentum``, where the run stands now."""
        raise NotImplementedError(
            f"{type(self).__name__}.get_momentum(runner, base_momentum) is missing."
        )

    def begin_with(self, optimizer: Optimizer, name: str) -> None:
        """Keep the momenta as ``initial_momentum``."""
        for group in optimizer.param_groups:
            if "momentum" not in group and "betas" not in group:
                raise ValueError(
                    f"{type(optimizer).__name__} has no momentum; take momentum_config away."
                )
            group.setdefault("initial_momentum", momentum_of(group))

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What :meth:`get_momentum` says."""
        groups = optimizer.param_groups
        return [self.get_momentum(runner, group["initial_momentum"]) for group in groups]

    def warmed(self, value: float, factor: float) -> float:
        """A multiple of it, as the learning rate is a part of its own then."""
        return value / factor

    def put(self, group: dict[str, Any], value: float) -> None:
        """Set the momentum."""
        if "momentum" in group:
            group["momentum"] = value
        else:
            group["betas"] = (value, group["betas"][1])


@HOOKS.register_module()
class StepMomentumUpdaterHook(MomentumUpdaterHook):
    """``policy="step"``: multiplied at some places.

    Args:
        step: the places, or how far there is from one to the next.
        gamma: the factor.
        min_momentum: what it is not to fall below.
        options: those of :class:`MomentumUpdaterHook`.
    """

    def __init__(
        self,
        step: int | Sequence[int],
        gamma: float = 0.5,
        min_momentum: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_places(step)
        self.step, self.gamma, self.min_momentum = step, gamma, min_momentum

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """See :func:`.policies.steps`."""
        n, _ = progress_of(self, runner)
        return policies.steps(base_momentum, n, self.step, self.gamma, self.min_momentum)


class _DownTo(MomentumUpdaterHook):
    """Those that end at a momentum.

    Args:
        min_momentum: that momentum.
        min_momentum_ratio: or its share of the one to begin with.
        options: those of :class:`MomentumUpdaterHook`.
    """

    def __init__(
        self,
        min_momentum: float | None = None,
        min_momentum_ratio: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_target(self, min_momentum, min_momentum_ratio)
        self.min_momentum, self.min_momentum_ratio = min_momentum, min_momentum_ratio

    def _end(self, base: float) -> float:
        return target_of(base, self.min_momentum, self.min_momentum_ratio)


@HOOKS.register_module()
class CosineAnnealingMomentumUpdaterHook(_DownTo):
    """``policy="CosineAnnealing"``: half a cosine, as long as the run."""

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """See :func:`.policies.anneal_cos`."""
        n, total = progress_of(self, runner)
        return policies.anneal_cos(base_momentum, self._end(base_momentum), n / total)


@HOOKS.register_module()
class LinearAnnealingMomentumUpdaterHook(_DownTo):
    """``policy="LinearAnnealing"``: a straight line, as long as the run."""

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """See :func:`.policies.anneal_linear`."""
        n, total = progress_of(self, runner)
        return policies.anneal_linear(base_momentum, self._end(base_momentum), n / total)


@HOOKS.register_module()
class CyclicMomentumUpdaterHook(MomentumUpdaterHook):
    """``policy="cyclic"``: down to a part of the momentum and up again, as rates go up and down.

    Args:
        by_epoch: ``False``; it counts iterations.
        target_ratio: the multiples.
        cyclic_times: how many cycles the run has.
        step_ratio_up: which share of a cycle the way to the first takes.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        gamma: what the amplitude is multiplied by from one cycle to the next.
        options: those of :class:`MomentumUpdaterHook`.
    """

    def __init__(
        self,
        by_epoch: bool = False,
        target_ratio: float | tuple[float, ...] = (0.85 / 0.95, 1.0),
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch, **options)
        check_by_iteration(self, by_epoch)
        self.target_ratio = check_cycle(target_ratio, step_ratio_up, gamma)
        self.cyclic_times, self.step_ratio_up, self.gamma = cyclic_times, step_ratio_up, gamma
        self.anneal = policies.annealing_of(anneal_strategy)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """See :func:`.policies.cycle`."""
        n, total = progress_of(self, runner)
        ratios, up, length = self.target_ratio, self.step_ratio_up, total // self.cyclic_times
        return policies.cycle(base_momentum, n, length, ratios, up, self.gamma, self.anneal)


@HOOKS.register_module()
class OneCycleMomentumUpdaterHook(MomentumUpdaterHook):
    """``policy="OneCycle"``: down to a momentum, and up again.

    Args:
        base_momentum: the least, for each group or all, or by optimizer.
        max_momentum: the most, likewise.
        pct_start: which share of the run goes down.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        three_phase: whether it goes up as slowly as down, and then stays.
        options: those of :class:`MomentumUpdaterHook`.
    """

    def __init__(
        self,
        base_momentum: float | Sequence[float] | Mapping[str, Any] = 0.85,
        max_momentum: float | Sequence[float] | Mapping[str, Any] = 0.95,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        by_epoch: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch, **options)
        check_by_iteration(self, by_epoch)
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.pct_start = check_share("pct_start", pct_start)
        self.three_phase = three_phase
        self.anneal = policies.annealing_of(anneal_strategy)

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What the cycle says; what the optimizer was made with does not count."""
        least = by_group(self.base_momentum, optimizer, name)
        most = by_group(self.max_momentum, optimizer, name)
        return [
            policies.one_cycle(runner.iter, self._phases(runner, low, high), self.anneal)
            for low, high in zip(least, most, strict=True)
        ]

    def _phases(
        self, runner: BaseRunner, low: float, high: float
    ) -> list[tuple[float, float, float]]:
        """Of each phase the iteration where it ends, and the momenta at its ends."""
        total = int(runner.max_iters or 0)
        fall = (float(self.pct_start * total) - 1, high, low)
        if not self.three_phase:
            return [fall, (total - 1, low, high)]
        rise = (float(2 * self.pct_start * total) - 2, low, high)
        return [fall, rise, (total - 1, high, high)]
