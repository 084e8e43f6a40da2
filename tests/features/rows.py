"""The rows of docs/features.md, and the tests that are marked with them, without running any."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "features.md"


def rows() -> dict[str, str]:
    """What each row promises, by id, in the order of the page."""
    found = re.findall(r"^\| ([A-Z]\d+) \| (.+?) \|(?: \[.*)?$", PAGE.read_text(), re.MULTILINE)
    return dict(found)


def marked_tests() -> dict[str, list[str]]:
    """The tests that are marked with each id, by the names that pytest takes."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for test, ids in _marked(ast.parse(file.read_text())):
            for one in ids:
                found.setdefault(one, []).append(f"{file.relative_to(ROOT)}::{test}")
    return found


def slow_tests() -> dict[str, bool]:
    """The tests that are marked as slow, and whether all their cases are."""
    return {
        f"{file.relative_to(ROOT)}::{node.name}": "pytest.mark.slow" in decorators
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and (decorators := [ast.unparse(one) for one in node.decorator_list])
        and any("mark.slow" in one for one in decorators)
    }


def _marked(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    of_all = [
        one
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for one in _ids_in(node.value)
    ]
    for node in module.body:  # not what stands within: modules of Lightning have a test_step
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            own = [one for decorator in node.decorator_list for one in _ids_in(decorator)]
            yield node.name, list(dict.fromkeys(own + of_all))


def _ids_in(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.covers":
            yield from (str(ast.literal_eval(given)) for given in call.args)
