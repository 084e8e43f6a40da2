"""What was registered with MMEngine: its registries' names, where MMEngine is imported already."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...engine.errors import nearest
from .safety import AllowList

__all__ = ["enter_scope", "found_in", "handed_on", "leaves_nested", "names_in", "stand_in"]

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


_RUNNERS = ("handler", "loop", "optim_wrapper", "visualizer", "vis_backend", "evaluator")
"""The kinds whose classes of MMEngine are parts of its runner, and have their like here."""

_WORK_HERE = ("EMAHook", "ProfilerHook", "EarlyStoppingHook")
"""Classes of these kinds that work as they are, if they themselves are given."""


def found_in(kind: str, name: str, allowed: AllowList | None = None) -> Callable[..., Any] | None:
    """What has this name in the registry of MMEngine for a kind; ``None`` if nothing has.

    Nothing is imported for that, unless the name has a scope, as ``"mmdet.ResNet"``, whose package
    MMEngine knows how to find.

    Args:
        kind: the kind, as ``"model"``.
        name: the name.
        allowed: where it may come from.
    """
    registry = _registry(kind)
    if registry is None or ("." in name and not _has_scope(registry, name)):
        return None
    found: Callable[..., Any] | None = registry.get(name)
    if found is None or (allowed is not None and not allowed.permits_found(found)):
        return None
    return found


def stand_in(found: Callable[..., Any], registry: Any) -> Callable[..., Any]:
    """Ours in the place of a class of MMEngine that works on nothing but its own runner.

    Args:
        found: what a type means.
        registry: where ours is registered under the same name.
    """
    name = getattr(found, "__name__", "")
    theirs = _package(found) == "mmengine" and name not in _WORK_HERE
    if registry is None or registry.kind not in _RUNNERS or not theirs:
        return found
    return registry.registered(name) or found


def names_in(kind: str) -> Iterator[str]:
    """The names in the registry of MMEngine for a kind, those of other scopes with that."""
    if (registry := _registry(kind)) is not None:
        yield from registry.module_dict
        for scope, child in registry.children.items():
            yield from (f"{scope}.{name}" for name in child.module_dict)


def leaves_nested(function: Callable[..., Any]) -> bool:
    """Whether mappings with ``type`` among its arguments are its own to build of.

    So it is for what is registered with MMEngine, or derives from a class of it: there nothing is
    built but by whoever takes the mapping.
    """
    if "mmengine" not in sys.modules or _package(function) in ("torch", "footplate"):
        return False
    if any(_package(one) == "mmengine" for one in getattr(function, "__mro__", [function])):
        return True
    return any(
        function is one
        for kind in _REGISTRIES
        if (registry := _registry(kind)) is not None
        for inner in (registry, *registry.children.values())
        for one in inner.module_dict.values()
    )


def handed_on(value: Any) -> Any:
    """An argument as MMEngine hands it on: mappings whose keys are attributes, too."""
    if isinstance(value, Mapping):
        from mmengine.config import ConfigDict

        return ConfigDict(value)
    if type(value) in (list, tuple):
        return type(value)(map(handed_on, value))
    return value


def enter_scope(scope: str | None) -> None:
    """Have MMEngine look names up in a scope first, if it is imported.

    Raises:
        ValueError: if there is no such scope.
    """
    if scope is None or (registry := _registry("model")) is None:
        return
    known = [registry.scope, *registry.children]
    if scope not in known and scope not in sys.modules:
        raise ValueError(
            f"default_scope={scope!r} is none that MMEngine knows; there are {', '.join(known)}."
            f"{nearest(scope, known)} Import the package that registers it before."
        )
    from mmengine.registry import DefaultScope

    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != scope:
        DefaultScope.get_instance(f"footplate-{time.monotonic_ns()}", scope_name=scope)


def _registry(kind: str) -> Any:
    module = sys.modules.get("mmengine.registry")
    name = _REGISTRIES.get(kind)
    return None if module is None or name is None else getattr(module, name)


def _has_scope(registry: Any, name: str) -> bool:
    scope = name.partition(".")[0]
    return scope in (registry.scope, *registry.children) and name.count(".") == 1


def _package(found: Any) -> str:
    return str(getattr(found, "__module__", "")).partition(".")[0]
