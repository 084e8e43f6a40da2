"""Sections of docstrings, written for people, as Sphinx can take them apart.

Names that share a line, ``min, max: the bounds.``, each get a line of their own; and the fields of
a data class, which are what it is made of, are its arguments.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

SHARED = re.compile(r"^(\s+)(\w+(?:, \w+)+): ")


def split(lines: list[str]) -> list[str]:
    """Entries of several names, once for each of them."""
    out, place = [], 0
    while place < len(lines):
        end = place + 1
        if found := SHARED.match(lines[place]):
            indent = len(found[1])
            while end < len(lines) and lines[end][: indent + 1].isspace():
                end += 1
            head, rest = lines[place][found.end() :], lines[place + 1 : end]
            for name in found[2].split(", "):
                out += [f"{found[1]}{name}: {head}", *rest]
        else:
            out.append(lines[place])
        place = end
    return out


def fields_as_arguments(kind: Any, lines: list[str]) -> list[str]:
    """Attributes of a data class, or of a named tuple, as arguments, where it tells no others."""
    made_of_fields = dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
    if inspect.isclass(kind) and made_of_fields and "Args:" not in lines:
        return ["Args:" if line == "Attributes:" else line for line in lines]
    return lines


def process(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """What autodoc calls with a docstring, ahead of napoleon."""
    lines[:] = split(fields_as_arguments(of, lines))


def skip(app: Any, what: str, name: str, of: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of named tuples, which Python documents as aliases for their numbers."""
    return True if type(of).__name__ == "_tuplegetter" else None


def setup(app: Any) -> dict[str, bool]:
    """Make it known to Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
