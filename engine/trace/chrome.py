"""A timeline as a file that https://ui.perfetto.dev and ``chrome://tracing`` show."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from .timeline import Kind, Row, Timeline

__all__ = ["write_chrome_trace"]

_NUMBERED = {Kind.EPOCH: "epoch", Kind.DATA: "iteration", Kind.STEP: "iteration"}


def write_chrome_trace(timeline: Timeline, path: Path, *, remarks: list[str]) -> None:
    """Write the spans that a timeline kept, nested as they were.

    Source: the complete events of "Trace Event Format", by the authors of Chromium.

    Args:
        timeline: one that is finished.
        path: the file; what is there is replaced.
        remarks: what to say of the whole in the file.

    Example:
        >>> timeline = Timeline()
        >>> timeline.begin()
        >>> timeline.close(timeline.open(timeline.row(("train",), Kind.STEP, "step"), 7))
        >>> timeline.finish()
        >>> write_chrome_trace(timeline, Path("trace.json"), remarks=[])
        >>> written = json.loads(Path("trace.json").read_text())
        >>> [(one["name"], one["args"]) for one in written["traceEvents"] if one["ph"] == "X"]
        [('step', {'engine': 'train', 'iteration': 7})]
    """
    place = {"pid": os.getpid(), "tid": threading.get_native_id()}
    outermost = next((row.engines[0] for row in timeline.rows()), "nothing")
    names = {"process_name": f"footplate: {outermost}", "thread_name": outermost}
    heads: dict[int, str] = {}
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms",\n"traceEvents":[\n')
        named = ({"name": key, "ph": "M", **place, "args": {"name": n}} for key, n in names.items())
        file.write(",\n".join(map(_compact, named)))
        for row, number, began, took in timeline.spans():
            if row.number not in heads:
                heads[row.number] = _head(row, place)
            numbered = f',"{_NUMBERED[row.kind]}":{number}' if row.kind in _NUMBERED else ""
            # three digits behind the point are nanoseconds, so that nothing is rounded
            times = f'"ts":{began / 1000:.3f},"dur":{took / 1000:.3f}'
            file.write(f",\n{heads[row.number]}{numbered}}},{times}}}")
        file.write(f'\n],\n"otherData":{_compact(_about(timeline, remarks))}}}\n')


def _head(row: Row, place: dict[str, int]) -> str:
    """What all spans of a row begin with, its arguments not yet closed."""
    event = {"event": row.event} if row.event else {}
    arguments = {"engine": " > ".join(row.engines), **event}
    head = {"name": row.what, "cat": row.kind.value, "ph": "X", **place, "args": arguments}
    return _compact(head)[:-2]


def _about(timeline: Timeline, remarks: list[str]) -> dict[str, Any]:
    return {
        "began": timeline.began.isoformat() if timeline.began else None,
        "seconds": timeline.nanoseconds / 1e9,
        "spans_kept": len(timeline),
        "spans_left_out": timeline.left_out,
        "remarks": remarks,
    }


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
