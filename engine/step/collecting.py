"""What a metric with ``compute_metrics(results)`` says of the results of all processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.device import move
from ..placement.dealing import put_back
from ..placement.ranks import collected, from_first, world_size

__all__ = ["computed"]


def computed(metric: Any, size: int | None, *, who: str | None = None) -> dict[str, Any]:
    """Collect a metric's ``results`` over all processes, and have it compute of them.

    They come in the order in which a ``DistributedSampler`` deals samples out, and are cut to the
    length of the data set, as some are dealt out twice. The first process computes, on the host,
    and all get what it returns. The metric's ``results`` are empty then.

    Args:
        metric: has a list ``results``, and ``compute_metrics(results)``. ``collect_device`` says
            by which memory results travel; names get ``prefix``, else ``default_prefix``, before
            a slash.
        size: samples in the data set; ``None`` where that is not known, or each sample was dealt
            out once: then nothing is cut.
        who: what the metric is called in errors.

    Raises:
        TypeError: if it does not return values by name.
        ValueError: if there are so many results that they can't be one a sample.

    Example:
        >>> class Mean:
        ...     default_prefix = "digits"
        ...     results = [1, 2, 3]
        ...     def compute_metrics(self, results):
        ...         return {"mean": sum(results) / len(results)}
        >>> computed(Mean(), 3)
        {'digits/mean': 2.0}
    """
    who = f"a {type(metric).__name__}" if who is None else who
    results, way = move(metric.results, "cpu"), getattr(metric, "collect_device", "cpu")
    shares = collected(results, by=way)

    def compute() -> dict[str, Any]:
        everything = results if world_size() == 1 else _dealt(shares or [], size, who)
        return _named(metric, metric.compute_metrics(everything), who)

    values = from_first(compute, by=way)
    metric.results.clear()
    return values


def _named(metric: Any, values: Any, who: str) -> dict[str, Any]:
    """What a metric has computed, under its prefix."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{who}: compute_metrics() returned {values!r:.80}; it returns values by name."
        )
    prefix = getattr(metric, "prefix", None) or getattr(metric, "default_prefix", None)
    return {f"{prefix}/{name}" if prefix else name: one for name, one in values.items()}


def _dealt(shares: list[list[Any]], size: int | None, who: str) -> list[Any]:
    """The results of all processes in the order of the data set, each sample's once."""
    everything = put_back(shares)
    if size is None:
        return everything
    if len(everything) >= size + len(shares):  # at most one a process but the first fills up
        raise ValueError(
            f"{who} has {len(everything)} results of {size} samples; those of samples that "
            f"were dealt out twice can't be told. Append one entry a sample in process(), or deal "
            f"each sample out once, by ordered_loader(dataset, batch_size, rank=rank(), "
            f"world_size=world_size(), even=False)."
        )
    return everything[:size]
