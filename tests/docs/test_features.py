"""Each row of docs/features.md is shown by tests, and each has a function that carries it."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.library import FILES
from tests.features.emptied.sitecustomize import empty
from tests.features.entry_points import ENTRY_POINTS
from tests.features.rows import marked_tests, rows, slow_tests


def test_every_row_has_a_marked_test() -> None:
    assert rows().keys() - marked_tests().keys() == set()


def test_every_row_is_shown_by_a_quick_test() -> None:
    slow = slow_tests()
    assert [row for row, tests in marked_tests().items() if all(map(slow.get, tests))] == []


def test_every_mark_has_its_row() -> None:
    assert marked_tests().keys() - rows().keys() == set()


def test_ids_are_counted_without_a_gap() -> None:
    by_letter: dict[str, list[int]] = {}
    for one in rows():
        by_letter.setdefault(one[0], []).append(int(one[1:]))
    assert {letter: list(range(1, len(of) + 1)) for letter, of in by_letter.items()} == by_letter


def test_every_row_has_an_entry_point() -> None:
    assert list(ENTRY_POINTS) == list(rows())


@pytest.mark.parametrize("row", ENTRY_POINTS)
def test_entry_points_are_functions_of_the_library(row: str) -> None:
    for entry in ENTRY_POINTS[row]:
        module, name = entry.split(":")
        tree = ast.parse(FILES[f"footplate.{module}"].read_text())
        before = ast.unparse(tree)
        empty(tree, name)
        assert ast.unparse(tree) != before, entry
