"""What the pages that tell where things are name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs" / "how_to").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
NAMED = re.compile(r"`((?:engine|handlers|recipes|tests|docs)/[\w./-]*)`")
PROGRAM = re.compile(r"python -m (tests(?:\.\w+)+)")


def missing(text: str) -> list[str]:
    """Files, folders and programs of this repository that a text names and that are not there."""
    programs = (f"{name.replace('.', '/')}" for name in PROGRAM.findall(text))
    places = [name for name in NAMED.findall(text) if "NAME" not in name and "_build" not in name]
    return [name for name in places if not (ROOT / name).exists()] + [
        name
        for name in programs
        if not (ROOT / f"{name}.py").exists() and not (ROOT / name / "__main__.py").exists()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text()) == []


def test_what_is_not_there_is_seen() -> None:
    text = "`engine/bus.py`, `engine/buss.py`, `docs/`, `handlers/NAME.py`: python -m tests.gone"
    assert missing(text) == ["engine/buss.py", "tests/gone"]
