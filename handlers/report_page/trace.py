"""A trace of a run, added up: what took the time, by what was called."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Trace", "TraceLine", "read_trace"]

_LARGEST = 200_000_000


@dataclass
class TraceLine:
    """What one thing took, without what lies within it.

    Attributes:
        engine: the engine's name, behind those of engines that it is nested in.
        kind: what it is, as ``"handler"`` or ``"step"``.
        name: what it is called.
        event: the event that a handler was called on; empty for all else.
        calls: how often.
        seconds: in all.
    """

    engine: str
    kind: str
    name: str
    event: str
    calls: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Trace:
    """A trace added up.

    Attributes:
        lines: from the longest to the shortest.
        seconds: what all of them took.
        remarks: what the file says of itself.
    """

    lines: list[TraceLine]
    seconds: float
    remarks: list[str] = field(default_factory=list)


def read_trace(path: Path) -> Trace | None:
    """Add up a file in Chrome's trace event format; ``None`` if it holds no spans.

    Raises:
        ValueError: if it is no such file, or a very large one.
    """
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST // 10**6} MB")
    content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    events = content.get("traceEvents", []) if isinstance(content, dict) else content
    spans = [one for one in events if isinstance(one, dict) and one.get("ph") == "X"]
    lines = _added_up(sorted(spans, key=lambda one: (float(one["ts"]), -float(one["dur"]))))
    if not lines:
        return None
    about = content.get("otherData", {}) if isinstance(content, dict) else {}
    remarks = [str(one) for one in about.get("remarks", [])]
    whole = sum(line.seconds for line in lines)
    return Trace(sorted(lines, key=lambda line: -line.seconds), whole, remarks)


def _added_up(spans: list[dict[str, Any]]) -> list[TraceLine]:
    """Own times by what the spans stand for; spans nest, and come in the order of their begin."""
    lines: dict[tuple[str, ...], TraceLine] = {}
    within: list[tuple[float, TraceLine]] = []  # when each open span ends
    for span in spans:
        began, took = float(span["ts"]), float(span["dur"])
        told = span.get("args") or {}
        kind, name = str(span.get("cat", "")), str(span.get("name", ""))
        if kind in ("engine", "epoch", "event"):  # the engine's own work, as its table has it
            name, kind, event = "dispatch", "engine", ""
        else:
            event = str(told.get("event", ""))
        key = (str(told.get("engine", "")), kind, name, event)
        line = lines.setdefault(key, TraceLine(*key))
        while within and within[-1][0] <= began:
            within.pop()
        if within:
            within[-1][1].seconds -= took / 1e6
        line.calls += 1
        line.seconds += took / 1e6
        within.append((began + took, line))
    return list(lines.values())
