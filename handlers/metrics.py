"""Metrics: pytorch-ignite's, attached to an engine by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ignite.metrics import Metric, RunningAverage

from ..engine.engine import Engine
from ..engine.errors import StateError
from ..engine.handler import Handler

__all__ = ["Metrics"]


class Metrics(Handler):
    """Computes metrics of pytorch-ignite over the engine's output, into ``engine.state.metrics``.

    Args:
        metrics: metrics by name; each is computed over an epoch and stands in the state when
            EPOCH_COMPLETED reaches handlers of priority BELOW_NORMAL.
        running: functions of ``engine.state.output`` by name, whose exponential averages stand
            in the state after every iteration.
        alpha: weight of the past in these averages, from 0 to 1.

    Example:
        >>> import torch
        >>> from ignite.metrics import Accuracy
        >>> from footplate import Engine
        >>> evaluator = Engine(lambda engine, batch: batch, name="val")
        >>> metrics = evaluator.attach(Metrics({"accuracy": Accuracy()}))
        >>> y_pred, y = torch.eye(3), torch.tensor([0, 1, 1])
        >>> evaluator.run([(y_pred, y)]).metrics
        {'accuracy': 0.6666666666666666}
    """

    for_one_engine = True

    def __init__(
        self,
        metrics: Mapping[str, Metric] | None = None,
        *,
        running: Mapping[str, Callable[[Any], Any]] | None = None,
        alpha: float = 0.98,
    ) -> None:
        self.metrics = dict(metrics or {})
        for key, transform in (running or {}).items():
            if key in self.metrics:
                raise ValueError(f"metric {key!r} is given twice; choose another name for one.")
            self.metrics[key] = RunningAverage(output_transform=transform, alpha=alpha)
        if not self.metrics:
            raise ValueError("Metrics() was given no metric; give {name: metric}.")
        for key, metric in self.metrics.items():
            if not isinstance(metric, Metric):
                raise TypeError(
                    f"metric {key!r} is a {type(metric).__name__}; give an instance of a class of "
                    f"ignite.metrics, or a function under running=."
                )

    def on_register(self, engine: Engine) -> None:
        """Attach each metric under its name."""
        for key, metric in self.metrics.items():
            metric.attach(engine, key)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """What the metrics have accumulated so far."""
        return {key: metric.state_dict() for key, metric in self.metrics.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what the metrics have accumulated; the metrics must be the same."""
        if state.keys() != self.metrics.keys():
            raise StateError(f"the state has metrics {sorted(state)}, not {sorted(self.metrics)}.")
        for key, metric in self.metrics.items():
            metric.load_state_dict(state[key])
