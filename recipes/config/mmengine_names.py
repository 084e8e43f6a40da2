"""What was registered with MMEngine: its registries' names, where MMEngine is imported already."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...engine.errors import nearest
from ...engine.origin import package_of
from .safety import AllowList

__all__ = [
    "enter_scope",
    "found_in",
    "handed_on",
    "leaves_nested",
    "names_in",
    "of_default_scope",
    "stand_in",
]

_REGISTRIES = {
    "model": "MODELS",
    "dataset": "DATASETS",
    "data_sampler": "DATA_SAMPLERS",
    "optimizer": "OPTIMIZERS",
    "optim_wrapper": "OPTIM_WRAPPERS",
    "optim_wrapper_constructor": "OPTIM_WRAPPER_CONSTRUCTORS",
    "param_scheduler": "PARAM_SCHEDULERS",
    "metric": "METRICS",
    "evaluator": "EVALUATOR",
    "handler": "HOOKS",
    "loop": "LOOPS",
    "visualizer": "VISUALIZERS",
    "vis_backend": "VISBACKENDS",
    "log_processor": "LOG_PROCESSORS",
    "transform": "TRANSFORMS",
    "function": "FUNCTIONS",
}
"""MMEngine's names of its registries, by our kinds; its runners and model wrappers are its own."""

_RUNNER_PARTS = ("handler", "loop", "optim_wrapper", "visualizer", "vis_backend", "evaluator")
"""The kinds whose classes of MMEngine are parts of its runner, and have their like here."""

_WORK_HERE = ("EMAHook", "ProfilerHook", "EarlyStoppingHook")
"""Classes of these kinds that work as they are, if they themselves are given."""


def found_in(kind: str, name: str, allowed: AllowList | None = None) -> Callable[..., Any] | None:
    """What has this name in the registry of MMEngine for a kind; ``None`` if nothing has.

    A name without a scope is looked up in the default scope, as MMEngine does, and then in those
    that it derives from. What a registry says it is registered in is imported, and nothing else.

    Args:
        kind: the kind, as ``"model"``.
        name: the name, also with a scope, as ``"mmdet.ResNet"``.
        allowed: where it may come from.
    """
    root = _registry(kind)
    if root is None:
        return None
    scope, _, own = name.rpartition(".")
    registry = _scoped(root, scope) if scope else _scoped(root, _default_scope()) or root
    while registry is not None:
        registry.import_from_location()
        if (found := registry.module_dict.get(own)) is not None:
            return _permitted(found, allowed)
        registry = registry.parent
    return None


def of_default_scope(
    kind: str, name: str, allowed: AllowList | None = None
) -> Callable[..., Any] | None:
    """What a project has registered under this name in its own, the default scope."""
    root = _registry(kind)
    registry = None if root is None else _scoped(root, _default_scope())
    if registry is None or registry is root:
        return None
    registry.import_from_location()
    return _permitted(registry.module_dict.get(name), allowed)


def stand_in(found: Callable[..., Any], registry: Any) -> Callable[..., Any]:
    """Ours in the place of a class of MMEngine that works on nothing but its own runner.

    Args:
        found: what a type means.
        registry: where ours is registered under the same name.
    """
    name = getattr(found, "__name__", "")
    theirs = package_of(found) == "mmengine" and name not in _WORK_HERE
    if registry is None or registry.kind not in _RUNNER_PARTS or not theirs:
        return found
    return registry.registered(name) or found


def names_in(kind: str) -> Iterator[str]:
    """The names in the registry of MMEngine for a kind, those of other scopes with that."""
    if (root := _registry(kind)) is None:
        return
    for registry in _with_children(root):
        if registry is root or registry.scope == _default_scope():
            yield from registry.module_dict
        if registry is not root:
            yield from (f"{registry.scope}.{name}" for name in registry.module_dict)


def leaves_nested(function: Callable[..., Any]) -> bool:
    """Whether mappings with ``type`` among its arguments are its own to build of.

    So it is for what is registered with MMEngine, or derives from a class of it: there nothing is
    built but by whoever takes the mapping.
    """
    if "mmengine" not in sys.modules or package_of(function) in ("torch", "footplate"):
        return False
    if any(package_of(one) == "mmengine" for one in getattr(function, "__mro__", [function])):
        return True
    roots = (root for kind in _REGISTRIES if (root := _registry(kind)) is not None)
    return any(
        function in registry.module_dict.values()  # at a look, as this is asked for each type
        for root in roots
        for registry in _with_children(root)
    )


def handed_on(value: Any) -> Any:
    """An argument as MMEngine hands it on: mappings whose keys are attributes, too."""
    if isinstance(value, Mapping):
        from mmengine.config import ConfigDict

        return ConfigDict(value)
    if type(value) in (list, tuple):
        return type(value)(map(handed_on, value))
    return value


def enter_scope(scope: str | None, *, may_import: bool = True) -> None:
    """Have MMEngine look names up in a scope first, if it is imported.

    Args:
        scope: the scope; the registries of a package of this name are imported, as MMEngine does.
        may_import: whether they may be.

    Raises:
        ValueError: if there is no such scope.
    """
    if scope is None or _registry("model") is None:
        return
    if may_import and scope.isidentifier() and scope not in _scopes():
        _import_registries(scope)
    known = _scopes()
    if scope not in known and scope not in sys.modules:
        raise ValueError(
            f"default_scope={scope!r} is none that MMEngine knows; there are {', '.join(known)}."
            f"{nearest(scope, known)} Import the package that registers it before."
        )
    if _default_scope() != scope:
        from mmengine.registry import DefaultScope

        DefaultScope.get_instance(f"footplate-{time.monotonic_ns()}", scope_name=scope)


def _import_registries(scope: str) -> None:
    name = f"{scope}.registry"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (scope, name):
            raise


def _scopes() -> list[str]:
    """Those that anything is registered in."""
    roots = [root for kind in _REGISTRIES if (root := _registry(kind)) is not None]
    return list(dict.fromkeys(one.scope for root in roots for one in _with_children(root)))


def _default_scope() -> str | None:
    from mmengine.registry import DefaultScope

    current = DefaultScope.get_current_instance()
    return None if current is None else current.scope_name


def _registry(kind: str) -> Any:
    module = sys.modules.get("mmengine.registry")
    name = _REGISTRIES.get(kind)
    return None if module is None or name is None else getattr(module, name)


def _with_children(registry: Any) -> Iterator[Any]:
    yield registry
    for child in registry.children.values():
        yield from _with_children(child)


def _scoped(root: Any, scope: str | None) -> Any:
    """The registry of a scope; ``None`` if it has none of this kind."""
    return next((one for one in _with_children(root) if one.scope == scope), None)


def _permitted(found: Any, allowed: AllowList | None) -> Callable[..., Any] | None:
    permitted = found is not None and (allowed is None or allowed.permits_found(found))
    return found if permitted else None
