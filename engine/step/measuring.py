"""Measuring: which kind of measure a metric makes, and what it gives as it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ignite.metrics import metric as ignite
from torch import Tensor, nn

from .ignite_measure import IgniteMeasure
from .measure import Measure
from .process_measure import ProcessMeasure
from .torch_measure import TorchMeasure
from .tracker_measure import TrackerMeasure

__all__ = ["at_hand", "measure_of"]

_TORCH = ("reset", "update", "compute")


def measure_of(name: str, metric: Any, transform: Callable[[Any], Any] | None = None) -> Measure:
    """How a metric is driven, by what it has.

    Args:
        name: what it is called.
        metric: an instance of a metric of pytorch-ignite or torchmetrics, or an object with
            ``process`` and either ``compute_metrics`` or ``evaluate``.
        transform: makes of ``engine.state.output`` what the metric is given.

    Raises:
        TypeError: for anything else, and for a class.
        ValueError: for a transform where the metric has one of its own.

    Example:
        >>> from ignite.metrics import Average
        >>> type(measure_of("loss", Average())).__name__
        'IgniteMeasure'
    """
    if isinstance(metric, type):
        raise TypeError(f"metric {name!r} is a class; give an instance: {metric.__name__}(…).")
    if isinstance(metric, ignite.Metric):  # which answers to any name
        if transform is not None:
            raise ValueError(
                f"metric {name!r} is of pytorch-ignite; give it its output_transform: "
                f"{type(metric).__name__}(output_transform=…)."
            )
        return IgniteMeasure(name, metric)
    if _can(metric, "process") and (_can(metric, "compute_metrics") or _can(metric, "evaluate")):
        return ProcessMeasure(name, metric, transform)
    if isinstance(metric, nn.Module) and all(_can(metric, one) for one in _TORCH):
        kind = TrackerMeasure if _can(metric, "increment") else TorchMeasure
        return kind(name, metric, transform)
    raise TypeError(
        f"metric {name!r} is a {type(metric).__name__}; give an instance of a metric of "
        f"pytorch-ignite or torchmetrics, an object with process() and compute_metrics(), or a "
        f"function under running=."
    )


def at_hand(value: Any) -> Any:
    """A tensor on the host; a single one, of numpy too, as a number; and so within a mapping.

    Example:
        >>> import torch
        >>> at_hand({"recall": torch.tensor(0.5), "by class": torch.ones(2)})
        {'recall': 0.5, 'by class': tensor([1., 1.])}
    """
    if isinstance(value, Mapping):
        return {name: at_hand(one) for name, one in value.items()}
    if isinstance(value, (Tensor, np.ndarray, np.generic)) and value.ndim == 0:
        return value.item()
    return value.cpu() if isinstance(value, Tensor) else value


def _can(metric: Any, method: str) -> bool:
    return callable(getattr(metric, method, None))
