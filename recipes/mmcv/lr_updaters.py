"""Learning rates: the hooks that ``lr_config=dict(policy=…)`` names."""

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
    "CosineAnnealingLrUpdaterHook",
    "CosineRestartLrUpdaterHook",
    "CyclicLrUpdaterHook",
    "ExpLrUpdaterHook",
    "FixedLrUpdaterHook",
    "FlatCosineAnnealingLrUpdaterHook",
    "InvLrUpdaterHook",
    "LinearAnnealingLrUpdaterHook",
    "LrUpdaterHook",
    "OneCycleLrUpdaterHook",
    "PolyLrUpdaterHook",
    "StepLrUpdaterHook",
]


class LrUpdaterHook(Updater):
    """Base of those that set learning rates: ``get_lr(runner, base_lr)`` says which.

    Example:
        >>> @HOOKS.register_module()
        ... class HalvedLrUpdaterHook(LrUpdaterHook):
        ...     def get_lr(self, runner, base_lr):
        ...         return base_lr / 2 ** runner.epoch
        >>> HOOKS.build(dict(type="HalvedLrUpdaterHook", warmup=None)).by_epoch
        True
    """

    what = "lr"

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """The rate of a group that began with ``base_lr``, where the run stands now."""
        raise NotImplementedError(f"{type(self).__name__}.get_lr(runner, base_lr) is missing.")

    def begin_with(self, optimizer: Optimizer, name: str) -> None:
        """Keep the rates as ``initial_lr``."""
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What :meth:`get_lr` says."""
        return [self.get_lr(runner, group["initial_lr"]) for group in optimizer.param_groups]

    def warmed(self, value: float, factor: float) -> float:
        """A part of it."""
        return value * factor

    def put(self, group: dict[str, Any], value: float) -> None:
        """Set the rate."""
        group["lr"] = value


@HOOKS.register_module()
class FixedLrUpdaterHook(LrUpdaterHook):
    """``policy="fixed"``: as it was, but for a warm-up."""

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """The same."""
        return base_lr


@HOOKS.register_module()
class StepLrUpdaterHook(LrUpdaterHook):
    """``policy="step"``: multiplied at some places.

    Args:
        step: the places, or how far there is from one to the next.
        gamma: the factor.
        min_lr: what it is not to fall below.
        options: those of :class:`.Updater`.
    """

    def __init__(
        self,
        step: int | Sequence[int],
        gamma: float = 0.1,
        min_lr: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_places(step)
        self.step, self.gamma, self.min_lr = step, gamma, min_lr

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.steps`."""
        n, _ = progress_of(self, runner)
        return policies.steps(base_lr, n, self.step, self.gamma, self.min_lr)


@HOOKS.register_module()
class ExpLrUpdaterHook(LrUpdaterHook):
    """``policy="exp"``: multiplied each time.

    Args:
        gamma: the factor.
        options: those of :class:`.Updater`.
    """

    def __init__(self, gamma: float, **options: Any) -> None:
        super().__init__(**options)
        self.gamma = gamma

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """``base_lr * gamma**n``."""
        n, _ = progress_of(self, runner)
        return float(base_lr * self.gamma**n)


