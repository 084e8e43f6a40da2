"""No function is longer than a screen and a half."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.library import FILES, ROOT

MOST = 80
LONG = 40


def _functions() -> list[tuple[int, str]]:
    return [
        (node.end_lineno - node.lineno + 1, f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
        for file in FILES.values()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_function_is_too_long(record_property: pytest.RecordProperty) -> None:
    functions = _functions()
    assert functions
    record_property(f"functions over {LONG} lines", sum(size > LONG for size, _ in functions))
    assert [one for one in functions if one[0] > MOST] == []
