"""Who may import whom: recipes -> handlers -> engine, never back, and never in a circle."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.library import FACADES, FILES, ROOMS, ROOT, Import, imports_of

IMPORT_NAMES = {"pytorch-ignite": "ignite"}
"""Distributions that are imported by another name than they are installed by."""

TORCH_ALLOWED = re.compile(r"footplate\.engine\.(step|placement|data|random|checkpoints)\b")
"""The parts of engine/ that are about tensors; the rest is the core."""


def _room(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def _required() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    names = re.findall(r"^[\w-]+", setup["options"]["install_requires"].strip(), re.MULTILINE)
    return {IMPORT_NAMES.get(name, name) for name in names}


def _is_ours(target: str) -> bool:
    return target.split(".")[0] == "footplate"


def goes_back(name: str, one: Import) -> bool:
    """An import of a room above."""
    if name == "footplate" or not _is_ours(one.target):
        return False
    if not _room(one.target):
        return _room(name) != "recipes"
    return ROOMS.index(_room(one.target)) > ROOMS.index(_room(name))


def joins_handlers(name: str, one: Import) -> bool:
    """A handler's import of another handler; a folder below handlers/ is the inside of one."""
    if one.target.count(".") > 2:
        return False
    both = _room(name) == _room(one.target) == "handlers" and _is_ours(one.target)
    return both and name not in FACADES


def uses_a_facade(name: str, one: Import) -> bool:
    """An import of a façade in place of the module itself.

    Recipes are scripts to copy, and import as anybody does who copies them.
    """
    return _room(name) != "recipes" and name not in FACADES and one.target in FACADES


def weighs_down_the_core(name: str, one: Import) -> bool:
    """A core module's import of anything but blinker and the standard library."""
    if _room(name) != "engine" or TORCH_ALLOWED.match(name):
        return False
    return one.target.split(".")[0] not in {*sys.stdlib_module_names, "blinker", "footplate"}


def needs_an_extra(name: str, one: Import) -> bool:
    """An import, when the module is loaded, of a library that need not be installed.

    Recipes import what their data need.
    """
    if _room(name) == "recipes" or one.lazy or one.typing:
        return False
    return one.target.split(".")[0] not in {*sys.stdlib_module_names, "footplate", *REQUIRED}


REQUIRED = _required()
RULES = [goes_back, joins_handlers, uses_a_facade, weighs_down_the_core, needs_an_extra]


def _broken(rule: Callable[[str, Import], bool]) -> Iterator[str]:
    for name, file in FILES.items():
        for one in imports_of(name):
            if rule(name, one):
                yield f"{file.relative_to(ROOT)}:{one.line} imports {one.target}"


def _circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("rule", RULES)
def test_nothing_breaks_the_rule(rule: Callable[[str, Import], bool]) -> None:
    assert list(_broken(rule)) == [], rule.__doc__


def test_there_are_no_circles() -> None:
    graph = {
        name: {one.target for one in imports_of(name) if not one.typing} & FILES.keys()
        for name in FILES
    }
    assert _circle(graph) == []


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (goes_back, "footplate.engine.bus", "from ..handlers.console import Console"),
        (goes_back, "footplate.handlers.x", "def f():\n    import footplate.recipes.y"),
        (goes_back, "footplate.handlers.x", "from .. import Engine"),
        (joins_handlers, "footplate.handlers.x", "def f():\n    from .y import Y"),
        (uses_a_facade, "footplate.handlers.x", "from ..engine import Engine"),
        (uses_a_facade, "footplate.engine.x", "import_module('footplate.engine')"),
        (weighs_down_the_core, "footplate.engine.x", "if TYPE_CHECKING:\n    import torch"),
        (weighs_down_the_core, "footplate.engine.x", "def f():\n    from torch.nn import Module"),
        (needs_an_extra, "footplate.handlers.x", "class A:\n    import wandb"),
    ],
)
def test_the_rule_sees(rule: Callable[[str, Import], bool], name: str, text: str) -> None:
    assert any(rule(name, one) for one in imports_of(name, text))


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (goes_back, "footplate.handlers.x", "from ..engine.engine import Engine"),
        (joins_handlers, "footplate.handlers.x", "from ..engine.handler import Handler"),
        (uses_a_facade, "footplate.engine.x", "from . import bus"),
        (weighs_down_the_core, "footplate.engine.step.x", "import torch"),
        (needs_an_extra, "footplate.handlers.x", "def f():\n    import wandb"),
    ],
)
def test_the_rule_lets_pass(rule: Callable[[str, Import], bool], name: str, text: str) -> None:
    assert not any(rule(name, one) for one in imports_of(name, text))


def test_a_circle_is_seen() -> None:
    assert _circle({"a": {"b"}, "b": {"a"}})
