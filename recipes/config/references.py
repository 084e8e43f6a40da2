"""References filled in: ``${optimizer.lr}``, ``${.sibling}``, ``${oc.env:HOME}``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...engine.errors import nearest
from .paths import Key, joined
from .problems import Problem

__all__ = ["escaped", "filled_in"]

_MARK = "${"
_ESCAPED = re.compile(r"(\\*)\$\{")
_PREFIX = re.compile(r"^\w+ raised while resolving interpolation: ")


class _Whole:
    """Holds a value that OmegaConf is not to look into."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return str(self.value)


def escaped(text: str) -> str:
    r"""A text that is filled in to the one given, whatever that holds.

    Example:
        >>> print(escaped("costs ${x}"))
        costs \${x}
    """
    return _ESCAPED.sub(lambda found: f"{found[1] * 2}\\${{", text)


def filled_in(values: Any) -> tuple[Any, list[Problem]]:
    r"""Values with each reference replaced by what it refers to; ``\${`` becomes ``${``.

    Args:
        values: dictionaries, lists, and anything in them; texts alone are looked at.

    Returns:
        the values, and what could not be filled in.

    Example:
        >>> filled_in({"lr": 0.1, "all": ["${lr}", "lr is ${lr}"]})
        ({'lr': 0.1, 'all': [0.1, 'lr is 0.1']}, [])
    """
    referring = [steps for steps, value in _texts(values) if _MARK in value]
    if not referring:
        return values, []
    texts = {steps: value for steps, value in _texts(values) if _MARK in value}
    problems = [_problem(steps, texts[steps], e, values) for steps, e in _unreadable(texts)]
    if problems:
        return values, problems
    from omegaconf import OmegaConf

    config = OmegaConf.create(_held(values), flags={"allow_objects": True})
    found: dict[tuple[Key, ...], Any] = {}
    for steps, text in texts.items():
        try:
            found[steps] = _released(_looked_up(config, steps))
        except Exception as error:  # OmegaConf's own, those of resolvers, RecursionError
            problems.append(_problem(steps, text, error, values))
    return _replaced(values, (), found), problems


def _texts(values: Any, steps: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], str]]:
    if isinstance(values, str):
        yield steps, values
    elif isinstance(values, (dict, list)):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for key, one in items:
            yield from _texts(one, (*steps, key))


def _unreadable(
    texts: dict[tuple[Key, ...], str],
) -> Iterator[tuple[tuple[Key, ...], Exception]]:
    from omegaconf import OmegaConf
    from omegaconf.errors import GrammarParseError

    for steps, text in texts.items():
        try:
            OmegaConf.create([text])
        except GrammarParseError as error:
            yield steps, error


def _held(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _held(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_held(one) for one in value]
    return value if isinstance(value, (str, int, float, type(None))) else _Whole(value)


def _looked_up(config: Any, steps: tuple[Key, ...]) -> Any:
    from omegaconf import OmegaConf

    for step in steps:
        config = config[step]
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _released(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _released(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_released(one) for one in value]
    return value.value if isinstance(value, _Whole) else value


def _replaced(values: Any, steps: tuple[Key, ...], found: dict[tuple[Key, ...], Any]) -> Any:
    if steps in found:
        return found[steps]
    if isinstance(values, dict):
        return {key: _replaced(one, (*steps, key), found) for key, one in values.items()}
    if isinstance(values, list):
        return [_replaced(one, (*steps, at), found) for at, one in enumerate(values)]
    return values


def _problem(steps: tuple[Key, ...], text: str, error: Exception, values: Any) -> Problem:
    path = ""
    for step in steps:
        path = joined(path, step)
    said = _PREFIX.sub("", str(error).partition("\n")[0]).strip('"').rstrip(".")
    missing = re.search(r"key '(.+)' not found", said)
    hint = nearest(missing[1], _paths(values)) if missing else ""
    reason = f"it can't be filled in: {said or type(error).__name__}"
    return Problem(path=path, given=text, reason=reason, hint=hint)


def _paths(values: Any, path: str = "") -> Iterator[str]:
    items = values.items() if isinstance(values, dict) else ()
    for key, one in items:
        yield joined(path, key)
        yield from _paths(one, joined(path, key))
