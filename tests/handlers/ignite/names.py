"""All that pytorch-ignite has: the metrics that it exports, and what its handlers' modules hold."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import ignite.handlers
import ignite.metrics
from ignite.contrib.engines import common


def metrics() -> dict[str, Any]:
    """Every class and exported function of ignite.metrics and its packages, by name.

    Functions that no package exports are parts of a metric's sum, and no metrics.
    """
    found = {}
    for module in _modules(ignite.metrics):
        exported = getattr(module, "__all__", ()) if hasattr(module, "__path__") else ()
        for name, one in _own(module, ignite.metrics):
            if inspect.isclass(one) or name in exported:
                found[name] = one
    return dict(sorted(found.items()))


def handlers() -> dict[str, Any]:
    """Every public class and function of ignite.handlers: by name if it is exported.

    Others, of which several have one name, have that of their module before it; and so have the
    functions of ignite.contrib.engines.common, which attach several at once.
    """
    found = {}
    for module in _modules(ignite.handlers):
        for name, one in _own(module, ignite.handlers):
            where = one.__module__.rpartition(".")[2]
            exported = name in ignite.handlers.__all__
            found[name if exported else f"{where}.{name}"] = one
    found.update((f"common.{name}", one) for name, one in _own(common, common))
    return dict(sorted(found.items()))


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(one.name)


def _own(module: ModuleType, package: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, one in vars(module).items():
        kind = inspect.isclass(one) or inspect.isfunction(one)
        if kind and not name.startswith("_") and one.__module__.startswith(package.__name__):
            yield name, one
