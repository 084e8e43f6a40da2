"""Docstrings are taken apart for Sphinx without losing a word."""

from __future__ import annotations

import runpy
from typing import NamedTuple

from tests.architecture.library import ROOT

SECTIONS = runpy.run_path(str(ROOT / "docs" / "sections.py"))  # not imported: no module stays


class Bounds(NamedTuple):
    low: float
    high: float


def test_names_that_share_a_line_get_one_each() -> None:
    given = ["Args:", "    low, high: the least", "        and the most.", "    unit: of both."]
    assert SECTIONS["split"](given) == [
        "Args:",
        "    low: the least",
        "        and the most.",
        "    high: the least",
        "        and the most.",
        "    unit: of both.",
    ]


def test_a_sentence_with_a_comma_and_a_colon_stays() -> None:
    given = ["Each of these, one by one: a name.", "", "    First, and last of all: nothing."]
    assert SECTIONS["split"](given) == given


def test_fields_are_arguments_unless_there_are_others() -> None:
    arguments = SECTIONS["fields_as_arguments"]
    assert arguments(Bounds, ["Attributes:", "    low: one."]) == ["Args:", "    low: one."]
    both = ["Args:", "    low: one.", "Attributes:", "    mean: of them."]
    assert arguments(Bounds, both) == both
    assert arguments(object, ["Attributes:"]) == ["Attributes:"]
