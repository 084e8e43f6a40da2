"""Tables of facts about a run: checkpoints, event plan, time by handler, config, environment."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...engine.flattened import flattened
from .markup import Markup, scrolled, style, tag
from .run import Checkpoint, Run
from .wording import NOTHING, duration, number, percent, plain, size

__all__ = ["checkpoints", "facts", "plan", "trace"]

_LINES = 14  # of a trace


def facts(values: Mapping[str, Any]) -> Markup | None:
    """Plain values by name, nested ones with dots."""
    rows = [
        tag("div", tag("dt", name), tag("dd", plain(value)))
        for name, value in flattened(values).items()
    ]
    return tag("dl", rows, class_="facts panel") if rows else None


def checkpoints(run: Run) -> Markup | None:
    """What is saved: where it stands, how good it is, and whether a run can go on from it."""
    if not run.checkpoints:
        return None
    scores = [one.manifest.get("score") for one in run.checkpoints]
    best = max((s for s in scores if isinstance(s, (int, float))), default=None)
    measured = (run.compared_by or "").partition(" ")[2] or "score"
    heads = ("checkpoint", "iteration", "epoch", measured, "size", "resumable")
    rows = [_checkpoint(one, measured, best) for one in run.checkpoints]
    return _table(heads, rows, "numbers wide")


def plan(run: Run) -> Markup | None:
    """Who runs on which event, as the engine described it when the run began."""
    given = run.record.get("plan")
    rows = [
        (engine, row)
        for engine, told in (given if isinstance(given, Mapping) else {}).items()
        for row in (told if isinstance(told, list) else [])
        if isinstance(row, Mapping)
    ]
    if not rows:
        return None
    columns = ("event", "order", "handler", "filter", "priority", "source")
    lines = [
        tag(
            "tr",
            tag("td", tag("span", engine, class_="engine")),
            [tag("td", _cell(name, row.get(name)), class_=f"is-{name}") for name in columns],
        )
        for engine, row in rows
    ]
    search = tag(
        "input",
        type="search",
        placeholder="filter by event, handler, priority …",
        aria_label="filter the event plan",
        class_="filter",
    )
    count = tag("summary", f"{len(rows)} handlers of {_events(rows)} events")
    table = _table(("engine", *columns), lines, "plan")
    return tag("details", count, search, table, class_="panel fold")


def trace(run: Run) -> Markup | None:
    """What took the time, handler by handler."""
    if run.trace is None or run.trace.seconds <= 0:
        return None
    whole = run.trace.seconds
    shown, others = run.trace.lines[:_LINES], run.trace.lines[_LINES:]
    rows = [
        tag(
            "tr",
            tag("th", _what(line.name, line.event), scope="row"),
            tag("td", tag("span", line.engine, class_="engine")),
            tag("td", line.kind, class_="extra"),
            tag("td", _bar(line.seconds / whole), class_="bar"),
            tag("td", duration(max(line.seconds, 0.0))),
            tag("td", duration(max(line.seconds, 0.0) / line.calls), class_="extra"),
            tag("td", number(line.calls), class_="extra"),
        )
        for line in shown
    ]
    rest = sum(line.seconds for line in others)
    notes = list(run.trace.remarks)
    if others:
        notes.append(f"{len(others)} more lines take {percent(rest / whole)} together.")
    heads = ("what", "engine", "kind", "share", "time", "per call", "calls")
    return tag(
        "div",
        _table(heads, rows, "numbers wide trace", extra=("kind", "per call", "calls")),
        [tag("p", sentence, class_="note") for sentence in notes],
    )


# ---------------------------------------------------------------------- parts


def _table(
    heads: Sequence[str], rows: Sequence[Markup], kind: str, extra: Collection[str] = ()
) -> Markup:
    """A table, some of whose columns are left out where there is little room."""
    columns = [
        tag("th", one, scope="col", class_="extra" if one in extra else None) for one in heads
    ]
    head = tag("thead", tag("tr", columns))
    return scrolled(tag("table", head, tag("tbody", rows), class_=kind), "table", "panel")


def _checkpoint(one: Checkpoint, measured: str, best: float | None) -> Markup:
    manifest = one.manifest
    score, exact = manifest.get("score"), manifest.get("exact", True)
    value = _mapping(manifest.get("metrics")).get(measured)
    is_best = best is not None and score == best
    reason = f"after {manifest['error']}" if manifest.get("error") else "for inspection"
    return tag(
        "tr",
        tag(
            "th",
            one.name,
            tag("span", "best", class_="mark") if is_best else None,
            tag("span", "kept", class_="mark plain") if manifest.get("kept") is True else None,
            scope="row",
        ),
        tag("td", _number(manifest.get("iteration"))),
        tag("td", _number(manifest.get("epoch"))),
        tag("td", _number(score if value is None else value)),
        tag("td", size(one.bytes)),
        tag("td", "exactly" if exact is True else f"no, {reason}"),
    )


def _number(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) else NOTHING


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _cell(name: str, value: Any) -> Any:
    """A source by its last two parts: the rest is the same for most, and long."""
    told = plain(value) if value not in (None, "") else ""
    if name != "source" or not told:
        return told
    return tag("span", "/".join(told.split("/")[-2:]), title=told)


def _events(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
    return len({(engine, row.get("event")) for engine, row in rows})


def _what(name: str, event: str) -> list[Markup | str]:
    return [name, tag("em", f" {event}")] if event else [name]


def _bar(share: float) -> list[Markup]:
    share = share if math.isfinite(share) else 0.0
    return [tag("i", style=style(v=max(share, 0.0))), tag("span", percent(max(share, 0.0)))]
