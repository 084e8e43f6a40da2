"""The index of the reference, and the page behind it, say what the code says."""

from __future__ import annotations

import runpy

import pytest

from tests.architecture.library import FILES, ROOT

REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))  # not imported: no module stays
SHOWN = REFERENCE["shown"]()
PAGES = ROOT / "docs" / "reference"


@pytest.mark.parametrize("page", ["index", "inside"])
def test_the_page_shows_what_the_code_says(page: str) -> None:
    text = (PAGES / f"{page}.md").read_text()
    assert text == REFERENCE["fill"](text), "run: python docs/reference.py"


def test_what_a_page_shows_is_there() -> None:
    missing = [
        f"{one.module}.{name}"
        for one in SHOWN
        for name in one.names
        if not hasattr(one.loaded, name)
    ]
    assert missing == []


def test_nothing_is_shown_twice() -> None:
    names = [f"{one.module}.{name}" for one in SHOWN for name in one.names]
    assert len(names) == len(set(names))


def test_only_listed_names_are_shown() -> None:
    unlisted = [
        f"{one.module}.{name}"
        for one in SHOWN
        for name in one.names
        if name not in one.loaded.__all__
    ]
    assert unlisted == []


def test_every_module_stands_on_one_page() -> None:
    shown = {one.module for one in SHOWN}
    behind = (PAGES / "inside.md").read_text()
    lost = [
        name
        for name, file in FILES.items()
        if file.name != "__init__.py" and name not in shown and f"`{file.name}`" not in behind
    ]
    assert lost == []
