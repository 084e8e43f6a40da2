"""Momenta: the hooks that ``momentum_config=dict(policy=…)`` names."""

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

    Example:
        >>> @HOOKS.register_module()
        ... class WarmMomentumUpdaterHook(MomentumUpdaterHook):
        ...     def get_momentum(self, runner, base_momentum):
        ...         return base_momentum if runner.epoch else 0.5
        >>> HOOKS.build(dict(type="WarmMomentumUpdaterHook")).by_epoch
        True
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
        return self.shape(runner, base_momentum)

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
class StepMomentumUpdaterHook(shapes.Stepped, MomentumUpdaterHook):
    """``policy="step"``: see :class:`.Stepped`; multiplied by 0.5, unless ``gamma`` says else.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = StepMomentumUpdaterHook(step=[2, 3])
        >>> [round(hook.get_momentum(At(epoch=n, max_epochs=4), 0.9), 4) for n in range(4)]
        [0.9, 0.9, 0.45, 0.225]
    """

    usual_gamma = 0.5


@HOOKS.register_module()
class CosineAnnealingMomentumUpdaterHook(shapes.CosineAnnealing, MomentumUpdaterHook):
    """``policy="CosineAnnealing"``: see :class:`.CosineAnnealing`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = CosineAnnealingMomentumUpdaterHook(min_momentum=0.5)
        >>> [round(hook.get_momentum(At(epoch=n, max_epochs=4), 0.9), 4) for n in range(4)]
        [0.9, 0.8414, 0.7, 0.5586]
    """


@HOOKS.register_module()
class LinearAnnealingMomentumUpdaterHook(shapes.LinearAnnealing, MomentumUpdaterHook):
    """``policy="LinearAnnealing"``: see :class:`.LinearAnnealing`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = LinearAnnealingMomentumUpdaterHook(min_momentum=0.5)
        >>> [round(hook.get_momentum(At(epoch=n, max_epochs=4), 0.9), 4) for n in range(4)]
        [0.9, 0.8, 0.7, 0.6]
    """


@HOOKS.register_module()
class CyclicMomentumUpdaterHook(shapes.Cyclic, MomentumUpdaterHook):
    """``policy="cyclic"``: down to a part of the momentum and up again; see :class:`.Cyclic`.

    Example:
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> hook = CyclicMomentumUpdaterHook()
        >>> [round(hook.get_momentum(At(iter=n, max_iters=100), 0.95), 4) for n in (0, 20, 40, 70)]
        [0.95, 0.9, 0.85, 0.9]
    """

    usual_ratio = (0.85 / 0.95, 1.0)


@HOOKS.register_module()
class OneCycleMomentumUpdaterHook(shapes.OneCycle, MomentumUpdaterHook):
    """``policy="OneCycle"``: down to a momentum, and up again; see :class:`.OneCycle`.

    Args:
        base_momentum: the least, for each group or all, or by optimizer.
        max_momentum: the most, likewise.
        others, options: those of :class:`.OneCycle`.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace as At   # where a runner stands
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.95)
        >>> hook = OneCycleMomentumUpdaterHook()
        >>> [round(hook.regular(At(iter=n, max_iters=100), sgd, "")[0], 4) for n in (0, 15, 29, 99)]
        [0.95, 0.8973, 0.85, 0.95]
    """

    def __init__(
        self,
        base_momentum: float | Sequence[float] | Mapping[str, Any] = 0.85,
        max_momentum: float | Sequence[float] | Mapping[str, Any] = 0.95,
        *others: Any,
        **options: Any,
    ) -> None:
        super().__init__(*others, **options)
        self.base_momentum, self.max_momentum = base_momentum, max_momentum

    def regular(self, runner: BaseRunner, optimizer: Optimizer, name: str) -> list[float]:
        """What the cycle says."""
        least = by_group(self.base_momentum, optimizer, name)
        most = by_group(self.max_momentum, optimizer, name)
        total = int(runner.max_iters or 0)
        return [
            policies.one_cycle(runner.iter, self.ways(total, high, low, high, high), self.anneal)
            for low, high in zip(least, most, strict=True)
        ]
