"""Means and statistics over the processes of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..stream.history import History, Statistic, Sums
from .ranks import alike, gathered, summed, world_size

__all__ = ["Totals", "means_over_ranks", "statistics_over_ranks"]

Totals = dict[str, tuple[float, float]]
"""Weighted sums and sums of weights, by name."""


def means_over_ranks(totals: Totals, *, point: str) -> dict[str, float]:
    """Means by name, over all processes; a process may lack names that others have.

    Args:
        totals: this process's.
        point: where the run stands, which all processes have to agree on.

    Raises:
        RuntimeError: if the processes stand at different points.

    Example:
        >>> means_over_ranks({"loss": (6.0, 4.0)}, point="iteration 50")
        {'loss': 1.5}
    """
    if world_size() > 1:
        told_alike = alike("\n".join((point, *totals)))
        totals = _summed(totals) if told_alike else _joined(totals, point)
    return {
        name: total / weight if weight else math.nan for name, (total, weight) in totals.items()
    }


def _summed(totals: Totals) -> Totals:
    """Sums over processes that have the same names: one reduction, whatever their number."""
    sums = iter(summed([number for pair in totals.values() for number in pair]))
    return dict(zip(totals, zip(sums, sums, strict=True), strict=True))


def _joined(totals: Totals, point: str) -> Totals:
    """Sums over processes that may lack names that others have, which all have to hear of."""
    told = gathered((point, totals))
    if len(points := {other for other, _ in told}) > 1:
        raise RuntimeError(
            f"the processes log at different points: {', '.join(sorted(points))}; give each "
            f"as many batches as the others."
        )
    joined: Totals = {}
    for _, theirs in told:
        for name, (total, weight) in theirs.items():
            before = joined.get(name, (0.0, 0.0))
            joined[name] = before[0] + total, before[1] + weight
    return joined


def statistics_over_ranks(
    history: History, statistics: Mapping[str, Statistic]
) -> dict[str, float]:
    """Statistics by name, of the scalars that were read in all processes.

    The last value is the mean of their last ones.

    Args:
        history: the scalars that this process has read.
        statistics: what is asked of which scalar, by the name that it is to have.

    Example:
        >>> history = History()
        >>> history.record("loss").extend([(1, 4.0, 1.0), (2, 2.0, 1.0), (3, 3.0, 1.0)])
        >>> asked = {"least": Statistic("loss", "min"), "latest": Statistic("loss", "mean", 2)}
        >>> statistics_over_ranks(history, asked)
        {'least': 2.0, 'latest': 2.5}
    """
    own = {name: history[one.of].sums(one) for name, one in statistics.items() if one.of in history}
    if world_size() > 1 and statistics:
        joined: dict[str, Sums] = {}
        for theirs in gathered(own):
            for name, sums in theirs.items():
                joined.setdefault(name, Sums()).join(sums)
        own = joined
    return {name: sums.value(statistics[name].method) for name, sums in own.items()}
