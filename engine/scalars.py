"""Scalars: which values are single numbers, and how people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .events import Event

__all__ = ["SCALARS_LOGGED", "readable", "scalars_of"]

SCALARS_LOGGED = Event(
    "SCALARS_LOGGED",
    payload=("step", "epoch", "scalars", "values"),
    doc="scalars were read: their means by name, and pairs of iteration and value",
)
"""Fired by whoever reads scalars of an engine at a log point."""


def scalars_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are single real numbers, in a tensor or array or not.

    Example:
        >>> scalars_of({"loss": 1, "name": "run", "confusion": [[1, 0], [0, 1]]})
        {'loss': 1.0}
    """
    numbers = {name: _number(value) for name, value in values.items()}
    return {name: float(number) for name, number in numbers.items() if number is not None}


def readable(value: Any) -> str:
    """A value as people read it.

    Example:
        >>> readable(0.98765), readable(3), readable({"f1": 0.5})
        ('0.9877', '3', '{f1 0.5000}')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {readable(one)}" for key, one in value.items()) + "}"
    number = _number(value)
    return (
        f"{number:.4f}" if isinstance(number, float) else str(value if number is None else number)
    )


def _number(value: Any) -> float | int | None:
    """The one real number that a value is or holds."""
    if hasattr(value, "ndim"):  # a tensor or an array
        count = value.numel() if hasattr(value, "numel") else value.size
        value = value.item() if count == 1 else None
    return value if isinstance(value, (int, float)) else None
