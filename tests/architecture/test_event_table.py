"""The tables in the docs say what the code says."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from footplate.engine.events import Events
from footplate.engine.lifecycle import POINTS
from tests.architecture.library import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))  # not imported: no module stays


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_what_the_code_says(page: Any, generate: dict[str, Any]) -> None:
    text = page.read_text()
    assert text == generate["fill"](text), "run: python docs/generate.py"


def test_every_table_is_shown_once(generate: dict[str, Any]) -> None:
    shown = [name for page in PAGES for _, name, _ in generate["MARKED"].findall(page.read_text())]
    assert sorted(shown) == sorted(generate["TABLES"])


def test_every_event_and_point_is_in_its_table(generate: dict[str, Any]) -> None:
    rows = generate["TABLES"]["events"]().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [str(event) for event in Events]
    assert all(event.doc and event.payload is not None for event in Events)
    assert len(generate["TABLES"]["points"]().splitlines()) == len(POINTS) + 2
