"""Schedulers that follow a curve: cosines, powers, one cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch.optim import Optimizer

from .param_scheduler import NEVER, ParamScheduler

__all__ = ["Cosine", "CosineRestart", "OneCycle", "Poly"]


class Cosine(ParamScheduler):
    """Goes down to ``eta_min``, or ``eta_min_ratio`` of the first value, on half a cosine.

    It takes ``T_max`` moves, by default its range, and rises again behind that.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int | None = None,  # noqa: N803 - the name that everybody knows
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        _check_least(eta_min, eta_min_ratio)
        self.eta_min, self.eta_min_ratio = eta_min, eta_min_ratio
        self.T_max = T_max or (NEVER if end is None else end) - begin
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """The next on the curve."""
        least, moves = _least(self, base), self.T_max
        if move == 0:
            return value
        if (move - 1 - moves) % (2 * moves) == 0:  # at the bottom, where the factor is 0
            return value + (base - least) * (1 - math.cos(math.pi / moves)) / 2
        return _falling(move, moves) * (value - least) + least


class CosineRestart(ParamScheduler):
    """Half a cosine in each of several ``periods``, each from its own of ``restart_weights`` on."""

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        if len(periods) != len(restart_weights):
            raise ValueError(
                f"there are {len(periods)} periods, and {len(restart_weights)} restart_weights; "
                f"each period has one."
            )
        _check_least(eta_min, eta_min_ratio)
        self.eta_min, self.eta_min_ratio = eta_min, eta_min_ratio
        self.periods, self.restart_weights = list(periods), list(restart_weights)
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """The next on the curve of its period; behind the last as it is."""
        least = _least(self, base)
        for period, weight in zip(self.periods, self.restart_weights, strict=True):
            if move < period:
                falling = move and _falling(move, period) * (value - least) + least
                return falling if move else base * weight
            move -= period
        return value


class Poly(ParamScheduler):
    """Goes down to ``eta_min``, which it has behind its last move, by a power of what is left."""

    def __init__(
        self,
        optimizer: Optimizer,
        eta_min: float = 0.0,
        power: float = 1.0,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.eta_min, self.power = eta_min, power
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """The next on the curve."""
        if move == 0:
            return value
        left = self.end - self.begin - move
        return (value - self.eta_min) * float((1 - 1 / left) ** self.power) + self.eta_min


class OneCycle(ParamScheduler):
    """Up to ``eta_max`` and down again, below where it began."""

    def __init__(
        self,
        optimizer: Optimizer,
        eta_max: float | Sequence[float] = 0.0,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        if param_name != "lr":
            raise ValueError("OneCycle moves the learning rate, and nothing else.")
        total = total_steps or (NEVER if end is None else end) - begin
        groups = optimizer.param_groups
        tops = list(eta_max) if isinstance(eta_max, Sequence) else [eta_max] * len(groups)
        for group, top in zip(groups, tops, strict=True):
            group["initial_lr"] = top / div_factor
        self.tops = {top / div_factor: top for top in tops}
        self.linear, self.final = anneal_strategy == "linear", final_div_factor
        # where each phase ends, and the values there: 0 the first, 1 the top, 2 the last
        up = float(pct_start * total) - 1
        self.phases: list[tuple[float, int, int]] = [(up, 0, 1)]
        if three_phase:
            self.phases += [(float(2 * pct_start * total) - 2, 1, 0), (total - 1, 0, 2)]
        else:
            self.phases += [(total - 1, 1, 2)]
        super().__init__(optimizer, param_name, begin=begin, end=end)

    def next(self, move: int, value: float, base: float) -> float:
        """The next on the curve of its phase."""
        values = (base, self.tops[base], base / self.final)
        begins: float = 0
        for number, (ends, first, last) in enumerate(self.phases):
            if move <= ends or number == len(self.phases) - 1:
                part = (move - begins) / (ends - begins)
                return self._between(values[first], values[last], part)
            begins = ends
        return value

    def _between(self, first: float, last: float, part: float) -> float:
        if self.linear:
            return (last - first) * part + first
        return last + (first - last) / 2.0 * (math.cos(math.pi * part) + 1)


def _check_least(value: float | None, ratio: float | None) -> None:
    if value is not None and ratio is not None:
        raise ValueError(f"eta_min={value} and eta_min_ratio={ratio} exclude each other.")


def _least(scheduler: Cosine | CosineRestart, base: float) -> float:
    """What a curve goes down to: a value, or a part of the first."""
    ratio = scheduler.eta_min_ratio
    return (scheduler.eta_min or 0.0) if ratio is None else base * ratio


def _falling(move: int, moves: int) -> float:
    """What the height above the bottom of a cosine is multiplied by with a move."""
    before, now = (1 + math.cos(math.pi * one / moves) for one in (move - 1, move))
    return now / before
