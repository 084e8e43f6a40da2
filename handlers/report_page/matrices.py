"""Confusion matrices as heat maps, vectors of classes as bars, other tables as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...engine.data.png import data_uri, png
from .markup import Markup, style, tag
from .run import Run
from .wording import NOTHING, number, percent, plain

__all__ = ["matrices"]

_CELLS = 30  # classes up to which each cell is written
_PAIRS = 6
_BARS = 60

Matrix = list[list[float]]


def matrices(run: Run) -> Markup | None:
    """All that was measured and is more than a number."""
    parts = [_part(one, run) for one in run.tables]
    parts = [part for part in parts if part is not None]
    return tag("div", parts, class_="stack") if parts else None


def _part(table: dict[str, Any], run: Run) -> Markup | None:
    value: Any = table.get("value")
    classes = _classes(run)
    title = str(table.get("name"))
    if table.get("engine") not in (None, run.engine):
        title = f"{table['engine']} {title}"
    when = f"epoch {table.get('epoch')}, iteration {table.get('step')}"
    if _is_vector(value):
        return _bars(title, when, value, classes) if 1 < len(value) <= _BARS else None
    if not isinstance(value, list) or len(value) < 2 or not all(map(_is_vector, value)):
        return None
    matrix: Matrix = value
    if any(len(row) != len(matrix) for row in matrix) or min(map(min, matrix)) < 0:
        return None
    names = [_name(place, classes) for place in range(len(matrix))]
    small = len(matrix) <= _CELLS
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("span", when, class_="hint")),
        tag(
            "div",
            _heat_map(matrix, names) if small else _picture(matrix, title),
            tag("div", _summary(matrix), _confused(matrix, names), class_="aside"),
            class_="beside",
        ),
        class_="panel confusion",
    )


# ---------------------------------------------------------------------- confusion matrices


def _heat_map(matrix: Matrix, names: Sequence[str]) -> Markup:
    """A row for each true class; what is right in one colour, mistakes in another."""
    columns = [tag("th", tag("span", name), scope="col") for name in names]
    head = tag("tr", tag("th", "true ↓ predicted →", class_="corner"), columns, _head("recall"))
    rows = []
    for place, (row, name) in enumerate(zip(matrix, names, strict=True)):
        whole = sum(row)
        cells = [_cell(value, whole, place == other) for other, value in enumerate(row)]
        recall = row[place] / whole if whole else math.nan
        rows.append(tag("tr", tag("th", name, scope="row"), cells, _recall(recall)))
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="heat")
    return tag("div", table, class_="scroll")


def _head(name: str) -> Markup:
    return tag("th", name, scope="col", class_="recall")


def _cell(value: float, whole: float, right: bool) -> Markup:
    share = value / whole if whole else 0.0
    depth = share if right else 0.2 + 0.8 * math.sqrt(share)  # a single mistake is to be seen
    kind = ("right" if right else "wrong") + (" deep" if depth > 0.55 else "")
    shown = "" if not value and not right else number(value)
    return tag("td", shown, class_=kind if value else None, style=style(v=depth) if value else None)


def _recall(recall: float) -> Markup:
    bar = tag("i", style=style(v=recall if math.isfinite(recall) else 0.0))
    return tag("td", bar, tag("span", percent(recall)), class_="recall")


def _picture(matrix: Matrix, title: str) -> Markup:
    """A matrix of many classes, a pixel a cell."""
    shares = [[value / (sum(row) or 1) for value in row] for row in matrix]
    grey = bytes(255 - round(255 * math.sqrt(min(share, 1))) for row in shares for share in row)
    count = len(matrix)
    source = data_uri(png(grey, count, count))
    text = f"{title}: {count} true classes from top to bottom, predicted ones from left to right"
    return tag("img", src=source, alt=text, class_="pixels")


def _summary(matrix: Matrix) -> Markup:
    right, whole = sum(row[i] for i, row in enumerate(matrix)), sum(map(sum, matrix))
    recalls = [row[i] / sum(row) for i, row in enumerate(matrix) if sum(row)]
    facts = [
        ("right", percent(right / whole) if whole else NOTHING),
        ("mean recall", percent(sum(recalls) / len(recalls)) if recalls else NOTHING),
        ("least recall", percent(min(recalls)) if recalls else NOTHING),
    ]
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    return tag("dl", rows, class_="few")


def _confused(matrix: Matrix, names: Sequence[str]) -> Markup | None:
    pairs = sorted(
        ((v, a, b) for a, row in enumerate(matrix) for b, v in enumerate(row) if v and a != b),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    if not pairs:
        return tag("p", "Not one mistake.", class_="note")
    lines = [
        tag("li", tag("b", names[a]), " taken for ", tag("b", names[b]), tag("em", number(v)))
        for v, a, b in pairs[:_PAIRS]
    ]
    return tag("div", tag("h4", "Most often confused"), tag("ol", lines, class_="pairs"))


# ---------------------------------------------------------------------- vectors


def _bars(title: str, when: str, values: Sequence[float], classes: Sequence[str]) -> Markup:
    finite = [abs(value) for value in values if math.isfinite(value)]
    most = max(finite, default=0.0) or 1.0
    most = 1.0 if 0.3 < most <= 1 else most
    rows = [
        tag(
            "li",
            tag("span", _name(place, classes)),
            tag("i", style=style(v=abs(value) / most if math.isfinite(value) else 0.0)),
            tag("b", number(value)),
        )
        for place, value in enumerate(values)
    ]
    caption = tag("figcaption", tag("h3", title), tag("span", when, class_="hint"))
    return tag("figure", caption, tag("ol", rows, class_="bars"), class_="panel")


# ---------------------------------------------------------------------- parts


def _is_vector(value: Any) -> bool:
    numbers = isinstance(value, list) and value != []
    return numbers and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


def _classes(run: Run) -> list[str]:
    given = run.record.get("classes")
    return [plain(one) for one in given] if isinstance(given, list) else []


def _name(place: int, classes: Sequence[str]) -> str:
    return classes[place] if place < len(classes) else str(place)
