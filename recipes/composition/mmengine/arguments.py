"""What MMEngine's configurations say besides, and a runner of ours has no need to be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....engine.origin import package_of
from ...config.mmengine_names import found_in
from ...config.objects import Objects
from ...config.problems import Problem
from ...config.registry import HOOKS
from ..foreign_hooks import is_foreign_hook

__all__ = ["hook_in_our_words", "hook_kind", "in_our_words", "refused_options"]

_ANY = object()

_IDLE: Mapping[str, Mapping[str, Any]] = {
    "CheckpointHook": {
        "save_optimizer": True,
        "save_param_scheduler": True,
        "filename_tmpl": None,
        "published_keys": None,
        "backend_args": None,
        "file_client_args": None,
    },
    "LoggerHook": {
        "ignore_last": _ANY,
        "interval_exp_name": _ANY,
        "log_metric_by_epoch": _ANY,
        "out_dir": None,
        "out_suffix": _ANY,
        "keep_local": True,
        "backend_args": None,
        "file_client_args": None,
    },
}
"""Options of MMEngine's hooks, and what they may say, as that is what ours do in any case."""

_REASONS = {
    "save_optimizer": "a run goes on from any of its checkpoints, so all of it is saved; its "
    "weights alone are in each as safetensors",
    "save_param_scheduler": "a run goes on from any of its checkpoints, so all of it is saved",
    "filename_tmpl": "checkpoints are folders that are named after the iteration",
    "published_keys": "weights are in each checkpoint by themselves, as safetensors",
    "backend_args": "where checkpoints go says out_dir, which may be a URL of fsspec",
    "file_client_args": "where checkpoints go says out_dir, which may be a URL of fsspec",
    "out_dir": "run.log and scalars.jsonl are in the run's folder",
    "keep_local": "run.log and scalars.jsonl are in the run's folder",
    "save_best": "one metric decides what is kept as the best; name that one",
}
"""Why other values of these are refused."""

_WORDS = {
    "EMAHook": ("ema_type", "strict_load", "begin_iter", "begin_epoch", "momentum", "gamma"),
    "ProfilerHook": ("by_epoch", "profile_times", "json_trace_path", "on_trace_ready"),
    "EarlyStoppingHook": ("strict",),
}
"""Options by which MMEngine's hook of a name is meant, and not ours of the same."""

_FORMAT = ("num_digits", "log_with_hierarchy", "mean_pattern")  # of lines, not of numbers


def in_our_words(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A runner's arguments without what MMEngine's say of its own log lines and drawings.

    Args:
        arguments: by name; none is changed. What is in our words already stays as it is.

    Example:
        >>> given = {"log_processor": {"type": "LogProcessor", "window_size": 50, "num_digits": 4}}
        >>> in_our_words(given)
        {'log_processor': {'window_size': 50}}
    """
    said = dict(arguments)
    processor = said.get("log_processor")
    if isinstance(processor, Mapping):
        own = {name: one for name, one in processor.items() if name not in _FORMAT}
        if _name(own.get("type")) == "LogProcessor":
            del own["type"]
        said["log_processor"] = own
    visualizer = said.get("visualizer")
    if isinstance(visualizer, Mapping) and _is_mmengines_visualizer(visualizer):
        backends = visualizer.get("vis_backends") or []
        backends = [backends] if isinstance(backends, Mapping) else backends
        by_name = [_by_name(one) for one in backends]
        own = {name: one for name, one in visualizer.items() if name != "vis_backends"}
        said["visualizer"] = {"type": "Visualizer", "vis_backends": by_name, "drawn_by": own}
    return said


def hook_in_our_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a mapping says of a hook, without options that say what ours does in any case."""
    name = _name(options.get("type"))
    idle, said = _IDLE.get(name, {}), dict(options)
    for one in [one for one in said if one in idle and idle[one] in (_ANY, said[one])]:
        del said[one]
    if name == "CheckpointHook":
        best = said.get("save_best")
        if isinstance(best, (list, tuple)) and len(best) == 1:
            said["save_best"] = best = best[0]
        for rule in ("greater", "less"):
            keys = said.pop(f"{rule}_keys", None) or ()
            if best in keys:
                said.setdefault("rule", rule)
    return said


def refused_options(options: dict[str, Any], path: str) -> Iterator[Problem]:
    """What is refused of the options of MMEngine's hooks, and why; it is taken out of them.

    Args:
        options: what is left of them in our words.
        path: where they stand.
    """
    idle = _IDLE.get(_name(options.get("type")), {})
    for name in [name for name in options if name in idle]:
        yield Problem(path=f"{path}.{name}", given=options.pop(name), reason=_REASONS[name])
    if "save_best" in options and isinstance(options["save_best"], (list, tuple)):
        given = options.pop("save_best")
        yield Problem(path=f"{path}.save_best", given=given, reason=_REASONS["save_best"])


def hook_kind(options: Mapping[str, Any], objects: Objects) -> Any:
    """The class that a hook's mapping means: MMEngine's of a name, if its words are said.

    Args:
        options: the mapping.
        objects: what finds types.

    Raises:
        TypeNotFound: if there is none.
    """
    name = _name(options["type"])
    if any(word in options for word in _WORDS.get(name, ())):
        theirs = found_in("handler", name)
        if theirs is not None and is_foreign_hook(theirs):
            return theirs
    return objects.find(options["type"], HOOKS)


def _name(given: object) -> str:
    """The name of a type, whichever way it is given."""
    return str(getattr(given, "__name__", given)).rpartition(".")[2]


def _by_name(spec: Any) -> Any:
    """A mapping whose type is the name of what MMEngine has there by its path, or as a class."""
    if isinstance(spec, Mapping) and package_of(spec.get("type")) == "mmengine":
        return {**spec, "type": _name(spec["type"])}
    return spec


def _is_mmengines_visualizer(spec: Mapping[str, Any]) -> bool:
    """Whether it is one that draws, and hands on to backends; not so in our words already."""
    given = spec.get("type")
    if "drawn_by" in spec:
        return False
    if isinstance(given, str) and package_of(given) != "mmengine":
        given = found_in("visualizer", given)
    return any(package_of(one) == "mmengine" for one in (given, *getattr(given, "__mro__", ())))
