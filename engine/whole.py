"""Whole numbers: one reading of them, wherever a count is asked for."""

from __future__ import annotations

from math import floor, inf
from numbers import Real
from typing import Any

__all__ = ["whole"]


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """A count that somebody gave, as an ``int``.

    The type decides nothing: ``2``, ``2.0`` and numpy's ``int64(2)`` are two. A bool is no count.

    Args:
        name: what it is called in an error.
        value: as given.
        least: the smallest that will do.

    Raises:
        ValueError: for what is no whole number, or is below the least.

    Example:
        >>> whole("every", 2.0)
        2
        >>> whole("every", 1.5)
        Traceback (most recent call last):
        ValueError: every is a whole number from 1 on, given 1.5; give 1 or 2.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    hint = ""
    if is_number and 0 < value < 1:
        hint = "; where fractions are taken, one is written as '25%'"
    elif is_number and least <= value < inf:
        if value == (below := floor(value)):
            return int(value)
        hint = f"; give {below} or {below + 1}"
    raise ValueError(f"{name} is a whole number from {least} on, given {value!r}{hint}.")
