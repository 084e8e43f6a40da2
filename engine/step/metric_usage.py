"""Usages: when a metric is reset, updated and computed."""

from __future__ import annotations

from collections.abc import Callable

from ignite.metrics import metric as ignite

from ..errors import nearest

__all__ = ["usage_of"]

_USAGES: dict[str, Callable[[], ignite.MetricUsage]] = {
    "epoch": ignite.EpochWise,
    "batch": ignite.BatchWise,
    "running": ignite.SingleEpochRunningBatchWise,
    "epoch_wise": ignite.EpochWise,
    "batch_wise": ignite.BatchWise,
    "running_epoch_wise": ignite.RunningEpochWise,
    "running_batch_wise": ignite.RunningBatchWise,
    "single_epoch_running_batch_wise": ignite.SingleEpochRunningBatchWise,
}


def usage_of(given: str | ignite.MetricUsage) -> ignite.MetricUsage:
    """When a metric is reset, updated and computed.

    Args:
        given: ``"epoch"``, at the end of each epoch over its batches; ``"batch"``, over each batch
            alone; ``"running"``, after each batch over the epoch so far; or a usage of
            pytorch-ignite, or its name.

    Raises:
        ValueError: for another name.
        TypeError: for what is neither.

    Example:
        >>> usage_of("batch").STARTED.name
        'ITERATION_STARTED'
    """
    if isinstance(given, ignite.MetricUsage):
        return given
    if not isinstance(given, str):
        raise TypeError(
            f"usage is 'epoch', 'batch' or 'running', or a MetricUsage of pytorch-ignite, given "
            f"{given!r}."
        )
    if given not in _USAGES:
        raise ValueError(
            f"usage {given!r} is none of {', '.join(map(repr, _USAGES))}.{nearest(given, _USAGES)}"
        )
    return _USAGES[given]()
