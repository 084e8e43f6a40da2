"""Draws the loop of an engine from its source: ``python docs/loop_picture.py``.

The methods of :class:`footplate.engine.loop.Loop` are read in the order in which they call each
other; what they fire is noted with how many of their loops it lies within. A run that is recorded
tells which events every run fires. A test keeps the picture equal to the code.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import dedent

from footplate.engine.engine import Engine
from footplate.engine.events import Events
from footplate.engine.loop import Loop

HERE = Path(__file__).parent
FILE, STYLE = HERE / "loop.svg", HERE / "diagram.css"

FRAMES = ("run()", "each epoch", "each iteration")
WORK = {"take": "batch = next(data)", "process": "output = process_function(engine, batch)"}
"""What the loop does between events, by the call that does it."""

WIDTH, ROW, EDGE, GAP, INDENT, PILL, DOCS = 760, 33, 10, 8, 24, 226, 376
ON_TOP = len(FRAMES)


@dataclass(frozen=True)
class Entry:
    """One row of the picture.

    Attributes:
        what: an event's name, or what is done between two of them.
        depth: how many loops it lies within.
    """

    what: str
    depth: int


@dataclass(frozen=True)
class Part:
    """A piece of the picture; what lies deeper is drawn later.

    Attributes:
        depth: how many loops it lies within; ``ON_TOP`` for a row.
        text: its SVG.
    """

    depth: int
    text: str


class Reading:
    """Reads the loop's methods as they call each other."""

    def __init__(self) -> None:
        source = dedent(inspect.getsource(Loop))
        functions = (node for node in ast.walk(ast.parse(source)) if hasattr(node, "args"))
        self._methods = {one.name: one for one in functions if hasattr(one, "name")}
        self._within: list[str] = []
        self._named: dict[str, str] = {}  # events by the local name of their channel

    def entries(self) -> list[Entry]:
        """What a call of ``run()`` comes by, each as often as it is written."""
        return list(self._method("_run", 0))

    def _method(self, name: str, depth: int) -> Iterator[Entry]:
        if name in self._within:
            return
        self._within.append(name)
        for statement in self._methods[name].body:
            yield from self._node(statement, depth)
        self._within.pop()

    def _node(self, node: ast.AST, depth: int) -> Iterator[Entry]:
        if isinstance(node, ast.Assign):
            self._note_names(node)
        if isinstance(node, ast.While):
            depth += 1
        for child in ast.iter_child_nodes(node):
            yield from self._node(child, depth)
        if isinstance(node, ast.Call):
            yield from self._call(node, depth)

    def _note_names(self, node: ast.Assign) -> None:
        """Names that stand for channels, as in ``a, b = channels["A"], channels["B"]``."""
        targets, values = node.targets[0], node.value
        pairs = (
            zip(targets.elts, values.elts, strict=True)
            if isinstance(targets, ast.Tuple) and isinstance(values, ast.Tuple)
            else [(targets, values)]
        )
        for target, value in pairs:
            if (event := self._event(value)) and isinstance(target, ast.Name):
                self._named[target.id] = event

    def _event(self, node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return self._named.get(node.id)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("channels"):
            return ast.literal_eval(node.slice)
        return None

    def _call(self, node: ast.Call, depth: int) -> Iterator[Entry]:
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if node.args and called.startswith("self.") and (event := self._event(node.args[0])):
            yield Entry(event, depth)
        elif name in WORK:
            yield Entry(WORK[name], depth)
        elif called.startswith("self.") and name in self._methods:
            yield from self._method(name, depth)


def in_order() -> list[Entry]:
    """The rows of the picture, each at its last place.

    The first one of some is for a run that goes on in the midst of an iteration, or ends early.
    """
    return list(dict.fromkeys(reversed(Reading().entries())))[::-1]


def in_every_run() -> set[str]:
    """The events that a run fires in which nothing unusual happens."""
    seen = set()
    engine = Engine(lambda engine, batch: None)
    for event in Events:
        engine.bus.signal(event).connect(lambda sender, **_: seen.add(sender.last_event_name))
    engine.run([1, 2], max_epochs=2)
    return seen


def picture() -> str:
    """The loop as SVG."""
    usual, parts, top = in_every_run(), [], EDGE
    frames: list[int] = []  # where each frame that is open begins
    for entry in [*in_order(), None]:
        depth = -1 if entry is None else entry.depth
        while len(frames) > depth + 1:
            parts.append(_frame(len(frames) - 1, frames.pop(), top + GAP))
            top += 2 * GAP
        while len(frames) < depth + 1:
            frames.append(top + GAP * bool(frames))
            top = frames[-1] + ROW
        if entry is not None:
            parts.append(_row(entry, top, usual))
            top += ROW
    parts.append(_legend(top + EDGE))
    drawn = "".join(part.text for part in sorted(parts, key=lambda part: part.depth))
    size = f'width="{WIDTH}" height="{top + 60}" viewBox="0 0 {WIDTH} {top + 60}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" {size} role="img" '
        f'aria-label="The loop of an engine: its events in order">\n'
        f"<style>\n{STYLE.read_text()}</style>\n{drawn}</svg>\n"
    )


