"""Scalars over time: read from a run's folder, smoothed, and thinned out to what can be seen."""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Drawn", "Gap", "Scalars", "Series", "drawn", "read_scalars", "smoothed"]

_HEAD = frozenset(("engine", "on", "step", "epoch", "wall_time"))

Point = tuple[float, float]


@dataclass
class Series:
    """One scalar of one engine.

    Attributes:
        engine: the engine's name.
        name: the scalar's.
        steps, epochs, values: of each point, as read; values may be NaN or infinite.
    """

    engine: str
    name: str
    steps: array[float] = field(default_factory=lambda: array("d"))
    epochs: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, epoch: float, value: float) -> None:
        """Add a point; what stood at this step or behind it was written before a resume."""
        while self.steps and self.steps[-1] >= step:
            for column in (self.steps, self.epochs, self.values):
                column.pop()
        self.steps.append(step)
        self.epochs.append(epoch)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The last value."""
        return self.values[-1]

    @property
    def is_sparse(self) -> bool:
        """Whether there is hardly more than a point an epoch, so that each is worth a dot."""
        return len(self) <= len(set(self.epochs)) + 1

    def best(self, way: str) -> int | None:
        """Where the greatest or least finite value stands; the first of several."""
        finite = [place for place, value in enumerate(self.values) if math.isfinite(value)]
        if not finite:
            return None
        sign = 1 if way == "max" else -1
        return max(finite, key=lambda place: (sign * self.values[place], -place))


@dataclass
class Scalars:
    """All scalars of a run.

    Attributes:
        series: by engine and name, in the order in which they came.
        epochs: by engine, the step at which each epoch ended.
        times: when something was logged, in seconds since 1970, in the order of the file.
        torn: how many lines could not be read.
    """

    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    epochs: dict[str, dict[int, float]] = field(default_factory=dict)
    times: array[float] = field(default_factory=lambda: array("d"))
    torn: int = 0


def read_scalars(path: Path) -> Scalars:
    """Read ``scalars.jsonl``, also while it is being written; a missing file has no scalars."""
    found = Scalars()
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    _take(found, row)
                except (
                    ArithmeticError,
                    AttributeError,
                    LookupError,
                    RecursionError,
                    TypeError,
                    ValueError,
                ):
                    found.torn += bool(line.strip())
    return found


def _take(found: Scalars, row: dict[str, Any]) -> None:
    engine, step = str(row.get("engine", "engine")), float(row["step"])
    epoch = float(row.get("epoch") or 0)
    if row.get("on") == "epoch":
        found.epochs.setdefault(engine, {})[int(epoch)] = step
    if "wall_time" in row:
        found.times.append(float(row["wall_time"]))
    for name, value in row.items():
        if name in _HEAD or not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if (one := found.series.get((engine, name))) is None:
            one = found.series[engine, name] = Series(engine, name)
        one.add(step, epoch, float(value))


# ---------------------------------------------------------------------- what is drawn of them


@dataclass(frozen=True)
class Gap:
    """Where there are values that are no finite numbers.

    Attributes:
        begin, end: the steps of the first and the last of them.
        count: how many there are.
    """

    begin: float
    end: float
    count: int


@dataclass(frozen=True)
class Drawn:
    """What is left of a series when it is drawn.

    Attributes:
        lines: runs of points, broken where a value is no finite number.
        gaps: these places.
    """

    lines: list[list[Point]]
    gaps: list[Gap]

    @property
    def points(self) -> list[Point]:
        """All points, in order."""
        return [point for line in self.lines for point in line]


def drawn(steps: Sequence[float], values: Sequence[float], buckets: int = 600) -> Drawn:
    """Thin a series out: of each bucket of steps the first and last points, the least and the most.

    So peaks stay, and so do places without a finite number, however short.

    Args:
        steps: in order.
        values: as many.
        buckets: how many to make of them, at most.

    Example:
        >>> drawn([1, 2, 3, 4], [5.0, float("nan"), 6.0, 7.0])
        Drawn(lines=[[(1, 5.0)], [(3, 6.0), (4, 7.0)]], gaps=[Gap(begin=2, end=2, count=1)])
        >>> drawn(range(100_000), [0.0] * 99_999 + [9.0], 10).points[-1]
        (99999, 9.0)
    """
    lines: list[list[Point]] = [[]]
    gaps: list[Gap] = []
    for start, stop in _ranges(steps, buckets):
        finite = [place for place in range(start, stop) if math.isfinite(values[place])]
        lines[-1].extend((steps[place], values[place]) for place in _telling(finite, values))
        if len(finite) < stop - start:
            bad = [p for p in range(start, stop) if not math.isfinite(values[p])]
            count, begin = len(bad), steps[bad[0]]
            if gaps and not lines[-1]:  # it goes on
                count, begin = count + gaps[-1].count, gaps.pop().begin
            elif lines[-1]:
                lines.append([])
            gaps.append(Gap(begin, steps[bad[-1]], count))
    return Drawn([line for line in lines if line], gaps)


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of the finite values around each one; NaN stays where it is.

    Example:
        >>> smoothed([0.0, 3.0, 6.0, float("nan"), 9.0], 3)
        [1.5, 3.0, 4.5, nan, 9.0]
    """
    sums, counts = [0.0], [0]
    for value in values:
        finite = math.isfinite(value)
        sums.append(sums[-1] + (value if finite else 0.0))
        counts.append(counts[-1] + finite)
    half, found = window // 2, []
    for place, value in enumerate(values):
        reach = min(half, max(place, 0), len(values) - 1 - place) if half else 0
        reach = max(reach, min(half, 1))  # at the ends, at least one neighbour
        low, high = max(place - reach, 0), min(place + reach + 1, len(values))
        count = counts[high] - counts[low]
        found.append((sums[high] - sums[low]) / count if math.isfinite(value) else math.nan)
    return found


def _ranges(steps: Sequence[float], buckets: int) -> Iterator[tuple[int, int]]:
    """Places from and to, of equal width in steps; one each where there are few."""
    if len(steps) <= 2 * buckets:
        yield from ((place, place + 1) for place in range(len(steps)))
        return
    width = (steps[-1] - steps[0]) / buckets
    start = 0
    for number in range(1, buckets + 1):
        last = number == buckets
        stop = len(steps) if last else bisect_left(steps, steps[0] + number * width, start)
        if stop > start:
            yield start, stop
            start = stop


def _telling(places: Sequence[int], values: Sequence[float]) -> Iterable[int]:
    if len(places) < 5:
        return places
    least, most = min(places, key=values.__getitem__), max(places, key=values.__getitem__)
    return sorted({places[0], least, most, places[-1]})
