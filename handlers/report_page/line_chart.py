"""A line chart as inline SVG, with its legend, its values as a table, and what a pointer needs.

The drawing is stretched to the width that there is, and all text beside it is HTML: so it stays as
large on a telephone as on a wide screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .markup import Markup, data, scrolled, style, tag
from .scales import Scale
from .series import Drawn, Series, drawn, smoothed
from .wording import NOTHING, number

__all__ = ["HEIGHT", "WIDTH", "Line", "line_chart", "sparkline"]

WIDTH, HEIGHT = 2000, 1000
"""The drawing's own units."""

_ROWS = 24  # of the table
_SMOOTH_FROM = 80  # points
_WINDOWS = 40  # of smoothing along a line
_ROUGH = 3  # times its own range, by which a line goes up and down

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: what it is called.
        colour: the name of its colour, ``"c1"`` to ``"c8"``.
        series: its values.
        mark: the place of a value to put a ring around, as the best one.
        is_mean: whether each value is a mean of another line's.
    """

    label: str
    colour: str
    series: Series
    mark: int | None = None
    is_mean: bool = False


def line_chart(
    title: str, lines: Sequence[Line], *, epochs: Sequence[tuple[float, int]] = (), note: str = ""
) -> Markup:
    """A figure of lines over the iterations.

    Args:
        title: of the figure.
        lines: what it shows.
        epochs: the steps at which epochs ended, and their numbers.
        note: what to say below it.
    """
    thinned = [drawn(one.series.steps, one.series.values) for one in lines]
    points = [point for one in thinned for point in one.points]
    x = _x_scale(lines)
    y = Scale.of((v for _, v in points), samples=[v for one in thinned for v in _evenly(one)])
    gaps = [_gap_note(one, found) for one, found in zip(lines, thinned, strict=True)]
    notes = [sentence for sentence in (*gaps, note) if sentence]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", title),
            tag("span", "logarithmic", class_="hint") if y.log else None,
        ),
        _legend(lines),
        tag(
            "div",
            _y_labels(y),
            tag(
                "div",
                _drawing(title, lines, thinned, (x, y), epochs),
                tag("div", class_="cross", hidden=True),
                tag("div", class_="tip", hidden=True, role="status"),
                class_="area",
                tabindex=0,
                role="group",
                aria_label=f"{title}: arrow keys read the values",
            ),
            _x_labels(x),
            class_="plot",
        ),
        [tag("p", sentence, class_="note") for sentence in notes],
        _table(lines),
        data(_for_pointer(lines, thinned, x, y)),
        class_="chart",
    )


def sparkline(series: Series, colour: str, mark: int | None = None) -> Markup:
    """A small line without axes."""
    thinned = drawn(series.steps, series.values, buckets=60)
    if len(thinned.points) < 2:
        return Markup()
    x = Scale(series.steps[0], max(series.steps[-1], series.steps[0] + 1))
    y = Scale.of(value for _, value in thinned.points)
    best = None if mark is None else _dot(x, y, (series.steps[mark], series.values[mark]), "end")
    return tag(
        "svg",
        tag("path", d=_path(x, y, thinned.lines), class_="line"),
        best,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        class_=f"spark {colour}",
        aria_hidden="true",
    )


# ---------------------------------------------------------------------- the drawing


def _drawing(
    title: str,
    lines: Sequence[Line],
    thinned: Sequence[Drawn],
    axes: tuple[Scale, Scale],
    epochs: Sequence[tuple[float, int]],
) -> Markup:
    x, y = axes
    told = "; ".join(_told(one) for one in lines)
    return tag(
        "svg",
        tag("title", f"{title} over iterations. {told}"),
        [_rule(*_across(y, value), "grid") for value, _ in y.ticks()],
        [_rule(*_up(x, step), "epoch") for step, _ in _few_epochs(epochs, x)],
        [_gap(x, found, one.colour) for one, found in zip(lines, thinned, strict=True)],
        [_line(x, y, one, found) for one, found in zip(lines, thinned, strict=True)],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
    )


def _line(x: Scale, y: Scale, line: Line, thinned: Drawn) -> Markup:
    series = line.series
    parts = []
    if _is_rough(thinned, y) and len(series) >= _SMOOTH_FROM:
        parts.append(tag("path", d=_path(x, y, thinned.lines), class_="raw"))
        means = drawn(series.steps, _means(series, y), buckets=300)
        level = Scale(y.bent(y.low), y.bent(y.high))
        parts.append(tag("path", d=_path(x, level, means.lines), class_="line"))
    else:
        kind = "line mean" if line.is_mean else "line"
        parts.append(tag("path", d=_path(x, y, thinned.lines), class_=kind))
    if series.is_sparse and len(thinned.points) <= 60:
        dots = "".join(f"M{_at(x, y, point)}h0" for point in thinned.points)
        parts.append(tag("path", d=dots, class_="dots"))
    if line.mark is not None:
        point = (series.steps[line.mark], series.values[line.mark])
        parts += [_dot(x, y, point, "ring"), _dot(x, y, point, "core")]
    return tag("g", parts, class_=line.colour)


def _is_rough(thinned: Drawn, y: Scale) -> bool:
    """Whether a line goes up and down so much that its mean tells more."""
    values = [y.bent(value) for _, value in thinned.points]
    way = sum(abs(after - before) for before, after in pairwise(values))
    return bool(values) and way > _ROUGH * (max(values) - min(values))


def _means(series: Series, y: Scale) -> list[float]:
    """Values in the axis's measure, smoothed there: a peak on a log axis does not lift them all."""
    known = (not y.log or value > 0 for value in series.values)
    bent = [y.bent(v) if ok else math.nan for v, ok in zip(series.values, known, strict=True)]
    return smoothed(bent, max(3, len(series) // _WINDOWS))


def _path(x: Scale, y: Scale, lines: Iterable[Sequence[Point]]) -> str:
    parts = []
    for line in lines:
        seen = [point for point in line if not y.log or point[1] > 0]
        parts.append("".join(f"{'L' if i else 'M'}{_at(x, y, p)}" for i, p in enumerate(seen)))
    return "".join(parts)


def _at(x: Scale, y: Scale, point: Point) -> str:
    """A point in the drawing's units; one far off the axis stays within reach."""
    across = round(WIDTH * x.position(point[0]))
    down = round(HEIGHT * (1 - min(max(y.position(point[1]), -9.0), 9.0)))
    return f"{across} {down}"


def _dot(x: Scale, y: Scale, point: Point, kind: str) -> Markup:
    return tag("path", d=f"M{_at(x, y, point)}h0", class_=kind)


def _across(y: Scale, value: float) -> tuple[str, str]:
    down = round(HEIGHT * (1 - y.position(value)))
    return f"0 {down}", f"H{WIDTH}"


def _up(x: Scale, step: float) -> tuple[str, str]:
    return f"{round(WIDTH * x.position(step))} 0", f"V{HEIGHT}"


def _rule(start: str, end: str, kind: str) -> Markup:
    return tag("path", d=f"M{start}{end}", class_=kind)


def _gap(x: Scale, thinned: Drawn, colour: str) -> list[Markup]:
    """Bands where values are no finite numbers."""
    bands = []
    for one in thinned.gaps:
        left, right = (WIDTH * x.position(step) for step in (one.begin, one.end))
        middle, width = (left + right) / 2, max(right - left, 12.0)
        bands.append(
            tag(
                "rect",
                tag("title", f"{one.count} values are no finite numbers"),
                x=round(min(max(middle - width / 2, 0), WIDTH - width)),
                y=0,
                width=round(width),
                height=HEIGHT,
                class_=f"gap {colour}",
            )
        )
    return bands


# ---------------------------------------------------------------------- what stands beside it


def _legend(lines: Sequence[Line]) -> Markup:
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("i", class_=_key(one)),
                tag("span", one.label),
                tag("b", number(one.series.last)),
                None if one.mark is None else _best(one.series.values[one.mark]),
                class_=one.colour,
            )
            for one in lines
        ],
        class_="legend",
    )


