"""The rooms of the house, and what they import of each other, read from the source.

A folder of the library is a room, and the folders within it are parts of the room. The files that
lie on a floor itself are a room as well; those of the engine are its core.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path

ROOT = Path(__file__).parents[1]
LIBRARY = run_path(str(ROOT / "tests" / "architecture" / "library.py"))

FLOORS = {
    "recipes": "compositions, configuration, the command line, scripts to copy",
    "handlers": "one concern a file, each attached to events",
    "engine": "the loop, and all that a step, data, places and checkpoints need",
}
"""The floors from the uppermost down, and what each is for."""

CORE, FILES = "core", "files"


@dataclass
class Room:
    """A room: its files, its parts, and what they import.

    Attributes:
        floor: the floor that it is on.
        name: what it is called there.
        files: how many there are, those of its parts included.
        parts: files by part.
        takes: imports by floor and room.
        libraries: what it imports from outside as it is imported itself, but for Python's own.
    """

    floor: str
    name: str
    files: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    takes: Counter[tuple[str, str]] = field(default_factory=Counter)
    libraries: set[str] = field(default_factory=set)


def rooms() -> dict[tuple[str, str], Room]:
    """Every room by floor and name."""
    found: dict[tuple[str, str], Room] = {}
    files = {name: file for name, file in LIBRARY["FILES"].items() if file.name != "__init__.py"}
    for module, file in files.items():
        floor, name, part = place(file)
        room = found.setdefault((floor, name), Room(floor, name))
        room.files += 1
        room.parts[part] += bool(part)
        for one in LIBRARY["imports_of"](module):
            if one.target in files:
                there = place(files[one.target])[:2]
                room.takes[there] += there != (floor, name) and not one.typing
            elif not one.lazy and not one.typing:
                room.libraries |= {one.target.partition(".")[0]} - sys.stdlib_module_names
    return found


def place(file: Path) -> tuple[str, str, str]:
    """Floor, room, and part of the room, that a file is in."""
    floor, *folders = file.relative_to(ROOT).parent.parts
    name, *parts = folders or [CORE if floor == "engine" else FILES]
    return floor, name, "/".join(parts)
