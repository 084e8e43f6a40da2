"""Docstrings: everybody has one, and the public ones say all of it and show it at work.

Public is what the reference shows (docs/reference/): its modules are listed there by hand, and
everything that a page or a recipe imports has to be among them. The rest of what a module lists in
``__all__`` is for the other rooms of the house; it has to be documented, but need have no example.

Excused are names that another library defines, as pytorch-ignite's events, which its own pages
describe; and, from describing arguments, protocols, which nobody calls.
"""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import footplate
from tests.architecture.library import FILES, ROOT

REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))  # not imported: no module stays
SHOWN = REFERENCE["shown"]()
PUBLIC = {f"{one.module}.{name}": one for one in SHOWN for name in one.names}
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
RECIPES = [file for file in (ROOT / "recipes").glob("*.py") if "\n__all__" not in file.read_text()]

IMPORT = re.compile(r"^\s*from (footplate[\w.]*) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^(?:Args|Attributes):\n((?:(?: {4}.*)?\n?)*)", re.MULTILINE)
DESCRIBED = re.compile(r"^ {4}([\w*]+(?:, [\w*]+)*):", re.MULTILINE)


def listed() -> Iterator[tuple[str, Any]]:
    """Every class and function that a module defines and lists, by its true name."""
    for module in map(import_module, FILES):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if is_callable(value) and value.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", value


def is_callable(value: object) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def public() -> Iterator[tuple[str, Any]]:
    """Every public class and function of this library's own."""
    for name, one in PUBLIC.items():
        value = getattr(one.loaded, name.rpartition(".")[2])
        if is_callable(value) and getattr(value, "__module__", "footplate").startswith("footplate"):
            yield name, value


OWN = dict(public())


def own_methods(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class has of its own under a public name, be it called or read."""
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", value)  # of a class method or a static one
        if not name.startswith("_") and (
            inspect.isfunction(function) or isinstance(value, property)
        ):
            yield name, function


def docstrings(value: Any) -> Iterator[str]:
    """That of a function; those of a class and of its methods."""
    yield value.__doc__ or ""
    if inspect.isclass(value):
        yield from (method.__doc__ or "" for _, method in own_methods(value))


def test_everything_that_a_module_lists_says_what_it_is() -> None:
    silent = [name for name, value in listed() if not (value.__doc__ or "").strip()]
    assert silent == []


def test_every_public_method_says_what_it_does() -> None:
    silent = [
        f"{name}.{method}"
        for name, value in listed()
        if inspect.isclass(value)
        for method, function in own_methods(value)
        if not (function.__doc__ or "").strip()
    ]
    assert silent == []


@pytest.mark.parametrize("name", OWN)
def test_a_public_name_is_shown_at_work(name: str) -> None:
    value = OWN[name]
    parser = doctest.DocTestParser()
    examples = [one for text in docstrings(value) for one in parser.get_examples(text)]
    run = [one for one in examples if not one.options.get(doctest.SKIP)]
    assert run, f"{name} needs an example that runs: >>> in its docstring, or in a method's"


@pytest.mark.parametrize("name", OWN)
def test_what_a_public_name_takes_is_described(name: str) -> None:
    value = OWN[name]
    parameters = [] if getattr(value, "_is_protocol", False) else taken(value)
    text = inspect.cleandoc(value.__doc__ or "")
    sections = "".join(SECTION.findall(text))
    described = {
        one.strip(" *") for found in DESCRIBED.findall(sections) for one in found.split(",")
    }
    if len(parameters) > 1 or described:  # one alone is told by the first line
        assert [one for one in parameters if one not in described] == []


def taken(value: Any) -> list[str]:
    """The parameters that a caller may give."""
    makes = inspect.isclass(value) and "__init__" not in vars(value)
    if makes and not dataclasses.is_dataclass(value):
        return []
    names = inspect.signature(value).parameters
    return [name for name in names if not name.startswith("_")]


def test_every_name_of_the_facade_is_public() -> None:
    homes = {name.rpartition(".")[2] for name in PUBLIC}
    assert [name for name in footplate.__all__ if name != "__version__" and name not in homes] == []


def imported_by(code: str) -> dict[str, object]:
    """What a piece of code imports from this library, by where it is from."""
    return {
        f"{module}.{name}": getattr(import_module(module), name)
        for module, several, line in IMPORT.findall(code)
        for name in re.split(r",\s*", re.sub(r"#.*", "", several or line).strip().rstrip(","))
    }


def not_public(code: str) -> list[str]:
    known = {id(getattr(one.loaded, name.rpartition(".")[2])) for name, one in PUBLIC.items()}
    return [name for name, value in imported_by(code).items() if id(value) not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_imports_is_public(page: Path) -> None:
    assert not_public("".join(PYTHON.findall(page.read_text()))) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_what_a_recipe_imports_is_public(recipe: Path) -> None:
    """It is there to be copied, so that it may import other recipes besides."""
    others = tuple(f"footplate.recipes.{one.stem}." for one in RECIPES)
    assert [name for name in not_public(recipe.read_text()) if not name.startswith(others)] == []
