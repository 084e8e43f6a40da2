"""Values as JSON has them, which has no word for NaN and infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["strict"]


def strict(value: Any) -> Any:
    """A value with NaN and infinities as text, at any depth.

    Example:
        >>> import json
        >>> json.dumps(strict({"recall": [0.5, math.nan, -math.inf]}))
        '{"recall": [0.5, "NaN", "-Infinity"]}'
    """
    if isinstance(value, Mapping):
        return {key: strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(one) for one in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
