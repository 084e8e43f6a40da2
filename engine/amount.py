"""Amounts: how much of something, said as a count or as a fraction, and never as either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from numbers import Real

from .whole import whole

__all__ = ["Amount", "Given"]

Given = int | float | str | Fraction | None
"""What people say: ``10``, ``"25%"``, ``"1/4"``, ``Fraction(1, 4)``, or ``None`` for all."""

_NUMBER = r"\d+(?:\.\d+)?"
_PERCENT = re.compile(rf"\s*({_NUMBER})\s*%\s*")
_RATIO = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")


@dataclass(frozen=True)
class Amount:
    """So many of something, or such a fraction of it.

    The type never decides which is meant: ``10`` and ``10.0`` are ten, ``1`` and ``1.0`` are one,
    and a fraction is written as one.

    Attributes:
        count: how many; ``None`` for a fraction.
        fraction: which part, at most 1; ``None`` for a count.

    Example:
        >>> Amount.of("25%").of_total(10), Amount.of(4.0).of_total(10)
        (2, 4)
        >>> Amount.of(0.5)
        Traceback (most recent call last):
        ValueError: 0.5 is neither a count nor written as a fraction; write '50%' or Fraction(1, 2).
    """

    count: int | None
    fraction: Fraction | None

    @classmethod
    def of(cls, given: Given | Amount, *, zero: bool = False) -> Amount:
        """The amount that ``given`` says.

        Args:
            given: a whole number for a count; ``fractions.Fraction``, ``"25%"`` or ``"1/4"`` for
                a fraction; ``None`` for everything.
            zero: whether nothing at all is an amount, too.

        Raises:
            TypeError: for what is no number, fraction or text.
            ValueError: for anything negative, more than all, or neither a count nor written as
                a fraction; for nothing at all, unless that is allowed.
        """
        amount = given if isinstance(given, Amount) else _read(given)
        if not zero and not (amount.count or amount.fraction):
            raise ValueError(f"{given!r} is nothing at all; give at least 1, or a fraction of it.")
        return amount

    @property
    def is_everything(self) -> bool:
        """Whether it is the whole, however much that is."""
        return self.fraction == 1

    def of_total(self, total: int | None) -> int:
        """How many that is.

        A fraction is rounded down, but to 1 at least, unless it or the total is zero. A count is
        never more than the total.

        Args:
            total: how many there are; ``None`` if that is not known.

        Raises:
            ValueError: for a fraction of what is not known.
        """
        if self.fraction is None:
            count = self.count or 0
            return count if total is None else min(count, total)
        if total is None:
            raise ValueError(f"{self} of a length that is not known; give a count instead.")
        return max(int(self.fraction * total), min(total, 1)) if self.fraction else 0

    def __str__(self) -> str:
        if self.fraction is None:
            return str(self.count)
        return _percent(self.fraction) or str(self.fraction)


def _read(given: Given) -> Amount:
    if given is None:
        return Amount(None, Fraction(1))
    if isinstance(given, str):
        return _fraction(given, _parse(given))
    if isinstance(given, Fraction):
        return _fraction(given, given)
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(
            f"an amount is a whole number, a Fraction, a text such as '25%', or None for all; "
            f"given {given!r}."
        )
    if not -inf < given < inf:
        raise ValueError(f"{given!r} is no amount; for all there is, write None or '100%'.")
    if given > 0 and given % 1:
        raise ValueError(f"{given!r} is neither a count nor {_as_fraction(float(given))}.")
    return Amount(whole("an amount", given, least=0), None)


def _parse(text: str) -> Fraction:
    if found := _PERCENT.fullmatch(text):
        return Fraction(found[1]) / 100
    if (found := _RATIO.fullmatch(text)) and int(found[2]):
        return Fraction(int(found[1]), int(found[2]))
    raise ValueError(
        f"{text!r} says no fraction; write '25%' or '1/4', or a number without quotes for a count."
    )


def _fraction(given: object, fraction: Fraction) -> Amount:
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction lies between 0 and 100%, given {given!r}.")
    return Amount(None, fraction)


def _as_fraction(number: float) -> str:
    """How to write what was given as a float."""
    exact = Fraction(repr(number))
    if exact > 1:
        return f"a fraction of at most 100%; write {int(number)} or {int(number) + 1}"
    return f"written as a fraction; write {str(Amount(None, exact))!r} or {exact!r}"


def _percent(fraction: Fraction) -> str | None:
    """The fraction in percent, if a few decimals say it exactly."""
    text = f"{float(fraction * 100):.6f}".rstrip("0").rstrip(".")
    return f"{text}%" if Fraction(text) == fraction * 100 else None