def _key(line: Line) -> str:
    dotted = " dotted" if line.series.is_sparse else ""
    return f"key{dotted} mean" if line.is_mean else f"key{dotted}"


def _best(value: float) -> Markup:
    return tag("em", tag("i", class_="circle"), f"best {number(value)}")


def _y_labels(y: Scale) -> Markup:
    return tag(
        "div",
        [tag("span", text, style=style(at=y.position(value))) for value, text in y.ticks()],
        class_="y",
        aria_hidden="true",
    )


def _x_labels(x: Scale) -> Markup:
    ticks = [tick for tick in x.ticks(6) if x.low <= tick[0] <= x.high]
    labels = [tag("span", text, style=style(at=x.position(value))) for value, text in ticks]
    return tag("div", labels, class_="x", aria_hidden="true")


def _table(lines: Sequence[Line]) -> Markup:
    sparse = [one.series for one in lines if one.series.is_sparse]
    steps = sorted({step for one in sparse or [lines[0].series] for step in one.steps})
    every = math.ceil(len(steps) / _ROWS)
    shown = steps[::-1][::every][::-1]
    columns = [dict(zip(one.series.steps, one.series.values, strict=True)) for one in lines]
    head = tag("tr", tag("th", "iteration", scope="col"), [_head(one.label) for one in lines])
    rows = [
        tag(
            "tr",
            tag("th", number(step), scope="row"),
            [tag("td", number(column[step]) if step in column else NOTHING) for column in columns],
        )
        for step in shown
    ]
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="numbers")
    return tag("details", tag("summary", "Values"), scrolled(table, "values"), class_="values")


