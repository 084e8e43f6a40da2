"""Keeping: what is noted of the arguments that a run was made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..config.layers import dump
from ..config.paths import joined, split
from ..config.problems import ABSENT
from ..config.registry import RUNNERS
from ..config.specs import INSTANCE
from ..config.yaml_files import parsed

__all__ = ["differing", "kept", "put"]


def kept(arguments: Mapping[str, Any], runner: type | None = None) -> dict[str, Any]:
    """A runner's arguments as plain values; of objects it says of which class they were.

    Args:
        arguments: by name; ``None`` is left out.
        runner: the runner's class, which is noted if it is the user's own.

    Example:
        >>> noted = kept({"val_cfg": None, "seed": 3, "train_dataloader": [1, 2]})
        >>> noted["seed"], noted["train_dataloader"]
        (3, {'type': 'builtins.list', '_instance_': True})
    """
    noted = {
        name: _without_data(name, value) for name, value in arguments.items() if value is not None
    }
    if runner is not None and RUNNERS.registered("Runner") is not runner:
        name = runner.__name__
        noted["runner_type"] = name if RUNNERS.registered(name) is runner else runner
    plain: dict[str, Any] = parsed(dump(_with_texts(noted)), "the configuration") or {}
    return plain


def differing(was: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two configurations differ: path, and the values; ``ABSENT`` for what one has not.

    Args:
        was: the one, as :func:`kept` notes it.
        now: the other.
        path: where both stand.

    Example:
        >>> list(differing({"a": {"lr": 0.1, "b": 2}}, {"a": {"lr": 0.5, "b": 2}}))
        [('a.lr', 0.1, 0.5)]
    """
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*was, *now]):
            yield from differing(was.get(key, ABSENT), now.get(key, ABSENT), joined(path, key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for at, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from differing(one, other, joined(path, at))
    elif was != now:
        yield path, was, now


def put(config: Any, path: str, value: Any) -> None:
    """Set what a configuration says at a path; ``ABSENT`` takes it away.

    Example:
        >>> config = {"a": [{"lr": 0.5, "b": 2}]}
        >>> put(config, "a[0].lr", 0.1)
        >>> put(config, "a[0].b", ABSENT)
        >>> config
        {'a': [{'lr': 0.1}]}
    """
    *way, last = split(path)
    for step in way:
        config = config[step]
    if value is ABSENT:
        del config[last]
    else:
        config[last] = value


def _with_texts(value: Any) -> Any:
    """A configuration's keys are texts; in Python ``{1: 8, 5: 4}`` may say sizes by epoch."""
    if isinstance(value, dict):
        is_number = type(next(iter(value), None)) is int
        return {str(k) if is_number else k: _with_texts(one) for k, one in value.items()}
    return [_with_texts(one) for one in value] if type(value) is list else value


def _without_data(name: str, value: Any) -> Any:
    """Data may be a list of batches, which nobody wants to read."""
    if name.endswith("_dataloader") and isinstance(value, (list, tuple)):
        return {"type": type(value), INSTANCE: True}
    return value
