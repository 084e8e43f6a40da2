"""The examples in the docstrings run, of modules that are imported under their true names."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from tests.architecture.library import FILES

WARNING = {"footplate.handlers.mlflow"}
"""Modules whose own libraries warn of themselves as they are used."""


def modules() -> list[Any]:
    ignore = pytest.mark.filterwarnings("ignore")
    return [pytest.param(name, marks=ignore) if name in WARNING else name for name in FILES]


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_the_module_run(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("examples"))
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = map(importlib.import_module, FILES)
    assert sum(len(test.examples) for module in modules for test in finder.find(module)) > 50
