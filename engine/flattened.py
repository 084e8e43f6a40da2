"""Nested mappings as one, for places that know no nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flattened"]


def flattened(nested: Mapping[str, Any], *, prefix: str = "", by: str = ".") -> dict[str, Any]:
    """All values of nested mappings, with dots between the names, or whatever else.

    Example:
        >>> flattened({"lr": 0.1, "model": {"width": 3, "act": {}}})
        {'lr': 0.1, 'model.width': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flattened(value, prefix=f"{prefix}{name}{by}", by=by))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
