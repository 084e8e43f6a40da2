"""Scalars: the events by which they travel, which values are numbers, and how people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import Event

__all__ = [
    "MEDIA_LOGGED",
    "METRICS_COMPUTED",
    "SCALARS_LOGGED",
    "VALUE_LOGGED",
    "number_of",
    "readable",
    "scalars_of",
]

VALUE_LOGGED = Event(
    "VALUE_LOGGED",
    payload=("name", "value", "on", "weight", "bar", "to"),
    counter="iteration",
    doc="`engine.log()` was called; the value is still on its device",
)
"""Fired by ``engine.log()``."""

METRICS_COMPUTED = Event(
    "METRICS_COMPUTED",
    payload=("metrics", "on"),
    counter="iteration",
    doc='metrics by name: of a whole pass, `on="epoch"`, or of a batch or running',
)
"""Fired by whoever has put metrics into ``engine.state.metrics``.

``on`` is ``"epoch"`` where they belong to a whole pass, as an evaluation's do: they are logged with
the event at hand. It is ``"iteration"`` where there are new ones in each iteration: they are read
at the next log point, and may be tensors until then.
"""

SCALARS_LOGGED = Event(
    "SCALARS_LOGGED",
    payload=("step", "epoch", "on", "number", "scalars", "values"),
    doc="scalars were read: what is to be logged by name, and what was read by iteration",
)
"""Fired at each log point of an engine, by :class:`~footplate.handlers.scalars.Scalars`.

``on`` is ``"iteration"``, ``"epoch"`` or ``"run"``, ``number`` counts the points of an iteration,
``scalars`` are floats by name, and ``values`` are pairs of iteration and value by name.
"""

MEDIA_LOGGED = Event(
    "MEDIA_LOGGED",
    payload=("step", "epoch", "kind", "name", "value"),
    counter="iteration",
    doc="`kind` is `image`, `histogram`, `text`, `figure` or `table`",
)
"""Fired by whoever shows more than numbers; a sink takes the kinds that it has a place for."""


def scalars_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are single real numbers, in a tensor or array or not.

    Example:
        >>> scalars_of({"loss": 1, "name": "run", "confusion": [[1, 0], [0, 1]]})
        {'loss': 1.0}
    """
    numbers = {name: number_of(value) for name, value in values.items()}
    return {name: float(number) for name, number in numbers.items() if number is not None}


def readable(value: Any) -> str:
    """A value as people read it.

    Example:
        >>> readable(0.98765), readable(3), readable({"f1": 0.5}), readable(0.0000123)
        ('0.9877', '3', '{f1 0.5000}', '1.230e-05')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {readable(one)}" for key, one in value.items()) + "}"
    number = number_of(value)
    if not isinstance(number, float):
        return str(value if number is None else number)
    small_or_large = number != 0 and not 1e-3 <= abs(number) < 1e6
    return f"{number:.3e}" if small_or_large and abs(number) < float("inf") else f"{number:.4f}"


def number_of(value: Any) -> float | int | None:
    """The one real number that a value is or holds; of a tensor on a device it waits for it.

    Example:
        >>> import torch
        >>> number_of(torch.tensor([0.5])), number_of(3), number_of(torch.zeros(2)), number_of("no")
        (0.5, 3, None, None)
    """
    if hasattr(value, "ndim"):  # a tensor or an array
        count = value.numel() if hasattr(value, "numel") else value.size
        value = value.item() if count == 1 else None
    return value if isinstance(value, (int, float)) else None
