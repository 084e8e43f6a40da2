"""Draws the house from its imports: ``python docs/house.py``.

The rooms of a floor stand side by side, and arcs lead from each to those beside it that it imports;
what it takes from the floors below, and from outside, is written into it. A test keeps the picture
equal to the code.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from itertools import permutations
from pathlib import Path
from runpy import run_path
from typing import Any

HERE = Path(__file__).parent
FILE, STYLE = HERE / "house.svg", HERE / "diagram.css"
ROOMS = run_path(str(HERE / "rooms.py"))  # not imported: the tests run this file by its path
FLOORS, CORE, FILES = ROOMS["FLOORS"], ROOMS["CORE"], ROOMS["FILES"]
Room = Any  # a Room of rooms.py

WIDTH, EDGE, SIDE, GAP, STEP = 816, 8, 16, 10, 34
CHIP, LINE, RISE = 21, 14, 9  # how high are a part, a line of text, an arc from room to room
LETTER = 5.9  # how wide a letter of small text is at most, about


def picture() -> str:
    """The house as SVG, floor by floor."""
    found, top, parts, edges = ROOMS["rooms"](), EDGE, [], {}
    for floor, purpose in FLOORS.items():
        text, bottom = Floor(floor, purpose, found).drawn(top)
        parts.append(text)
        edges[floor] = (top, bottom)
        top = bottom + STEP
    parts.append(_stairs(found, edges))
    parts.append(_remark(top - STEP + 22))
    height = top - STEP + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" width="{WIDTH}" '
        f'height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="The house: rooms, and what they import">\n'
        f"<style>\n{STYLE.read_text()}</style>\n{''.join(parts)}</svg>\n"
    )


class Floor:
    """One floor: its rooms side by side, and the core below them where it has one.

    Args:
        name: the floor's folder.
        purpose: what it is for.
        found: all rooms.
    """

    def __init__(self, name: str, purpose: str, found: dict[tuple[str, str], Room]) -> None:
        self.name, self.purpose = name, purpose
        self.core = found.get((name, CORE))
        rooms = [one for one in found.values() if one.floor == name and one is not self.core]
        # a few hundred orders: a floor has six rooms or so
        self.rooms = min(permutations(sorted(rooms, key=lambda one: one.name)), key=led_back)
        self.wide = (WIDTH - SIDE - 2 * EDGE - GAP) / len(self.rooms) - GAP

    def drawn(self, top: int) -> tuple[str, int]:
        """The floor as SVG, and where it ends."""
        forth, back = self._arcs(+1), self._arcs(-1)
        deep = max(map(self._depth, self.rooms))
        begin = top + 30 + (RISE * max((b - a for a, b in forth), default=0) + 12) * bool(forth)
        end = begin + deep + 8
        bottom = end + (RISE * max((a - b for a, b in back), default=0) + 12) * bool(back) + 4
        text = "".join(self._room(number, begin, deep) for number in range(len(self.rooms)))
        text += self._drawn_arcs(forth, begin, -1) + self._drawn_arcs(back, begin + deep, +1)
        if self.core is not None:
            text += self._slab(bottom + 18, begin + deep)
            bottom += 18 + 44
        return (
            f'<g class="{self.name}"><rect class="floor" x="{EDGE}" y="{top}" '
            f'width="{WIDTH - SIDE - 2 * EDGE}" height="{bottom - top + 8}" rx="10"/>'
            f'<text class="title" x="{EDGE + GAP}" y="{top + 21}">{self.name}/</text>'
            f'<text class="small" x="{EDGE + GAP + 92}" y="{top + 20}">{self.purpose}</text>'
            f"{text}</g>\n"
        ), bottom + 8

    def _depth(self, room: Room) -> int:
        """How deep a room is: its name, parts, and lines."""
        lines = len(self._lines(room)) + len(self._outside(room))
        return 50 + CHIP * len(+room.parts) + LINE * lines

    def _arcs(self, direction: int) -> list[tuple[int, int]]:
        """Pairs of rooms, of which the first imports the second, that lie in one direction."""
        numbers = {(one.floor, one.name): i for i, one in enumerate(self.rooms)}
        return [
            (i, numbers[key])
            for i, one in enumerate(self.rooms)
            for key in sorted(+one.takes)
            if key in numbers and (numbers[key] - i) * direction > 0
        ]

    def _left(self, number: int) -> float:
        return EDGE + GAP + number * (self.wide + GAP)

    def _lines(self, room: Room) -> list[str]:
        """What a room takes from the floors below, in lines that fit."""
        lines = []
        for floor in list(FLOORS)[list(FLOORS).index(room.floor) + 1 :]:
            names = [_label(name) for there, name in sorted(+room.takes) if there == floor]
            lines += wrapped(f"{floor}: {', '.join(names)}", self.wide - 16) if names else []
        return lines

    def _outside(self, room: Room) -> list[str]:
        """What a room takes from outside, in lines that fit."""
        return wrapped(", ".join(sorted(room.libraries - {"footplate"})), self.wide - 16)

    def _room(self, number: int, top: int, deep: int) -> str:
        room, left = self.rooms[number], self._left(number)
        text = (
            f'<rect class="room" x="{left:.1f}" y="{top}" width="{self.wide:.1f}" '
            f'height="{deep}" rx="6"/>'
            f'<text class="name" x="{left + 8:.1f}" y="{top + 18}">{_label(room.name)}</text>'
            f'<text class="small" x="{left + 8:.1f}" y="{top + 33}">{room.files} files</text>'
        )
        y = top + 40
        for part, files in sorted((+room.parts).items()):
            text += (
                f'<rect class="chip" x="{left + 6:.1f}" y="{y}" width="{self.wide - 12:.1f}" '
                f'height="{CHIP - 4}" rx="4"/><text class="small" x="{left + 12:.1f}" '
                f'y="{y + 12}">{part}</text><text class="small" '
                f'x="{left + self.wide - 11:.1f}" y="{y + 12}" text-anchor="end">{files}</text>'
            )
            y += CHIP
        outside = self._outside(room)
        y_outside = top + deep - 10 - LINE * (len(outside) - 1)
        for lines, begin, kind in (
            (self._lines(room), y + 10, "small"),
            (outside, y_outside, "small outside"),
        ):
            for line_number, line in enumerate(lines):
                text += (
                    f'<text class="{kind}" x="{left + 8:.1f}" y="{begin + LINE * line_number}">'
                    f"{escape(line)}</text>"
                )
        return text

    def _drawn_arcs(self, arcs: list[tuple[int, int]], y: int, side: int) -> str:
        """Arcs above the rooms, or below them, such that none crosses another needlessly."""
        text = ""
        for a, b in arcs:
            x, to = self._end(arcs, a, (a, b)), self._end(arcs, b, (a, b))
            peak = y + side * (RISE * abs(b - a) + 4) * 4 / 3
            text += (
                f'<path class="arc{" back" if side > 0 else ""}" d="M{x:.1f} {y} '
                f'C{x:.1f} {peak:.1f} {to:.1f} {peak:.1f} {to:.1f} {y + side * 6}"/>'
                f'<path class="tip" d="M{to - 4:.1f} {y + side * 8} h8 l-4 {-8 * side} z"/>'
            )
        return text

    def _end(self, arcs: list[tuple[int, int]], room: int, arc: tuple[int, int]) -> float:
        """Where an arc meets a room: arcs to the left at the left, the shortest at the rim."""

        def other(one: tuple[int, int]) -> int:
            return one[1] if one[0] == room else one[0]

        mine = [one for one in arcs if room in one]
        lefts = sorted((one for one in mine if other(one) < room), key=lambda o: room - other(o))
        rights = sorted((one for one in mine if other(one) > room), key=lambda o: room - other(o))
        ends = lefts + rights
        return self._left(room) + self.wide * (ends.index(arc) + 1) / (len(ends) + 1)

    def _slab(self, top: int, rooms_end: int) -> str:
        """The core, on which all rooms stand, and what it looks up in them when it is asked to."""
        core = self.core
        assert core is not None
        outside = ", ".join(sorted(core.libraries))
        text = ""
        for number, room in enumerate(self.rooms):
            if (room.floor, room.name) in +core.takes:
                x = self._left(number) + 14
                text += (
                    f'<path class="arc back" d="M{x:.1f} {top} V{rooms_end + 8}"/>'
                    f'<path class="tip" d="M{x - 4:.1f} {rooms_end + 8} h8 l-4 -8 z"/>'
                )
        return (
            f'{text}<rect class="slab" x="{EDGE + GAP}" y="{top}" '
            f'width="{WIDTH - SIDE - 2 * EDGE - 2 * GAP}" height="36" rx="6"/>'
            f'<text class="name" x="{EDGE + GAP + 10}" y="{top + 23}">*.py, the core</text>'
            f'<text class="small" x="{EDGE + GAP + 120}" y="{top + 22}">events, bus, state, loop: '
            f"all rooms stand on it; it needs {outside} and the standard library</text>"
            f'<text class="small" x="{WIDTH - SIDE - EDGE - GAP - 10}" y="{top + 22}" '
            f'text-anchor="end">{core.files} files</text>'
        )


def _label(name: str) -> str:
    return "*.py" if name == FILES else name


def led_back(order: Sequence[Room]) -> tuple[int, int]:
    """How many imports an order of rooms leads back, and how far all of them go."""
    places = {(one.floor, one.name): number for number, one in enumerate(order)}
    spans = [
        (places[key] - number, count)
        for number, one in enumerate(order)
        for key, count in one.takes.items()
        if key in places
    ]
    back = sum(count for span, count in spans if span < 0)
    return back, sum(abs(span) for span, count in spans if count)


def wrapped(text: str, width: float) -> list[str]:
    """A text in lines of small letters that fit into a width."""
    return textwrap.wrap(text, int(width / LETTER))


def _stairs(found: dict[tuple[str, str], Room], edges: dict[str, tuple[int, int]]) -> str:
    """An arrow from each floor to those below that it imports; one upwards is refused.

    Raises:
        ValueError: if a floor imports one above.
    """
    text, floors = "", list(FLOORS)
    for upper, lower in sorted({(r.floor, there) for r in found.values() for there, _ in +r.takes}):
        down = floors.index(lower) - floors.index(upper)
        if down < 0:
            raise ValueError(f"{upper}/ imports {lower}/, which is above it.")
        if down == 1:
            x, y, to = (WIDTH - SIDE) // 2, edges[upper][1] + 3, edges[lower][0] - 3
            text += (
                f'<path class="down" d="M{x} {y} V{to - 8}"/>'
                f'<path class="down tip" d="M{x - 5} {to - 8} h10 l-5 8 z"/>'
                f'<text class="small" x="{x + 14}" y="{(y + to) // 2 + 4}">{upper} import '
                f"{lower}, never the other way</text>"
            )
        elif down:
            x, y, to = WIDTH - SIDE - EDGE + 2, sum(edges[upper]) // 2, sum(edges[lower]) // 2
            text += (
                f'<path class="down" d="M{x} {y} h6 q6 0 6 6 V{to - 6} q0 6 -6 6 h-1"/>'
                f'<path class="down tip" d="M{x + 6} {to - 5} v10 l-8 -5 z"/>'
            )
    return text + "\n"


def _remark(y: int) -> str:
    return (
        f'<text class="small" x="{EDGE}" y="{y}">Arcs lead from a room to one that it imports; '
        f"dashed ones lead back; file by file there is no circle. Italics: from outside.</text>\n"
    )


if __name__ == "__main__":
    FILE.write_text(picture())
