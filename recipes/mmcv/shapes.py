"""Shapes: what policies say, whichever quantity they set.

Each is made a hook by the quantity: ``class StepLrUpdaterHook(Stepped, LrUpdaterHook)``. What is
named after the quantity there, ``min_lr`` or ``min_momentum``, is called ``least`` here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import policies
from .updater import Updater

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = [
    "CosineAnnealing",
    "Cyclic",
    "DownTo",
    "LinearAnnealing",
    "OneCycle",
    "Stepped",
    "check_share",
]


class _Bounded(Updater):
    """Those with a bound.

    Args:
        least: the bound, by the name of the quantity an option and an attribute.
        options: those of the quantity.
    """

    def __init__(self, least: float | None = None, **options: Any) -> None:
        name = f"min_{self.what}"
        setattr(self, name, options.pop(name, least))
        super().__init__(**options)

    @property
    def least(self) -> float | None:
        """The bound, as it is now."""
        bound: float | None = getattr(self, f"min_{self.what}")
        return bound


class Stepped(_Bounded):
    """Multiplied at some places.

    Args:
        step: the places, or how far there is from one to the next.
        gamma: the factor; by default the quantity's own.
        least: what it is not to fall below, ``min_lr`` or ``min_momentum``.
        options: those of the quantity.

    Raises:
        ValueError: for what is neither a whole number above 0, nor a list of such.
    """

    usual_gamma: ClassVar[float]

    def __init__(
        self,
        step: int | Sequence[int],
        gamma: float | None = None,
        least: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(least, **options)
        several = list(step) if isinstance(step, (list, tuple)) else [step]
        if not all(type(one) is int and one > 0 for one in several):
            raise ValueError(f"step is a whole number above 0, or a list of such, given {step!r}.")
        self.step, self.gamma = step, self.usual_gamma if gamma is None else gamma

    def shape(self, runner: BaseRunner, base: float) -> float:
        """See :func:`.policies.steps`."""
        n, _ = self.progress(runner)
        return policies.steps(base, n, self.step, self.gamma, self.least)


class DownTo(_Bounded):
    """Those that end at a value.

    Args:
        least: that value, ``min_lr`` or ``min_momentum``.
        ratio: or its share of the one to begin with, ``min_lr_ratio`` or ``min_momentum_ratio``.
        options: those of the quantity.

    Raises:
        ValueError: unless exactly one of them is given.
    """

    def __init__(
        self, least: float | None = None, ratio: float | None = None, **options: Any
    ) -> None:
        name = f"min_{self.what}_ratio"
        setattr(self, name, options.pop(name, ratio))
        super().__init__(least, **options)
        if (self.least is None) == (self.ratio is None):
            raise ValueError(
                f"{type(self).__name__} takes min_{self.what} or min_{self.what}_ratio, one of "
                f"them; given {self.least!r} and {self.ratio!r}."
            )

    @property
    def ratio(self) -> float | None:
        """The share, as it is now."""
        share: float | None = getattr(self, f"min_{self.what}_ratio")
        return share

    def end_of(self, base: float) -> float:
        """Where it ends that begins with this."""
        if self.ratio is not None:
            return base * self.ratio
        return math.nan if self.least is None else self.least


class CosineAnnealing(DownTo):
    """Half a cosine, as long as the run."""

    def shape(self, runner: BaseRunner, base: float) -> float:
        """See :func:`.policies.anneal_cos`."""
        n, total = self.progress(runner)
        return policies.anneal_cos(base, self.end_of(base), n / total)


class LinearAnnealing(DownTo):
    """A straight line, as long as the run."""

    def shape(self, runner: BaseRunner, base: float) -> float:
        """See :func:`.policies.anneal_linear`."""
        n, total = self.progress(runner)
        return policies.anneal_linear(base, self.end_of(base), n / total)


class _ByIteration(Updater):
    """Those that count iterations.

    Args:
        by_epoch: ``False``.
        anneal_strategy: how the values go, ``"cos"`` or ``"linear"``.
        options: those of the quantity.
    """

    def __init__(
        self, *, by_epoch: bool = False, anneal_strategy: str = "cos", **options: Any
    ) -> None:
        super().__init__(by_epoch, **options)
        if by_epoch:
            raise ValueError(f"{type(self).__name__} counts iterations; give by_epoch=False.")
        self.anneal = policies.annealing_of(anneal_strategy)


class Cyclic(_ByIteration):
    """To a multiple of the value and on to another, again and again.

    Args:
        by_epoch: ``False``; it counts iterations.
        target_ratio: the multiples; by default the quantity's own.
        cyclic_times: how many cycles the run has.
        step_ratio_up: which share of a cycle the way to the first takes.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        gamma: what the amplitude is multiplied by from one cycle to the next.
        options: those of the quantity.

    Raises:
        ValueError: for other ratios, and for a share and a factor out of range.
    """

    usual_ratio: ClassVar[tuple[float, float]]

    def __init__(
        self,
        by_epoch: bool = False,
        target_ratio: float | tuple[float, ...] | None = None,
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch=by_epoch, anneal_strategy=anneal_strategy, **options)
        self.target_ratio = _two_ratios(self.usual_ratio if target_ratio is None else target_ratio)
        if not 0 <= step_ratio_up < 1:
            raise ValueError(f"step_ratio_up is from 0 to less than 1, given {step_ratio_up!r}.")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma is above 0 and at most 1, given {gamma!r}.")
        self.cyclic_times, self.step_ratio_up, self.gamma = cyclic_times, step_ratio_up, gamma

    def shape(self, runner: BaseRunner, base: float) -> float:
        """See :func:`.policies.cycle`."""
        n, total = self.progress(runner)
        ratios, up, length = self.target_ratio, self.step_ratio_up, total // self.cyclic_times
        return policies.cycle(base, n, length, ratios, up, self.gamma, self.anneal)


class OneCycle(_ByIteration):
    """From a value to another, and on; what the optimizer was made with does not count.

    Args:
        pct_start: which share of the run the first way takes.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        three_phase: whether the way back is as long, and a third follows.
        by_epoch: ``False``; it counts iterations.
        options: those of the quantity.
    """

    def __init__(
        self,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        by_epoch: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(by_epoch=by_epoch, anneal_strategy=anneal_strategy, **options)
        self.pct_start, self.three_phase = check_share("pct_start", pct_start), three_phase

    def ways(
        self, total: int, first: float, turn: float, back: float, last: float
    ) -> list[tuple[float, float, float]]:
        """Of each way the iteration where it ends, and the values at its ends.

        Args:
            total: iterations of the cycle.
            first: where the first way begins.
            turn: where it ends.
            back: where the second of three ends.
            last: where the last one ends.
        """
        up = (float(self.pct_start * total) - 1, first, turn)
        if not self.three_phase:
            return [up, (total - 1, turn, last)]
        down = (float(2 * self.pct_start * total) - 2, turn, back)
        return [up, down, (total - 1, back, last)]


def check_share(name: str, share: Any) -> float:
    """A share of a run.

    Raises:
        ValueError: for what is no float from 0 to 1.
    """
    if not isinstance(share, float) or not 0 <= share <= 1:
        raise ValueError(f"{name} is a float from 0 to 1, given {share!r}.")
    return share


def _two_ratios(given: Any) -> tuple[float, float]:
    """The two ratios of a cycle, of what says one or both."""
    ratios = (given,) if isinstance(given, float) else given
    if isinstance(ratios, (list, tuple)) and len(ratios) == 1:
        ratios = (ratios[0], ratios[0] / 1e5)
    if not isinstance(ratios, (list, tuple)) or len(ratios) != 2:
        raise ValueError(f"target_ratio is a float or two of them, given {given!r}.")
    return float(ratios[0]), float(ratios[1])