def _left(depth: int) -> int:
    return EDGE + depth * INDENT


def _frame(depth: int, top: int, bottom: int) -> Part:
    """The frame of a loop, with an arrow back to its beginning."""
    left, kind = _left(depth), ("recipes", "handlers", "engine")[depth]
    width = WIDTH - EDGE - 6 * depth - left
    text = (
        f'<g class="{kind}"><rect class="floor" x="{left}" y="{top}" width="{width}" '
        f'height="{bottom - top}" rx="10"/>'
        f'<text class="title" x="{left + 16}" y="{top + 22}">{FRAMES[depth]}</text>'
    )
    if depth:
        x = left + 4
        text += (
            f'<path class="arc" d="M{x + 8} {bottom - 8} Q{x} {bottom - 8} {x} {bottom - 18} '
            f'V{top + 20}"/><path class="tip" d="M{x - 4} {top + 21} l4 -9 l4 9 z"/>'
        )
    return Part(depth, text + "</g>\n")


def _row(entry: Entry, top: int, usual: set[str]) -> Part:
    left, middle = _left(entry.depth) + 16, top + ROW // 2
    event = {str(one): one for one in Events}.get(entry.what)
    if event is None:
        box = (
            f'<g class="recipes"><rect class="slab" x="{left}" y="{top + 3}" '
            f'width="{PILL + 82}" height="{ROW - 6}" rx="4"/>'
        )
        return Part(ON_TOP, f"{box}{_code(entry.what, left + 12, middle)}</g>\n")
    kind = {"iteration": "engine", "epoch": "handlers"}.get(event.counter or "", "own")
    kind, dashes = (kind, "") if entry.what in usual else ("rare", " back")
    pill = (
        f'<g class="{kind}"><rect class="room{dashes}" x="{left}" y="{top + 4}" width="{PILL}" '
        f'height="{ROW - 8}" rx="{ROW // 2 - 4}"/>{_code(entry.what, left + 14, middle)}'
    )
    says = escape(event.doc.replace("`", ""))
    return Part(
        ON_TOP, f'{pill}<text class="small" x="{DOCS}" y="{middle + 4}">{says}</text></g>\n'
    )


def _code(what: str, x: int, y: int) -> str:
    return f'<text class="code" x="{x}" y="{y + 4}">{escape(what)}</text>'


def _legend(top: int) -> Part:
    said = (
        ("engine", "counted by state.iteration"),
        ("handlers", "counted by state.epoch"),
        ("own", "has a count of its own"),
        ("rare", "fires on occasion"),
        ("recipes", "done, not fired"),
    )
    text = ""
    for number, (kind, what) in enumerate(said):
        x, y = EDGE + number % 3 * 210, top + number // 3 * 22
        shape = "slab" if kind == "recipes" else "room back" if kind == "rare" else "room"
        text += (
            f'<g class="{kind}"><rect class="{shape}" x="{x}" y="{y}" width="18" height="12" '
            f'rx="5"/><text class="small" x="{x + 25}" y="{y + 10}">{what}</text></g>'
        )
    return Part(ON_TOP, text + "\n")


if __name__ == "__main__":
    FILE.write_text(picture())
