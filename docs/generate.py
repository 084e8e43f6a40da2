"""Writes the tables that the pages show from the code: ``python docs/generate.py``.

A table stands between ``<!-- generated: name -->`` and ``<!-- end -->``. A test keeps the pages
equal to the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from footplate.engine.events import Event, Events
from footplate.engine.lifecycle import POINTS
from footplate.engine.priority import Priority
from footplate.engine.step.events import StepEvents
from footplate.engine.stream.scalars import (
    MEDIA_LOGGED,
    METRICS_COMPUTED,
    SCALARS_LOGGED,
    VALUE_LOGGED,
)

PAGES = Path(__file__).parent
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def events() -> str:
    """Every event in the order of the loop."""
    return _events(Events)


def step_events() -> str:
    """Every event of a step, in its order."""
    return _events(StepEvents)


def _events(table: Iterable[Event]) -> str:
    return _table(
        ("event", "fires", "hands over", "counted by"),
        (
            (
                f"`{event}`",
                event.doc,
                _listed(event.payload or ()),
                f"`state.{event.counter}`" if event.counter else "its own count",
            )
            for event in table
        ),
    )


def points() -> str:
    """Every life-cycle point, spelled for the engine named ``train`` where it has a role."""
    return _table(
        ("method", "is", "of", "hands over"),
        (
            (
                f"`{point.pattern.format(role='train')}`",
                f"`{point.event}`",
                "the engine named `train`" if "{role}" in point.pattern else "any engine",
                _listed((*(point.event.payload or ()), *point.values)),
            )
            for point in POINTS
        ),
    )


def priorities() -> str:
    """The named priorities."""
    return _table(("name", "number"), ((f"`{one.name}`", str(one.value)) for one in Priority))


def logging_events() -> str:
    """Every event by which numbers and pictures travel."""
    return _events((VALUE_LOGGED, METRICS_COMPUTED, SCALARS_LOGGED, MEDIA_LOGGED))


TABLES = {
    "events": events,
    "step_events": step_events,
    "logging_events": logging_events,
    "points": points,
    "priorities": priorities,
}


def fill(page: str) -> str:
    """A page with its tables as they should be."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


if __name__ == "__main__":
    for file in PAGES.glob("*.md"):
        file.write_text(fill(file.read_text()))
