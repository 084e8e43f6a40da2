"""Metrics that were computed and are not logged yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..flattened import flattened
from ..stream.names import Names
from ..stream.scalars import number_of, scalars_of
from .gathered import is_real

__all__ = ["Measured"]


class Measured:
    """Those of an engine's metrics that are one number, until they are logged.

    Args:
        names: where their names are claimed.

    Attributes:
        of_pass: metrics of a whole pass, by name.

    Example:
        >>> measured = Measured(Names())
        >>> measured.take({"accuracy": 0.5, "confusion": [[1, 0], [0, 1]]}, on="epoch")
        >>> measured.take({"speed": 3}, on="iteration")
        >>> measured.of_pass, measured.take_running()
        ({'accuracy': 0.5}, {'speed': 3.0})
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.of_pass: dict[str, float] = {}
        self._running: dict[str, Any] = {}  # which change with each iteration

    def take(self, metrics: Mapping[str, Any], on: str) -> None:
        """Take in those that are single numbers; a tensor among the running ones is not read.

        Args:
            metrics: by name; those that a mapping holds go by its name and theirs.
            on: ``"epoch"`` for those of a whole pass, ``"iteration"`` for running ones.
        """
        for name, value in _by_name(metrics).items():
            if on == "epoch":
                if (number := number_of(value)) is not None:
                    self.names.claim(name, "a metric")
                    self.of_pass[name] = float(number)
            elif isinstance(value, Tensor):  # which is read when it is logged
                if value.numel() == 1 and not value.is_complex():
                    self.names.claim(name, "a running metric")
                    self._running[name] = value
            elif _is_number(value):
                self.names.claim(name, "a running metric")
                self._running[name] = float(value)

    def take_running(self) -> dict[str, float]:
        """Read the running ones as they stand, and forget them."""
        running, self._running = scalars_of(self._running), {}
        return running

    def clear(self) -> None:
        """Forget all."""
        self.of_pass, self._running = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """What is not logged yet."""
        return {"metrics": dict(self.of_pass), "running": dict(self._running)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what is not logged yet."""
        self.of_pass, self._running = dict(state["metrics"]), dict(state["running"])


def _is_number(value: Any) -> bool:
    """Whether it is one real number, numpy's included."""
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    return is_real(value) and bool(value.size == 1)


def _by_name(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics with those that a mapping holds by name, unless they stand beside it, too.

    As those of pytorch-ignite do, with a prefix if an evaluation hands them on.
    """
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            alone = {
                inner: one
                for inner, one in value.items()
                if not any(k.endswith(str(inner)) and _is_same(one, metrics[k]) for k in metrics)
            }
            flat.update(flattened(alone, prefix=f"{name}/", by="/"))
        else:
            flat[name] = value
    return flat


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, float) and isinstance(other, float) and one == other)
