"""The library's own modules and what they import, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("engine", "handlers", "recipes")


def _files() -> dict[str, Path]:
    # Not pkgutil: the root is the package, so that would take tests/, docs/ and setup.py for parts.
    found = {"footplate": ROOT / "__init__.py"}
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(("footplate", *parts)).removesuffix(".__init__")] = file
    return found


FILES = _files()
"""Every module of the library: its file, by its true name."""

FACADES = {name for name, file in FILES.items() if file.name == "__init__.py"}


@dataclass(frozen=True)
class Import:
    """One import statement's target.

    Attributes:
        target: the module, of the library or not.
        line: where it stands.
        lazy: whether it runs inside a function.
        typing: whether only type checkers see it.
    """

    target: str
    line: int
    lazy: bool
    typing: bool


def imports_of(name: str, text: str | None = None) -> list[Import]:
    """What a module imports, in functions and behind TYPE_CHECKING too."""
    text = FILES[name].read_text() if text is None else text
    return list(_walk(ast.parse(text), name, lazy=False, typing=False))


def _walk(node: ast.AST, name: str, *, lazy: bool, typing: bool) -> Iterator[Import]:
    for target in _targets(node, name):
        yield Import(target, node.lineno, lazy, typing)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.body:
            yield from _walk(child, name, lazy=lazy, typing=True)
        children: Iterator[ast.AST] = iter(node.orelse)
    else:
        children = ast.iter_child_nodes(node)
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in children:
        yield from _walk(child, name, lazy=lazy, typing=typing)


def _targets(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(name, node.level, node.module)
        for alias in node.names:  # a name is a module's if there is one, else the base's own
            yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        given = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
        level = len(given) - len(given.lstrip("."))
        yield _absolute(name, level, given.lstrip(".")) if given else "?"


def _absolute(name: str, level: int, module: str | None) -> str:
    if not level:
        return module or ""
    package = name if name in FACADES else name.rpartition(".")[0]
    for _ in range(level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{module}" if module else package
