"""Scalars: which values are single numbers, and how people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["readable", "scalars_of"]


def scalars_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are single numbers, tensors and arrays of one number included.

    Example:
        >>> scalars_of({"loss": 1, "name": "run", "confusion": [[1, 0], [0, 1]]})
        {'loss': 1.0}
    """
    return {name: float(value) for name, value in values.items() if _is_scalar(value)}


def readable(value: Any) -> str:
    """A value as people read it.

    Example:
        >>> readable(0.98765), readable(3), readable({"f1": 0.5})
        ('0.9877', '3', '{f1 0.5000}')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {readable(one)}" for key, one in value.items()) + "}"
    if _is_scalar(value) and not isinstance(value, int):
        return f"{float(value):.4f}"
    return str(value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0