@HOOKS.register_module()
class PolyLrUpdaterHook(LrUpdaterHook):
    """``policy="poly"``: a power of what is left of the run.

    Args:
        power: the power.
        min_lr: where it ends.
        options: those of :class:`.Updater`.
    """

    def __init__(self, power: float = 1.0, min_lr: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.power, self.min_lr = power, min_lr

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.polynomial`."""
        return policies.polynomial(base_lr, *progress_of(self, runner), self.power, self.min_lr)


@HOOKS.register_module()
class InvLrUpdaterHook(LrUpdaterHook):
    """``policy="inv"``: divided by a power of how far the run is.

    Args:
        gamma: how fast.
        power: the power.
        options: those of :class:`.Updater`.
    """

    def __init__(self, gamma: float, power: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.gamma, self.power = gamma, power

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.inverse`."""
        n, _ = progress_of(self, runner)
        return policies.inverse(base_lr, n, self.gamma, self.power)


class _DownTo(LrUpdaterHook):
    """Those that end at a rate.

    Args:
        min_lr: that rate.
        min_lr_ratio: or its share of the rate to begin with.
        options: those of :class:`.Updater`.
    """

    def __init__(
        self, min_lr: float | None = None, min_lr_ratio: float | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        check_target(self, min_lr, min_lr_ratio)
        self.min_lr, self.min_lr_ratio = min_lr, min_lr_ratio

    def _end(self, base: float) -> float:
        return target_of(base, self.min_lr, self.min_lr_ratio)


@HOOKS.register_module()
class CosineAnnealingLrUpdaterHook(_DownTo):
    """``policy="CosineAnnealing"``: half a cosine, as long as the run."""

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.anneal_cos`."""
        n, total = progress_of(self, runner)
        return policies.anneal_cos(base_lr, self._end(base_lr), n / total)


@HOOKS.register_module()
class LinearAnnealingLrUpdaterHook(_DownTo):
    """``policy="LinearAnnealing"``: a straight line, as long as the run."""

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.anneal_linear`."""
        n, total = progress_of(self, runner)
        return policies.anneal_linear(base_lr, self._end(base_lr), n / total)


@HOOKS.register_module()
class FlatCosineAnnealingLrUpdaterHook(_DownTo):
    """``policy="FlatCosineAnnealing"``: flat for a share of the run, then half a cosine.

    Args:
        start_percent: that share, a float from 0 to 1.
        options: ``min_lr`` or ``min_lr_ratio``, where it ends, and those of :class:`.Updater`.
    """

    def __init__(self, start_percent: float = 0.75, **options: Any) -> None:
        super().__init__(**options)
        self.start_percent = check_share("start_percent", start_percent)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.flat_cosine`."""
        place = progress_of(self, runner)
        return policies.flat_cosine(base_lr, self._end(base_lr), *place, self.start_percent)


@HOOKS.register_module()
class CosineRestartLrUpdaterHook(_DownTo):
    """``policy="CosineRestart"``: half a cosine in each of some periods.

    Args:
        periods: how long each is.
        restart_weights: the weight of each.
        options: ``min_lr`` or ``min_lr_ratio``, where each ends, and those of :class:`.Updater`.
    """

    def __init__(
        self, periods: Sequence[int], restart_weights: Sequence[float] = (1,), **options: Any
    ) -> None:
        super().__init__(**options)
        if len(periods) != len(restart_weights):
            raise ValueError(
                f"there are {len(periods)} periods and {len(restart_weights)} restart_weights; "
                f"give one weight for each period."
            )
        self.periods, self.restart_weights = periods, restart_weights

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.cosine_restart`."""
        n, _ = progress_of(self, runner)
        end = self._end(base_lr)
        return policies.cosine_restart(base_lr, end, n, self.periods, self.restart_weights)


@HOOKS.register_module()
class CyclicLrUpdaterHook(LrUpdaterHook):
    """``policy="cyclic"``: up to a multiple of the rate and down to another, again and again.

    Args:
        by_epoch: ``False``; it counts iterations.
        target_ratio: the multiples.
        cyclic_times: how many cycles the run has.
        step_ratio_up: which share of a cycle goes up.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        gamma: what the amplitude is multiplied by from one cycle to the next.
        options: those of :class:`.Updater`.
    """

    def __init__(
        self,
        by_epoch: bool = False,
        target_ratio: float | tuple[float, ...] = (10, 1e-4),
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch, **options)
        check_by_iteration(self, by_epoch)
        self.target_ratio = check_cycle(target_ratio, step_ratio_up, gamma)
        self.cyclic_times, self.step_ratio_up, self.gamma = cyclic_times, step_ratio_up, gamma
        self.anneal = policies.annealing_of(anneal_strategy)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.cycle`."""
        n, total = progress_of(self, runner)
        ratios, up, length = self.target_ratio, self.step_ratio_up, total // self.cyclic_times
        return policies.cycle(base_lr, n, length, ratios, up, self.gamma, self.anneal)


@HOOKS.register_module()
class OneCycleLrUpdaterHook(LrUpdaterHook):
    """``policy="OneCycle"``: up to a rate, and down to nearly nothing.

    Args:
        max_lr: the highest rate, for each group or all, or by optimizer.
        total_steps: how long it is; by default as the run.
        pct_start: which share of it goes up.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: what ``max_lr`` is divided by to begin with.
        final_div_factor: what that is divided by in the end.
        three_phase: whether it goes down as slowly as up, and then to the end.
        options: those of :class:`.Updater`.
    """

    def __init__(
        self,
        max_lr: float | Sequence[float] | Mapping[str, Any],
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        by_epoch: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch, **options)
        check_by_iteration(self, by_epoch)
        self.max_lr, self.total_steps, self.three_phase = max_lr, total_steps, three_phase
        self.pct_start = check_share("pct_start", pct_start)
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.anneal = policies.annealing_of(anneal_strategy)

    def begin_with(self, optimizer: Optimizer, name: str) -> None:
        """Keep what the cycle begins with as ``initial_lr``."""
        rates = by_group(self.max_lr, optimizer, name)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group.setdefault("initial_lr", rate / self.div_factor)

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What the cycle says; what the optimizer was made with does not count."""
        rates = by_group(self.max_lr, optimizer, name)
        return [self.get_lr(runner, rate / self.div_factor) for rate in rates]

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.one_cycle`."""
        values = [(end, base_lr * a, base_lr * b) for end, a, b in self._phases(runner)]
        return policies.one_cycle(runner.iter, values, self.anneal)

    def _phases(self, runner: BaseRunner) -> list[tuple[float, float, float]]:
        """Of each phase the iteration where it ends, and the multiples at its ends."""
        run = int(runner.max_iters or 0)
        total = run if self.total_steps is None else self.total_steps
        if total < run:
            raise ValueError(f"total_steps={total} ends before the run, which has {run}.")
        top, bottom = self.div_factor, 1 / self.final_div_factor
        rise = (float(self.pct_start * total) - 1, 1.0, top)
        if not self.three_phase:
            return [rise, (total - 1, top, bottom)]
        fall = (float(2 * self.pct_start * total) - 2, top, 1.0)
        return [rise, fall, (total - 1, 1.0, bottom)]
