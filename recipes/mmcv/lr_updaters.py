"""Learning rates: the hooks that ``lr_config=dict(policy=…)`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from . import policies, shapes
from .hook import HOOKS
from .updater import Updater, by_group

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
        return self.shape(runner, base_lr)

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
    """``policy="fixed"``: as it was, but for a warm-up.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = FixedLrUpdaterHook()
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.1, 0.1, 0.1]
    """

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """The same."""
        return base_lr


@HOOKS.register_module()
class StepLrUpdaterHook(shapes.Stepped, LrUpdaterHook):
    """``policy="step"``: see :class:`.Stepped`; multiplied by 0.1, unless ``gamma`` says else.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = StepLrUpdaterHook(step=[2, 3])
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.1, 0.01, 0.001]
    """

    usual_gamma = 0.1


@HOOKS.register_module()
class ExpLrUpdaterHook(LrUpdaterHook):
    """``policy="exp"``: multiplied each time.

    Args:
        gamma: the factor.
        options: those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = ExpLrUpdaterHook(gamma=0.5)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.05, 0.025, 0.0125]
    """

    def __init__(self, gamma: float, **options: Any) -> None:
        super().__init__(**options)
        self.gamma = gamma

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """``base_lr * gamma**n``."""
        n, _ = self.progress(runner)
        return float(base_lr * self.gamma**n)


@HOOKS.register_module()
class PolyLrUpdaterHook(LrUpdaterHook):
    """``policy="poly"``: a power of what is left of the run.

    Args:
        power: the power.
        min_lr: where it ends.
        options: those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = PolyLrUpdaterHook(power=2)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.0563, 0.025, 0.0063]
    """

    def __init__(self, power: float = 1.0, min_lr: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.power, self.min_lr = power, min_lr

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.polynomial`."""
        return policies.polynomial(base_lr, *self.progress(runner), self.power, self.min_lr)


@HOOKS.register_module()
class InvLrUpdaterHook(LrUpdaterHook):
    """``policy="inv"``: divided by a power of how far the run is.

    Args:
        gamma: how fast.
        power: the power.
        options: those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = InvLrUpdaterHook(gamma=1.0)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.05, 0.0333, 0.025]
    """

    def __init__(self, gamma: float, power: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.gamma, self.power = gamma, power

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.inverse`."""
        n, _ = self.progress(runner)
        return policies.inverse(base_lr, n, self.gamma, self.power)


@HOOKS.register_module()
class CosineAnnealingLrUpdaterHook(shapes.CosineAnnealing, LrUpdaterHook):
    """``policy="CosineAnnealing"``: see :class:`.CosineAnnealing`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = CosineAnnealingLrUpdaterHook(min_lr=0)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
    """


@HOOKS.register_module()
class LinearAnnealingLrUpdaterHook(shapes.LinearAnnealing, LrUpdaterHook):
    """``policy="LinearAnnealing"``: see :class:`.LinearAnnealing`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = LinearAnnealingLrUpdaterHook(min_lr=0)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.075, 0.05, 0.025]
    """


@HOOKS.register_module()
class FlatCosineAnnealingLrUpdaterHook(shapes.DownTo, LrUpdaterHook):
    """``policy="FlatCosineAnnealing"``: flat for a share of the run, then half a cosine.

    Args:
        start_percent: that share, a float from 0 to 1.
        options: ``min_lr`` or ``min_lr_ratio``, where it ends, and those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = FlatCosineAnnealingLrUpdaterHook(start_percent=0.5, min_lr=0)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.1, 0.1, 0.05]
    """

    def __init__(self, start_percent: float = 0.75, **options: Any) -> None:
        super().__init__(**options)
        self.start_percent = shapes.check_share("start_percent", start_percent)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """See :func:`.policies.flat_cosine`."""
        place = self.progress(runner)
        return policies.flat_cosine(base_lr, self.end_of(base_lr), *place, self.start_percent)


@HOOKS.register_module()
class CosineRestartLrUpdaterHook(shapes.DownTo, LrUpdaterHook):
    """``policy="CosineRestart"``: half a cosine in each of some periods.

    Args:
        periods: how long each is.
        restart_weights: the weight of each.
        options: ``min_lr`` or ``min_lr_ratio``, where each ends, and those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = CosineRestartLrUpdaterHook(periods=[2, 2], restart_weights=[1, 0.5], min_lr=0)
        >>> [round(hook.get_lr(At(epoch=n, max_epochs=4), 0.1), 4) for n in range(4)]
        [0.1, 0.05, 0.05, 0.025]
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
        n, _ = self.progress(runner)
        end = self.end_of(base_lr)
        return policies.cosine_restart(base_lr, end, n, self.periods, self.restart_weights)


@HOOKS.register_module()
class CyclicLrUpdaterHook(shapes.Cyclic, LrUpdaterHook):
    """``policy="cyclic"``: up to a multiple of the rate and down; see :class:`.Cyclic`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = CyclicLrUpdaterHook(target_ratio=(10, 1))
        >>> [round(hook.get_lr(At(iter=n, max_iters=100), 0.1), 4) for n in (0, 20, 40, 70)]
        [0.1, 0.55, 1.0, 0.55]
    """

    usual_ratio = (10, 1e-4)


@HOOKS.register_module()
class OneCycleLrUpdaterHook(shapes.OneCycle, LrUpdaterHook):
    """``policy="OneCycle"``: up to a rate, and down to nearly nothing; see :class:`.OneCycle`.

    Args:
        max_lr: the highest rate, for each group or all, or by optimizer.
        total_steps: how long it is; by default as the run.
        pct_start: which share of it goes up.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: what ``max_lr`` is divided by to begin with.
        final_div_factor: what that is divided by in the end.
        three_phase: whether it goes down as slowly as up, and then to the end.
        options: those of :class:`.Updater`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = OneCycleLrUpdaterHook(max_lr=1.0, total_steps=100)
        >>> [round(hook.get_lr(At(iter=n, max_iters=100), 0.04), 4) for n in (0, 15, 29, 99)]
        [0.04, 0.546, 1.0, 0.0]
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
        **options: Any,
    ) -> None:
        super().__init__(pct_start, anneal_strategy, three_phase, **options)
        self.max_lr, self.total_steps = max_lr, total_steps
        self.div_factor, self.final_div_factor = div_factor, final_div_factor

    def begin_with(self, optimizer: Optimizer, name: str) -> None:
        """Keep what the cycle begins with as ``initial_lr``."""
        rates = by_group(self.max_lr, optimizer, name)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group.setdefault("initial_lr", rate / self.div_factor)

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What the cycle says."""
        rates = by_group(self.max_lr, optimizer, name)
        return [self.get_lr(runner, rate / self.div_factor) for rate in rates]

    def shape(self, runner: BaseRunner, base: float) -> float:
        """See :func:`.policies.one_cycle`."""
        run = int(runner.max_iters or 0)
        total = run if self.total_steps is None else self.total_steps
        if total < run:
            raise ValueError(f"total_steps={total} ends before the run, which has {run}.")
        top, bottom = base * self.div_factor, base * (1 / self.final_div_factor)
        ways = self.ways(total, base, top, base, bottom)
        return policies.one_cycle(runner.iter, ways, self.anneal)
