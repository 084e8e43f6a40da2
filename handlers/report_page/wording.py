"""Numbers, times and sizes as people read them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

__all__ = ["NOTHING", "duration", "moment", "number", "percent", "plain", "size"]

NOTHING = "\N{EN DASH}"
"""What stands in a cell where there is no value."""


def number(value: float) -> str:
    """A number with four digits that count.

    Example:
        >>> number(0.98765), number(1234567), number(0.0000123), number(float("nan")), number(3.0)
        ('0.9877', '1,234,567', '1.23e-5', 'NaN', '3')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    if value == 0 or (value == round(value) and abs(value) < 1e15):
        return f"{value:,.0f}"
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1000:
        return f"{value:.4g}"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def percent(share: float) -> str:
    """A share of 1.

    Example:
        >>> percent(0.98765), percent(1), percent(0.0004)
        ('98.8 %', '100 %', '0.04 %')
    """
    if not math.isfinite(share):
        return number(share)
    value = 100 * share
    digits = 0 if value in (0, 100) else 1 if abs(value) >= 0.1 else 2
    return f"{value:.{digits}f} %"


def duration(seconds: float) -> str:
    """How long something took.

    Example:
        >>> duration(0.0421), duration(7.25), duration(192), duration(7380), duration(200_000)
        ('42 ms', '7.2 s', '3 min 12 s', '2 h 3 min', '2 d 7 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.001 else f"{1000 * seconds:.2g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, name, part in (
        (86_400, 3600, "d", "h"),
        (3600, 60, "h", "min"),
        (60, 1, "min", "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {name}" + (f" {rest} {part}" if rest else "")
    raise AssertionError(seconds)


def size(number_of_bytes: float) -> str:
    """How large a file is.

    Example:
        >>> size(512), size(1_234_567)
        ('512 B', '1.23 MB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while number_of_bytes >= 1000 and power < len(units) - 1:
        number_of_bytes, power = number_of_bytes / 1000, power + 1
    return f"{number_of_bytes:.3g} {units[power]}"


def moment(wall_time: float) -> str:
    """A time of day with its date, where this machine is."""
    when = datetime.fromtimestamp(wall_time).astimezone()
    return f"{when.day} {when:%B %Y, %H:%M}"


def plain(value: Any) -> str:
    """Any value of JSON in a cell.

    Example:
        >>> plain(0.5), plain(True), plain([1, 2.0]), plain("adam")
        ('0.5', 'yes', '1, 2', 'adam')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "none"
    return str(value)
