"""The page of the handlers names every one, as whoever misses something looks there first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.library import ROOT

FILES = sorted(file for file in (ROOT / "handlers").glob("*.py") if file.stem != "__init__")
PAGE = (ROOT / "docs" / "handlers.md").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_handler_stands_on_the_page(file: Path) -> None:
    kinds = re.findall(r"^class ([A-Z]\w*)(?<!Error)\b", file.read_text(), re.MULTILINE)
    assert kinds
    assert [kind for kind in kinds if not re.search(rf"\b{kind}\b", PAGE)] == []
