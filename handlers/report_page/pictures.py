"""What was shown during a run: the last picture, histogram, text or table of each name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ...engine.data.png import data_uri
from .line_chart import HEIGHT, WIDTH
from .markup import Markup, scrolled, tag
from .run import Run, Shown
from .wording import number, plain, size

__all__ = ["pictures"]

_MOST = 24
_LARGEST = 4_000_000  # bytes of a file that is taken into the page
_ALL = 24_000_000  # bytes of all of them
_ROWS = 60


def pictures(run: Run) -> Markup | None:
    """Figures of what was shown last under each name; ``None`` where nothing was."""
    last = {(one.kind, one.name): one for one in run.shown if one.kind in _KINDS}
    if run.environment:
        last.pop(("table", "environment"), None)  # it has a place of its own
    figures: list[Markup] = []
    left_out, taken = [], 0
    for one in sorted(last.values(), key=lambda one: list(_KINDS).index(one.kind)):
        length = one.file.stat().st_size
        if length > _LARGEST or taken + length > _ALL or len(figures) == _MOST:
            left_out.append(f"{one.name} ({size(length)})")
        elif (body := _read(_KINDS[one.kind], one)) is not None:
            taken += length
            figures.append(_figure(one, body))
    if not figures:
        return None
    more = f"Left out for their size or number: {', '.join(left_out)}." if left_out else ""
    note = tag("p", more, class_="note") if more else None
    return tag("div", tag("div", figures, class_="pictures"), note)


def _figure(one: Shown, body: Markup) -> Markup:
    hint = tag("span", f"iteration {one.step:,}", class_="hint")
    wide = " wide" if one.kind in ("text", "table") else ""
    caption = tag("figcaption", tag("h3", one.name), hint)
    return tag("figure", caption, body, class_=f"panel picture{wide}")


def _read(show: Callable[[Shown], Markup | None], one: Shown) -> Markup | None:
    try:
        return show(one)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None  # half of a file, or another's


def _image(one: Shown) -> Markup | None:
    content = one.file.read_bytes()
    if not content.startswith(b"\x89PNG"):
        return None
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    kind = "pixels" if max(width, height) <= 128 else None
    return tag("img", src=data_uri(content), alt=one.name, class_=kind)


def _text(one: Shown) -> Markup:
    return tag("pre", one.file.read_text(encoding="utf-8", errors="replace"), tabindex=0)


def _table(one: Shown) -> Markup | None:
    found = json.loads(one.file.read_text(encoding="utf-8"))
    columns, rows = found["columns"], found["rows"]
    head = tag("tr", [tag("th", plain(name), scope="col") for name in columns])
    body = [tag("tr", [tag("td", plain(cell)) for cell in row]) for row in rows[:_ROWS]]
    more = len(rows) - _ROWS
    note = (
        tag("p", f"{more} more rows are in {one.file.name}.", class_="note") if more > 0 else None
    )
    table = tag("table", tag("thead", head), tag("tbody", body), class_="numbers")
    return tag("div", scrolled(table, "table"), note)


def _histogram(one: Shown) -> Markup | None:
    found: Mapping[str, Any] = json.loads(one.file.read_text(encoding="utf-8"))
    counts, edges = found["counts"], found["edges"]
    most = max(counts, default=0)
    if not most or not all(map(math.isfinite, edges)):
        return None
    width = WIDTH / len(counts)
    bars = "".join(
        f"M{round(place * width)} {HEIGHT}v{-round(HEIGHT * count / most)}h{round(width) - 4}"
        f"V{HEIGHT}z"
        for place, count in enumerate(counts)
        if count
    )
    drawing = tag(
        "svg",
        tag("title", f"{one.name}: {sum(counts):,} values from {edges[0]:.4g} to {edges[-1]:.4g}"),
        tag("path", d=bars, class_="bars"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        class_="c1",
    )
    ends = [tag("span", number(edges[0])), tag("span", number(edges[-1]))]
    lost = found.get("not_finite")
    note = tag("p", f"{lost} values are no finite numbers.", class_="note") if lost else None
    return tag("div", drawing, tag("div", ends, class_="ends"), note, class_="histogram")


_KINDS: dict[str, Callable[[Shown], Markup | None]] = {
    "image": _image,
    "figure": _image,
    "histogram": _histogram,
    "table": _table,
    "text": _text,
}
