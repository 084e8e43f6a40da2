"""What is named elsewhere: the metrics that hooks go by, and the hook that averages weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.data.module import is_data_module
from ...engine.errors import nearest
from ...engine.handler import snake_case
from ..config.objects import Objects
from ..config.paths import joined
from ..config.problems import Problem
from ..config.registry import HOOKS, LOOPS, METRICS
from ..config.specs import is_spec
from .loaders import by_name
from .loops import is_ours

__all__ = ["check_averaged", "check_monitored"]

_OF_HOOKS = ("save_best", "monitor")
_OF_SCHEDULERS = ("metric", "monitor")
_PREFIX = "val_"


def check_monitored(arguments: Mapping[str, Any], objects: Objects) -> Iterator[Problem]:
    """What hooks and schedulers go by that no metric of validation is called.

    Args:
        arguments: the runner's; where it can't be told what the metrics are called, as some name
            themselves, or a loop of the user's own does, nothing is said.
        objects: what finds what is given as ``{type: …}``.
    """
    names = _names(arguments.get("val_evaluator"), objects)
    if names is None or _is_own_loop(arguments.get("val_cfg"), objects):
        return
    data = [one for name, one in arguments.items() if name.endswith("_dataloader")]
    known_by_end = any(map(is_data_module, data))  # it may bring several loaders, of any names
    if (several := by_name(arguments.get("val_dataloader"))) is not None:
        names = [f"{loader}_{name}" for loader in several for name in names]
    for path, given in _monitoring(arguments):
        name = given.removeprefix(_PREFIX)
        if name in names or (known_by_end and any(name.endswith(f"_{one}") for one in names)):
            continue
        yield Problem(
            path=path,
            given=given,
            reason=f"validation measures {', '.join(names)}",
            hint=nearest(name, names),
        )


def _monitoring(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The paths of what goes by a metric, and the metric."""
    specs = [(path, hook, _OF_HOOKS) for path, hook in _hooks(arguments)]
    schedulers = _schedulers(arguments.get("param_scheduler"), "param_scheduler")
    specs += [(path, one, _OF_SCHEDULERS) for path, one in schedulers]
    for path, spec, keys in specs:
        for key in keys:
            given = spec.get(key)
            if isinstance(given, str) and given != "auto":
                yield f"{path}.{key}", given


def _schedulers(given: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Schedulers that are described, of several in a list or by optimizer each."""
    if is_spec(given):
        yield path, given
    elif isinstance(given, (Mapping, list, tuple)):
        items = given.items() if isinstance(given, Mapping) else enumerate(given)
        for key, one in items:
            yield from _schedulers(one, joined(path, key))


def _is_own_loop(given: Any, objects: Objects) -> bool:
    """Whether validation is a loop of the user's own, which may call metrics what it likes."""
    if not isinstance(given, Mapping) or given.get("type") is None:
        return False
    try:
        return not is_ours(objects.find(given["type"], LOOPS))
    except LookupError:  # which is told by others
        return True


def check_averaged(arguments: Mapping[str, Any], objects: Objects) -> Iterator[Problem]:
    """Whether ``averaged`` names a hook; nothing is said where hooks are objects."""
    default, custom = arguments.get("default_hooks") or {}, arguments.get("custom_hooks") or []
    if not isinstance(default, Mapping) or not isinstance(custom, (list, tuple)):
        return  # which is told by others
    if not all(one is None or isinstance(one, Mapping) for one in (*custom, *default.values())):
        return
    names = list(_hook_names(arguments, objects))
    for group in ("val_cfg", "test_cfg", "predict_cfg"):
        cfg = arguments.get(group)
        averaged = cfg.get("averaged") if isinstance(cfg, Mapping) else None
        if isinstance(averaged, str) and averaged not in names:
            yield Problem(
                path=f"{group}.averaged",
                given=averaged,
                reason="no hook of this name averages weights",
                hint=nearest(averaged, names) or " Add one to custom_hooks: {type: EMA}.",
            )


def _hook_names(arguments: Mapping[str, Any], objects: Objects) -> Iterator[str]:
    """What the hooks that are not in every run are called."""
    for path, hook in _hooks(arguments):
        place, _, name = path.partition(".")
        if place == "default_hooks":
            yield name
            continue
        try:
            kind = objects.find(hook.get("type"), HOOKS)
        except LookupError:
            continue
        yield str(hook.get("name") or snake_case(getattr(kind, "__name__", "")))


def _names(evaluator: Any, objects: Objects) -> list[str] | None:
    """What the metrics are called; ``None`` where that is not to be known ahead."""
    if not isinstance(evaluator, Mapping) or {"type", "metrics"} & evaluator.keys():
        return None
    for one in evaluator.values():
        if not isinstance(one, Mapping) or "type" not in one:
            return None
        try:
            kind: Any = objects.find(one["type"], METRICS)
        except LookupError:
            return None
        if not inspect.isclass(kind):  # a function may say what it makes, as Fbeta does
            kind = getattr(kind, "__annotations__", {}).get("return")
        if not inspect.isclass(kind) or hasattr(kind, "process") or not hasattr(kind, "compute"):
            return None
    return [str(name) for name in evaluator]


def _hooks(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    default, custom = arguments.get("default_hooks"), arguments.get("custom_hooks")
    if isinstance(default, Mapping):
        for name, one in default.items():
            if isinstance(one, Mapping):
                yield f"default_hooks.{name}", one
    for number, one in enumerate(custom if isinstance(custom, (list, tuple)) else ()):
        if isinstance(one, Mapping):
            yield f"custom_hooks[{number}]", one