def _head(label: str) -> Markup:
    return tag("th", label, scope="col")


def _for_pointer(
    lines: Sequence[Line], thinned: Sequence[Drawn], x: Scale, y: Scale
) -> dict[str, object]:
    def points(found: Drawn) -> list[list[object]]:
        return [[step, number(v), round(1 - y.position(v), 3)] for step, v in found.points]

    return {
        "x": [x.low, x.high],
        "lines": [
            {"label": one.label, "colour": one.colour, "points": points(found)}
            for one, found in zip(lines, thinned, strict=True)
        ],
    }


# ---------------------------------------------------------------------- parts


def _x_scale(lines: Sequence[Line]) -> Scale:
    first = min(one.series.steps[0] for one in lines)
    last = max(one.series.steps[-1] for one in lines)
    first = 0.0 if first <= 0.2 * last else first
    return Scale(first, last if last > first else first + 1)


def _evenly(thinned: Drawn) -> list[float]:
    """Some of the values, so that a long series does not outvote a short one."""
    values = [value for _, value in thinned.points]
    return [values[round(i * (len(values) - 1) / 99)] for i in range(100)] if values else []


def _few_epochs(epochs: Sequence[tuple[float, int]], x: Scale) -> list[tuple[float, int]]:
    inside = [(step, epoch) for step, epoch in epochs if x.low < step < x.high]
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if len(inside) / n <= 20)
    return [(step, epoch) for step, epoch in inside if epoch % every == 0]


def _gap_note(line: Line, thinned: Drawn) -> str:
    if not thinned.gaps:
        return ""
    count = sum(one.count for one in thinned.gaps)
    where = [
        number(one.begin) if one.begin == one.end else f"{number(one.begin)} to {number(one.end)}"
        for one in thinned.gaps
    ]
    listed = ", ".join(where[:4]) + (f" and {len(where) - 4} more" if len(where) > 4 else "")
    values = "1 value is" if count == 1 else f"{count:,} values are"
    return f"{line.label}: {values} no finite numbers, at iteration {listed}."


def _told(line: Line) -> str:
    series = line.series
    return f"{line.label}: {number(series.values[0])} at first, {number(series.last)} at last"
