"""Empties one function of the library wherever its module is imported or run.

Python imports a module of this name as it starts, if its folder is on ``PYTHONPATH``: so what is
emptied is so in every process that a test starts, too. ``EMPTIED`` says what: ``module:name``.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

NO_SUCH_FUNCTION = 70


class _Finder(importlib.abc.MetaPathFinder):
    """Has one module be loaded with one of its functions emptied."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def find_spec(self, module: str, path: Any = None, target: Any = None) -> Any:
        if module != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(module, spec.origin)
            spec.loader.name_of_emptied = self.name
        return spec


class _Loader(SourceFileLoader):
    name_of_emptied = ""

    def get_code(self, fullname: str) -> CodeType:
        module = ast.parse(self.get_data(self.path))
        try:
            empty(module, self.name_of_emptied)
        except LookupError as error:  # not raised: it would look as if a test had noticed
            print(error, file=sys.stderr, flush=True)
            os._exit(NO_SUCH_FUNCTION)
        return compile(module, self.path, "exec", dont_inherit=True)


def empty(module: ast.Module, name: str) -> None:
    """Leave nothing of a function, or of a class's method, but its signature and docstring.

    What yields goes on to yield: nothing, or nothing but once if it is a context manager.
    """
    *classes, last = name.split(".")
    body = module.body
    for one in classes:
        body = next((n.body for n in body if isinstance(n, ast.ClassDef) and n.name == one), [])
    functions = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == last]
    if not functions:
        raise LookupError(f"there is no function {name} to empty")
    for function in functions:
        told = function.body[:1] if ast.get_docstring(function) else []  # a command's help
        function.body = [*told, *ast.parse(_nothing_like(function)).body]
        ast.fix_missing_locations(function)


def _nothing_like(function: ast.FunctionDef) -> str:
    if any("contextmanager" in ast.unparse(one) for one in function.decorator_list):
        return "yield"
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function)):
        return "if False: yield"
    return "return None"


if "EMPTIED" in os.environ:
    sys.meta_path.insert(0, _Finder(*os.environ["EMPTIED"].split(":")))
