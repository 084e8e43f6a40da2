"""Axes: where a value stands on one, and which values to write at it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .wording import duration, number

__all__ = ["Scale", "time_ticks"]

_FAR = 30  # times less than the most is far below it
_MANY = 0.2
_HUGE = 1e150  # of larger numbers the difference might not be one
_TINY = 1e-290  # of smaller ones, too
_SAME = 1e-9  # times the larger of two numbers, by which they differ and count as the same
_DECADES = 1e12  # from the low end to the high one


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, in equal steps or in powers of ten.

    Example:
        >>> scale = Scale(1.0, 100.0, log=True)
        >>> scale.position(10.0), scale.ticks()
        (0.5, [(1.0, '1'), (10.0, '10'), (100.0, '100')])
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def of(cls, values: Iterable[float], *, samples: Sequence[float] | None = None) -> Scale:
        """A scale for finite values.

        It is logarithmic where all are positive, and a fifth of them so far below the greatest
        that they could not be told apart from zero.

        Args:
            values: all that is to be seen.
            samples: those that decide; by default all.

        Example:
            >>> Scale.of([0.9, 0.95, 0.99]).log, Scale.of([2.0, 0.05, 0.01, 0.009]).log
            (False, True)
        """
        seen = [min(max(value, -_HUGE), _HUGE) for value in values]
        if not seen:
            return cls(0.0, 1.0)
        low, high = min(seen), max(seen)
        deciding = seen if samples is None else samples
        far = sum(value * _FAR < high for value in deciding)
        if low > 0 and deciding and far >= _MANY * len(deciding):
            low = max(low, high / _DECADES)
            pad = (high / low) ** 0.04
            return cls(low / pad, high * pad, log=True)
        largest = max(abs(low), abs(high))
        if high - low <= max(_SAME * largest, _TINY):
            pad = 0.1 * largest if largest > _TINY else 1.0
            return cls(low - pad, high + pad)
        if 0 <= low <= 0.35 * high:
            return cls(0.0, high * 1.05)
        pad = 0.06 * (high - low)
        return cls(low - pad, high + pad)

    def position(self, value: float) -> float:
        """Where a value stands, from 0 at the low end to 1 at the high one."""
        if self.log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def bent(self, value: float) -> float:
        """A value as the axis has it: means are taken of these."""
        return math.log(value) if self.log and value > 0 else value

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Values to write at the axis, with how they are written."""
        values = self._powers(most) if self.log else self._even(most)
        return [(value, number(value)) for value in values]

    def _even(self, most: int) -> list[float]:
        step = _nice((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = max(0, 2 - math.floor(math.log10(step)))
        return [round(place * step, digits) for place in range(first, last + 1)]

    def _powers(self, most: int) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        powers = range(math.floor(low), math.ceil(high) + 1)
        within = [float(f"1e{p}") for p in powers if low - 1e-9 <= p <= high + 1e-9]
        if len(within) < 3:
            finer = [float(f"{head}e{p}") for p in powers for head in (1, 2, 5)]
            return [value for value in finer if self.low <= value <= self.high]
        return within[:: math.ceil(len(within) / most)]


def time_ticks(seconds: float, most: int = 6) -> list[tuple[float, str]]:
    """Times from 0 to the end of a timeline, and how they are written.

    Example:
        >>> time_ticks(200, most=4)
        [(0, '0'), (60, '1 min'), (120, '2 min'), (180, '3 min')]
    """
    units = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
    days = 86_400 * math.ceil(seconds / 86_400 / most)
    step: float = next((unit for unit in units if seconds / unit <= most), days)
    if seconds < most:
        step = _nice(max(seconds, 1e-3) / most)
    count = int(seconds / step + 1e-9)
    return [
        (n * step, duration(n * step).replace(".0 s", " s") if n else "0") for n in range(count + 1)
    ]


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(head * power for head in (1, 2, 5, 10) if head * power >= step * (1 - 1e-9))
