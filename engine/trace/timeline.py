"""A timeline: what took how long within what, in all and span by span.

Spans nest like the calls that they stand for. A span's own time is what it took less what the
spans within it took, so that own times add up to the whole.
"""

from __future__ import annotations

import enum
import sys
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import get_ident
from time import perf_counter_ns
from typing import Any, Final

__all__ = ["NEVER", "Kind", "Row", "Timeline"]

NEVER: Final = sys.maxsize
"""Where a span stands that was not opened; to close it does nothing."""


class Kind(enum.StrEnum):
    """What a span stands for.

    Example:
        >>> Kind.DATA == "data wait"
        True
    """

    ENGINE = "engine"
    EPOCH = "epoch"
    DATA = "data wait"
    STEP = "step"
    PART = "part of the step"
    EVENT = "event"
    HANDLER = "handler"


_LEVELS = {Kind.EPOCH: 0, Kind.DATA: 1, Kind.STEP: 1, Kind.PART: 2}


class Row:
    """The spans of one kind and name, added up.

    Attributes:
        engines: the engine's name, behind those of the engines that it is nested in.
        kind: what the spans stand for.
        what: the receiver's, event's, engine's or phase's name.
        event: the event that a handler was called on; empty for all else.
        calls: how many spans there were.
        own: nanoseconds that they took, less those of the spans within.
        level: how deep a phase lies within an engine, which ends when another event says so; -1
            for what ends by itself.
        number: its place among the rows of the timeline.

    Example:
        >>> timeline = Timeline()
        >>> row = timeline.row(("train", "val"), Kind.HANDLER, "save", "COMPLETED")
        >>> row.engines, row.what, row.event, row.calls
        (('train', 'val'), 'save', 'COMPLETED', 0)
    """

    __slots__ = ("calls", "engines", "event", "kind", "level", "number", "own", "what")

    def __init__(
        self, engines: tuple[str, ...], kind: Kind, what: str, event: str, number: int
    ) -> None:
        self.engines = engines
        self.kind = kind
        self.what = what
        self.event = event
        self.number = number
        self.level = _LEVELS.get(kind, -1)
        self.calls = self.own = 0


class Timeline:
    """Adds up spans, and keeps the first of them one by one.

    Args:
        max_spans: how many spans to keep; of those behind only sums are known.

    Attributes:
        left_out: how many spans were not kept.
        began: when it began, in UTC.
        nanoseconds: how long its outermost spans took.

    Example:
        >>> timeline = Timeline()
        >>> timeline.begin()
        >>> run = timeline.open(timeline.row(("train",), Kind.ENGINE, "train"))
        >>> step = timeline.open(timeline.row(("train",), Kind.STEP, "step"), 1)
        >>> timeline.close(step)
        >>> timeline.finish()
        >>> [(row.what, row.calls) for row in timeline.rows()]
        [('train', 1), ('step', 1)]
        >>> sum(row.own for row in timeline.rows()) == timeline.nanoseconds
        True
    """

    def __init__(self, max_spans: int = 200_000) -> None:
        self.max_spans = max_spans
        self.left_out = 0
        self.began: datetime | None = None
        self.nanoseconds = 0
        self._rows: dict[tuple[tuple[str, ...], str, str, str], Row] = {}
        self._thread = 0  # no thread has this number
        self._origin = 0
        # each: row, begin, time of spans within, and place among the spans kept, or -1
        self._open: list[list[Any]] = []  # lists, as what lies within is added up in place
        # in arrays of their full size, as many small objects would slow the garbage collector
        self._kept = 0
        self._which, self._numbers, self._begins, self._lengths = (
            array(code, bytes(array(code).itemsize * max_spans)) for code in "LLqq"
        )

    # ------------------------------------------------------------------ recording

    @property
    def here(self) -> bool:
        """Whether spans of this thread are recorded now."""
        return self._thread == get_ident()

    def row(self, engines: tuple[str, ...], kind: Kind, what: str, event: str = "") -> Row:
        """The row of spans of this kind and name, made if there is none yet."""
        key = (engines, kind, what, event)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(engines, kind, what, event, len(self._rows))
        return row

    def begin(self) -> None:
        """Forget what was recorded, and record what this thread does."""
        for row in self._rows.values():
            row.calls = row.own = 0
        self._open.clear()
        self._kept = self.left_out = self.nanoseconds = 0
        self.began = datetime.now(UTC)
        self._thread = get_ident()
        self._origin = perf_counter_ns()

    def open(self, row: Row, number: int = 0) -> int:
        """Begin a span, if this thread is recorded.

        Args:
            row: what it stands for.
            number: the epoch's or iteration's, where it stands for one.

        Returns:
            what :meth:`close` is to be given.
        """
        if self._thread != get_ident():
            return NEVER
        place, spans = self._kept, self._open
        depth = len(spans)
        if place < self.max_spans:
            self._kept = place + 1
            self._which[place] = row.number
            self._numbers[place] = number
            began = self._begins[place] = perf_counter_ns()
            spans.append([row, began, 0, place])
        else:
            self.left_out += 1
            spans.append([row, perf_counter_ns(), 0, -1])
        return depth

    def close(self, depth: int) -> None:
        """End a span, and those within it that are still open."""
        ended, spans = perf_counter_ns(), self._open
        while len(spans) > depth:
            row, began, within, place = spans.pop()
            took = ended - began
            row.calls += 1
            row.own += took - within
            if place >= 0:
                self._lengths[place] = took
            if spans:
                spans[-1][2] += took
            else:
                self.nanoseconds += took

    def end_phase(self, row: Row) -> None:
        """End a phase, if it is open and nothing but phases of its engine lies within it."""
        for depth in range(len(self._open) - 1, -1, -1):
            one = self._open[depth][0]
            if one is row:
                self.close(depth)
            if one is row or one.level < 0 or one.engines != row.engines:
                return

    def end_phases(self, engines: tuple[str, ...], level: int) -> None:
        """End the phases of an engine that lie as deep as ``level`` or deeper."""
        depth = len(self._open)
        while depth:
            row = self._open[depth - 1][0]
            if row.level < level or row.engines != engines:
                break
            depth -= 1
        if depth < len(self._open):
            self.close(depth)

    def finish(self) -> None:
        """End what is open, and record no more; does nothing if that is so already."""
        if self._thread:
            self.close(0)
            self._thread = 0

    # ------------------------------------------------------------------ reading

    def rows(self) -> list[Row]:
        """The rows that have spans, in the order in which they were made."""
        return [row for row in self._rows.values() if row.calls]

    def __len__(self) -> int:
        """How many spans were kept."""
        return self._kept

    def spans(self) -> Iterator[tuple[Row, int, int, int]]:
        """The spans that were kept, in the order in which they began.

        Returns:
            row, number of the epoch or iteration, and in nanoseconds when it began, from the
            timeline's beginning, and how long it took.
        """
        rows = list(self._rows.values())
        for place in range(self._kept):
            yield (
                rows[self._which[place]],
                self._numbers[place],
                self._begins[place] - self._origin,
                self._lengths[place],
            )
