"""Writes down the command's surface: what it is called with.

python -m tests.golden.make_command
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from footplate.recipes.cli import main

FILE = Path(__file__).with_name("command.txt")


def surface() -> str:
    """Every command with its arguments and options, their types and defaults."""
    group: Any = typer.main.get_command(main)
    return "\n".join(_lines(group)) + "\n"


def _lines(group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        yield name
        for one in command.params:
            is_option = one.param_type_name == "option"
            written = " ".join(sorted(one.opts)) if is_option else one.name
            kind = getattr(one.type_descriptor.annotation, "__name__", "?")
            needed = "" if one.required else f" = {one.default!r}"
            yield f"  {one.param_type_name} {written}: {kind}{needed}"


if __name__ == "__main__":
    FILE.write_text(surface(), encoding="utf-8")
