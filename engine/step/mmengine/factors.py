"""Schedulers that multiply what they find: constant, by steps, exponential, on a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch.optim import Optimizer

from .param_scheduler import ParamScheduler

__all__ = ["Constant", "Exponential", "Linear", "MultiStep", "Step"]


class Constant(ParamScheduler):
    """Multiplies by ``factor`` for as long as the range lasts."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.factor = _factor("factor", factor)
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """At first times the factor, at last divided by it."""
        if move == 0:
            return value * self.factor
        last = move == self.end - self.begin - 1
        return value * (1.0 / self.factor) if last else value


class Step(ParamScheduler):
    """Multiplies by ``gamma`` every ``step_size`` moves."""

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """As it is, or times gamma."""
        return value * self.gamma if move and move % self.step_size == 0 else value


class MultiStep(ParamScheduler):
    """Multiplies by ``gamma`` at each of the ``milestones``."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.milestones, self.gamma = dict(Counter(milestones)), gamma
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """As it is, or times gamma for each milestone that is there."""
        times = self.milestones.get(move)
        return value if times is None else value * self.gamma**times


class Exponential(ParamScheduler):
    """Multiplies by ``gamma`` with each move."""

    def __init__(
        self,
        optimizer: Optimizer,
        gamma: float,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.gamma = gamma
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """Times gamma."""
        return value * self.gamma if move else value


class Linear(ParamScheduler):
    """Goes from ``start_factor`` to ``end_factor`` times the value, which its last move has.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> warm_up = Linear(sgd, start_factor=0.5, end=3)
        >>> rates = [sgd.param_groups[0]["lr"]]
        >>> for _ in range(3):
        ...     warm_up.step()
        ...     rates.append(sgd.param_groups[0]["lr"])
        >>> rates
        [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.start_factor = _factor("start_factor", start_factor)
        self.end_factor = _factor("end_factor", end_factor)
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """The next on the line through the two."""
        start, rise = self.start_factor, self.end_factor - self.start_factor
        if move == 0:
            return value * start
        moves = self.end - self.begin - 1
        return value * (1.0 + rise / (moves * start + (move - 1) * rise))


def _factor(name: str, given: float) -> float:
    if not 0 <= given <= 1:
        raise ValueError(f"{name} is from 0 to 1, given {given!r}.")
    return given
