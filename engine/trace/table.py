"""What took the time of a run, as lines that add up to the whole, and as a table of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .timeline import Kind, Row, Timeline

__all__ = ["Line", "findings", "lines", "table"]

_MOST_FOR_HANDLERS = 0.1
_MOST_FOR_DATA = 0.2


@dataclass(frozen=True)
class Line:
    """What one thing took, without what lies within it.

    Attributes:
        engines: the engine's name, behind those of the engines that it is nested in.
        kind: what it is; of the engine's own work, ``Kind.ENGINE``.
        what: its name.
        event: the event that a handler was called on; empty for all else.
        calls: how often it was; of the engine's own work, how many firings there were.
        seconds: what it took in all.
        share: that over what the whole run took.

    Example:
        >>> line = Line(("train",), Kind.HANDLER, "save", "EPOCH_COMPLETED", 10, 0.5, 0.05)
        >>> line.name, line.seconds / line.calls
        ('save · EPOCH_COMPLETED', 0.05)
    """

    engines: tuple[str, ...]
    kind: Kind
    what: str
    event: str
    calls: int
    seconds: float
    share: float

    @property
    def name(self) -> str:
        """Its name, with the event of a handler."""
        return f"{self.what} · {self.event}" if self.event else self.what


def lines(timeline: Timeline) -> list[Line]:
    """What took the time of a run.

    Args:
        timeline: one that is finished.

    Returns:
        the lines of an engine from the longest to the shortest, and behind them those of engines
        nested in it. What an engine itself took is one of them, named ``dispatch``. Their seconds
        add up to what the run took, and their shares to 1.

    Example:
        >>> timeline = Timeline()
        >>> timeline.begin()
        >>> run = timeline.open(timeline.row(("train",), Kind.ENGINE, "train"))
        >>> timeline.close(timeline.open(timeline.row(("train",), Kind.STEP, "step")))
        >>> timeline.finish()
        >>> found = lines(timeline)
        >>> sorted(line.what for line in found), round(sum(line.share for line in found), 6)
        (['dispatch', 'step'], 1.0)
    """
    of: dict[tuple[str, ...], dict[Row | None, list[Row]]] = {}
    for row in timeline.rows():
        own = row.kind in (Kind.ENGINE, Kind.EPOCH, Kind.EVENT)
        of.setdefault(row.engines, {}).setdefault(None if own else row, []).append(row)
    whole = timeline.nanoseconds
    return [
        line
        for engines in _outer_first(of)
        for line in sorted(
            (_line(engines, row, rows, whole) for row, rows in of[engines].items()),
            key=lambda line: -line.seconds,
        )
    ]


def table(timeline: Timeline) -> str:
    """The lines of a run as people read them, engine by engine.

    Example:
        >>> print(table(Timeline()))
        nothing was traced yet
    """
    if not timeline.nanoseconds:
        return "nothing was traced yet"
    whole = f"{_readable(timeline.nanoseconds / 1e9)} in all"
    cells = [(whole, "share", "time", "per call", "calls")]
    engines: tuple[str, ...] = ()
    for line in lines(timeline):
        if line.engines != engines:
            engines = line.engines
            cells.append((_heading(timeline, engines), "", "", "", ""))
        cells.append(("  " * len(engines) + line.name, *_figures(line)))
    return "\n".join([*_aligned(cells), *left_out(timeline), *findings(timeline)])


def left_out(timeline: Timeline) -> list[str]:
    """What is not known span by span."""
    if not timeline.left_out:
        return []
    return [
        f"of {timeline.max_spans + timeline.left_out} spans the first {timeline.max_spans} were "
        f"kept one by one; the sums are of all."
    ]


def findings(timeline: Timeline) -> list[str]:
    """What takes more of the time than it should, in a line each.

    Example:
        >>> import time
        >>> timeline = Timeline()
        >>> timeline.begin()
        >>> run = timeline.open(timeline.row(("train",), Kind.ENGINE, "train"))
        >>> wait = timeline.open(timeline.row(("train",), Kind.DATA, "data wait"))
        >>> time.sleep(0.02)
        >>> timeline.finish()
        >>> [finding.partition("time, ")[2] for finding in findings(timeline)]
        ["most of it in 'train'; load in more worker processes, or keep the data in memory."]
    """
    found = lines(timeline)
    data = [line for line in found if line.kind is Kind.DATA]
    handlers = [line for line in found if line.kind is Kind.HANDLER]
    told = []
    if (share := sum(line.share for line in data)) > _MOST_FOR_DATA:
        worst = max(data, key=lambda line: line.seconds)
        told.append(
            f"The step waits for data {_percent(share)} of the time, most of it in "
            f"{worst.engines[-1]!r}; load in more worker processes, or keep the data in memory."
        )
    if (share := sum(line.share for line in handlers)) > _MOST_FOR_HANDLERS:
        worst = max(handlers, key=lambda line: line.seconds)
        told.append(
            f"Handlers take {_percent(share)} of the time, most of it {worst.what} on "
            f"{worst.event} of {worst.engines[-1]!r}: {_percent(worst.share)}."
        )
    return told


def _line(engines: tuple[str, ...], row: Row | None, rows: list[Row], whole: int) -> Line:
    own = sum(one.own for one in rows)
    seconds, share = own / 1e9, own / whole if whole else 0.0
    if row is None:
        firings = sum(one.calls for one in rows if one.kind is Kind.EVENT)
        return Line(engines, Kind.ENGINE, "dispatch", "", firings, seconds, share)
    return Line(engines, row.kind, row.what, row.event, row.calls, seconds, share)


def _outer_first(
    known: Iterable[tuple[str, ...]], outer: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Engines in the order in which they came, those nested in one right behind it."""
    known = list(known)
    for engines in known:
        if engines[:-1] == outer:
            yield engines
            yield from _outer_first(known, engines)


def _heading(timeline: Timeline, engines: tuple[str, ...]) -> str:
    depth, run = len(engines), timeline.row(engines, Kind.ENGINE, engines[-1])
    own = sum(row.own for row in timeline.rows() if row.engines[:depth] == engines)
    runs = "1 run" if run.calls == 1 else f"{run.calls} runs"
    return f"{'  ' * (depth - 1)}{engines[-1]}: {_readable(own / 1e9)} in {runs}"


def _figures(line: Line) -> tuple[str, str, str, str]:
    per_call = _readable(line.seconds / line.calls) if line.calls else ""
    return _percent(line.share), _readable(line.seconds), per_call, str(line.calls or "")


def _aligned(cells: list[tuple[str, str, str, str, str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        numbers = "".join(f"{cell:>{w + 2}}" for cell, w in zip(rest, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}{numbers}".rstrip()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{seconds / 1e-6:.3g} µs"
