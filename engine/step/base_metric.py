"""Base of metrics with ``process`` and ``compute_metrics``, by the names that MMEngine has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from ..errors import nearest
from .collecting import computed

__all__ = ["BaseMetric"]

_WAYS = ("cpu", "gpu")


class BaseMetric(ABC):
    """A metric that takes in batches, and computes of what it kept of them.

    A :class:`~footplate.handlers.metrics.Metrics` drives it on an engine. No metric has to derive
    from it: any object with ``process`` and ``compute_metrics`` will do.

    Args:
        collect_device: by which memory the results of several processes travel, ``"cpu"`` or
            ``"gpu"``.
        prefix: what stands before a slash in the names of its values; the class's
            ``default_prefix`` if it is ``None``.

    Attributes:
        results: what :meth:`process` has kept; one entry a sample where there are several
            processes, so that samples that were dealt out twice are counted once.
        dataset_meta: what the data set says of itself.

    Raises:
        ValueError: for another ``collect_device``.

    Example:
        >>> class Accuracy(BaseMetric):
        ...     def process(self, data_batch, data_samples):
        ...         scores, labels = data_samples
        ...         self.results.extend(int(s == y) for s, y in zip(scores, labels))
        ...     def compute_metrics(self, results):
        ...         return {"accuracy": sum(results) / len(results)}
        >>> accuracy = Accuracy(prefix="digits")
        >>> accuracy.process(None, ([3, 5], [3, 4]))
        >>> accuracy.evaluate(size=2)
        {'digits/accuracy': 0.5}
    """

    default_prefix: str | None = None

    def __init__(self, collect_device: str = "cpu", prefix: str | None = None) -> None:
        if collect_device not in _WAYS:
            raise ValueError(
                f"{type(self).__name__}: collect_device is 'cpu' or 'gpu', given "
                f"{collect_device!r}.{nearest(str(collect_device), _WAYS)}"
            )
        self.collect_device = collect_device
        self.prefix = prefix or self.default_prefix
        self.results: list[Any] = []
        self.dataset_meta: Mapping[str, Any] | None = None

    @abstractmethod
    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep in ``results`` what is needed of a batch.

        Args:
            data_batch: the batch as the loader gave it.
            data_samples: what the step put out for it.
        """

    @abstractmethod
    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """The values by name.

        Args:
            results: those of all processes, on the host.
        """

    def evaluate(self, size: int) -> dict[str, Any]:
        """Compute over all processes, and forget the results; all processes have to call this.

        An engine calls it at the end of an epoch; outside of one, call it behind the last batch.

        Args:
            size: samples in the data set.

        Returns:
            the values by name, the same on all processes.
        """
        return computed(self, size)
