"""Confusion matrices as heat maps, vectors of classes as bars, other tables as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...engine.data.png import data_uri, png
from .markup import Markup, scrolled, style, tag
from .run import Run
from .wording import NOTHING, number, percent, plain

__all__ = ["matrices"]

_CELLS = 30  # classes up to which each cell is written
_SHORT = 4  # letters of a name that stands over a narrow column
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
    shape: Any = table.get("shape")
    if value is None and _is_vector(shape):
        sides = " by ".join(map(number, shape))
        return tag("p", f"{table.get('name')}, of {sides} values, is too large.", class_="note")
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
    if any(len(row) != len(matrix) for row in matrix):
        return None
    names = [_name(place, classes) for place in range(len(matrix))]
    small, counts = len(matrix) <= _CELLS, _are_counts(matrix)
    hints = [when, *([] if counts or not _are_shares(matrix) else ["normalised"])]
    aside = tag("div", _summary(matrix), _confused(matrix, names), class_="aside")
    drawn = _heat_map(matrix, names, counts) if small else _picture(matrix, title)
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("span", " · ".join(hints), class_="hint")),
        tag("p", "true ↓ predicted →", class_="axes"),
        tag("div", drawn, aside if counts else None, class_="beside"),
        class_="panel confusion",
    )


def _are_counts(matrix: Matrix) -> bool:
    """Whether these are how often each class was taken for each."""
    return all(math.isfinite(v) and v >= 0 and v == round(v) for row in matrix for v in row)


def _are_shares(matrix: Matrix) -> bool:
    return all(0 <= v <= 1 for row in matrix for v in row if math.isfinite(v))


# ---------------------------------------------------------------------- confusion matrices


def _heat_map(matrix: Matrix, names: Sequence[str], counts: bool) -> Markup:
    """A row for each true class; of counts, what is right in one colour, mistakes in another."""
    upright = max(map(len, names)) > _SHORT
    kind = "upright" if upright else None
    columns = [tag("th", tag("span", name, title=name), scope="col", class_=kind) for name in names]
    recalls = _head("recall") if counts else None
    head = tag("tr", tag("td", class_="corner"), columns, recalls)
    most = _most(matrix)
    rows = []
    for place, (row, name) in enumerate(zip(matrix, names, strict=True)):
        whole = sum(row) if counts else most
        cells = [_cell(v, whole, not counts or place == other) for other, v in enumerate(row)]
        recall = _recall(row[place] / whole if whole else math.nan) if counts else None
        label = tag("th", tag("span", name, title=name), scope="row")
        rows.append(tag("tr", label, cells, recall))
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="heat")
    return scrolled(table, "matrix")


def _most(matrix: Matrix) -> float:
    """The greatest amount of a finite value."""
    return max((abs(v) for row in matrix for v in row if math.isfinite(v)), default=0.0)


def _head(name: str) -> Markup:
    return tag("th", name, scope="col", class_="recall")


def _cell(value: float, whole: float, right: bool) -> Markup:
    if not math.isfinite(value):
        return tag("td", NOTHING)
    share = abs(value) / whole if whole else 0.0
    depth = share if right else 0.2 + 0.8 * math.sqrt(share)  # a single mistake is to be seen
    kind = ("right" if right else "wrong") + (" deep" if depth > 0.55 else "")
    shown = "" if not value and not right else number(value)
    return tag("td", shown, class_=kind if value else None, style=style(v=depth) if value else None)


def _recall(recall: float) -> Markup:
    bar = tag("i", style=style(v=recall if math.isfinite(recall) else 0.0))
    return tag("td", bar, tag("span", percent(recall)), class_="recall")


def _picture(matrix: Matrix, title: str) -> Markup:
    """A matrix of many classes, a pixel a cell."""
    known = [[abs(value) if math.isfinite(value) else 0.0 for value in row] for row in matrix]
    counts, most = _are_counts(matrix), _most(matrix) or 1.0
    shares = [[v / ((sum(row) or 1.0) if counts else most) for v in row] for row in known]
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
