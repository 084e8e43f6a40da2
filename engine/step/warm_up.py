"""Warm-up: learning rates that rise before a schedule begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import nearest
from ..whole import whole

__all__ = ["WarmUp", "warm_up"]

Shape = Callable[[float], float]

_SHAPES: dict[str, Shape] = {"linear": lambda fraction: fraction}


class WarmUp(LRScheduler):
    """A scheduler of torch that raises the rates for some moves, and then hands over to another.

    Made by :func:`warm_up`, which says what it does.

    torch's ``SequentialLR`` would begin the second scheduler at the rate that the first one left;
    a scheduler that goes by factors then never makes up for what was missing. Here the second
    one was begun when it was made, and rests until its first rate is reached.

    Args:
        optimizer: whose rates rise.
        scheduler, steps, start: as the attributes say.
        shape: from the fraction of the moves made to that of the way made.

    Attributes:
        scheduler: the one that follows; ``None`` if the rates stay where they are then.
        steps: moves until it takes over.
        start: the factor in the first of them.
        targets: the rate that each parameter group rises to.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> rising = warm_up(optimizer, steps=10, start=0.5)
        >>> isinstance(rising, WarmUp), rising.steps, rising.targets, rising.get_last_lr()
        (True, 10, [1.0], [0.5])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        steps: int,
        start: float,
        shape: Shape,
    ) -> None:
        self.scheduler = scheduler
        self.steps = steps
        self.start = start
        self.shape = shape
        self.targets = [_copied(group["lr"]) for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the parameter groups after the moves so far; asked for by torch."""
        if self.last_epoch > self.steps:  # others may have changed them
            return [_copied(group["lr"]) for group in self.optimizer.param_groups]
        factor = 1.0
        if self.last_epoch < self.steps:
            fraction = self.last_epoch / self.steps
            factor = self.start + (1.0 - self.start) * float(self.shape(fraction))
        return [target * factor for target in self.targets]

    def step(self) -> None:  # type: ignore[override]
        """Make a move."""
        if self.scheduler is None or self.last_epoch < self.steps:
            super().step()
            return
        self.last_epoch += 1
        self.scheduler.step()
        self._last_lr = self.scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, and where the scheduler that follows does; the shape is not saved."""
        state = super().state_dict()
        del state["shape"]
        follows = state.pop("scheduler")
        return {**state, "scheduler": None if follows is None else follows.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where a state says.

        Raises:
            ValueError: if it is one with a scheduler that follows and this is without, or the
                other way round.
        """
        follows = state_dict["scheduler"]
        if (follows is None) != (self.scheduler is None):
            was, given = ("without", "one") if follows is None else ("with", "none")
            raise ValueError(
                f"the warm-up was saved {was} a scheduler that follows, and has {given} here; "
                f"make it as it was made then."
            )
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "scheduler"})
        if self.scheduler is not None:
            self.scheduler.load_state_dict(follows)


def warm_up(
    scheduler_or_optimizer: LRScheduler | Optimizer,
    steps: int,
    start: float = 0.0,
    shape: str | Shape = "linear",
) -> WarmUp:
    """Raise the learning rates before a scheduler begins.

    After ``k < steps`` moves the rate of each parameter group is
    ``target * (start + (1 - start) * shape(k / steps))``. After ``steps`` moves it is the target,
    which is the first rate of the scheduler, or the optimizer's own; then the scheduler goes on
    from there. The schedule so takes ``steps`` moves more than without. Large batches were warmed
    up like this by Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677.

    Args:
        scheduler_or_optimizer: the scheduler of torch that follows, bound to its optimizer and
            not moved yet; or an optimizer whose rates stay when they have risen.
        steps: how many moves the warm-up takes, in the unit by which the schedule is moved.
        start: the factor at the beginning, 0 or more; what MMCV calls ``warmup_ratio``. With 0
            the first step changes nothing.
        shape: ``"linear"``, or a function from the fraction of the moves made, 0 or more and
            below 1, to the fraction of the way made. It is not saved.

    Returns:
        a scheduler of torch.

    Raises:
        TypeError: for anything but a scheduler of torch or an optimizer, and for a shape that
            returns no number.
        ValueError: for other values that make no sense.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> scheduler = warm_up(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), steps=4)
        >>> rates = []
        >>> for _ in range(7):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.25]
    """
    steps = whole("steps", steps)
    if isinstance(start, bool) or not isinstance(start, (int, float)) or not 0 <= start < math.inf:
        raise ValueError(f"start is a factor of the rate, 0 or more, given {start!r}.")
    optimizer, follows = _pair(scheduler_or_optimizer)
    return WarmUp(optimizer, follows, steps, float(start), _shape(shape))


def _pair(given: LRScheduler | Optimizer) -> tuple[Optimizer, LRScheduler | None]:
    """The optimizer, and the scheduler that follows, if one does."""
    if isinstance(given, ReduceLROnPlateau):
        raise TypeError(
            "warm_up() was given ReduceLROnPlateau, which moves by a metric and so in a unit of "
            "its own; warm up the optimizer, and attach two schedules: LRSchedule(warm_up("
            "optimizer, …), 'iteration') and LRSchedule(plateau, metric=…)."
        )
    if isinstance(given, Optimizer):
        return given, None
    if isinstance(given, LRScheduler):
        return given.optimizer, given
    raise TypeError(
        f"warm_up() takes a scheduler of torch.optim.lr_scheduler or an optimizer, given "
        f"{given!r:.80}; for pytorch-ignite's schedulers use its create_lr_scheduler_with_warmup()."
    )


def _shape(shape: str | Shape) -> Shape:
    if isinstance(shape, str):
        if shape not in _SHAPES:
            raise ValueError(
                f"shape is 'linear' or a function of the fraction of the moves made, given "
                f"{shape!r}.{nearest(shape, _SHAPES)}"
            )
        return _SHAPES[shape]
    if not callable(shape):
        raise TypeError(
            f"shape is 'linear' or a function of the fraction of the moves made, given {shape!r}."
        )
    first = shape(0.0)
    if isinstance(first, bool) or not isinstance(first, (int, float)):
        raise TypeError(f"shape(0.0) returned {first!r}; a shape returns a number from 0 to 1.")
    return shape


def _copied(rate: float | Tensor) -> float | Tensor:
    return rate.clone() if isinstance(rate, Tensor) else rate
