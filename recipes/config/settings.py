"""Single values set by path: by variables of the environment, and by ``path=value``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .nodes import BASE, Node, node_of, placed
from .paths import Key, split
from .problems import ABSENT, ConfigError, Problem
from .yaml_files import parsed

__all__ = ["PREFIX", "of_environment", "of_override"]

PREFIX = "FOOTPLATE__"
"""What the name of an environment variable of a configuration begins with."""

Change = Callable[[Node], Node]
"""Gives a configuration with a value set; raises ConfigError if it can't be."""

_PATH = re.compile(r"""(?:[^="]|"(?:[^"\\]|\\.)*")+""")


def of_environment(environment: Mapping[str, str]) -> Iterator[Change]:
    """What the variables of an environment set; an empty one sets nothing.

    Example:
        >>> (change,) = of_environment({"FOOTPLATE__TRAIN_CFG__MAX_EPOCHS": "5", "HOME": "x"})
        >>> change(node_of({"train_cfg": {}}, "defaults")).plain()
        {'train_cfg': {'max_epochs': 5}}
    """
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX) and text.strip():
            yield partial(_with_variable, name=name, text=text)


def of_override(given: str | Mapping[str, Any]) -> Change:
    """What ``path=value`` sets, or a mapping says.

    Example:
        >>> change = of_override("hooks[0].when={every: 5}")
        >>> change(node_of({"hooks": [{}]}, "defaults")).plain()
        {'hooks': [{'when': {'every': 5}}]}
    """
    return partial(_with_override, given=given)


def _with_variable(root: Node, *, name: str, text: str) -> Node:
    origin = f"environment {name}"
    steps = _steps_of(name, root)
    return _with_value(root, steps, node_of(parsed(text, origin), origin), origin)


def _steps_of(variable: str, root: Node) -> tuple[Key, ...]:
    """The path that a variable means, by the keys that are there, in whatever case."""
    at: Node | None = root
    steps: list[Key] = []
    for part in variable.removeprefix(PREFIX).lower().split("__"):
        if not part:
            reason = "its name has an empty part between '__'"
            hint = f" Write it as {PREFIX}TRAIN_CFG__MAX_EPOCHS."
            raise _refused(f"environment {variable}", ABSENT, reason, hint)
        keys = at.value if at and isinstance(at.value, dict) else {}
        alike = [key for key in keys if key.lower() == part]
        steps.append(part if part in keys or len(alike) != 1 else alike[0])
        if at and isinstance(at.value, list) and part.isdecimal() and int(part) < len(at.value):
            at = at.value[int(part)]
        else:
            at = keys.get(steps[-1])
    return tuple(steps)


def _with_override(root: Node, *, given: Any) -> Node:
    if isinstance(given, Mapping):
        return _with_value(root, (), node_of(given, "call"), "call")
    steps, text = _assignment(given)
    return _with_value(root, steps, node_of(parsed(text, given), "command line"), given)


def _with_value(root: Node, steps: tuple[Key, ...], node: Node, name: str) -> Node:
    if BASE in steps:
        raise _refused(name, ABSENT, f"{BASE!r} names files to build on, and stands in files")
    return placed(root, steps, node)


def _assignment(given: Any) -> tuple[tuple[Key, ...], str]:
    """The path and the text of ``path=value``."""
    found = _PATH.match(given) if isinstance(given, str) else None
    rest = given[found.end() :] if found else ""
    if found is None or not rest.startswith("="):
        raise _refused("", given, "it sets nothing", " Write it as train_cfg.max_epochs=5.")
    path, text = found[0].strip(), rest[1:].strip()
    if path.startswith("-"):
        hint = f" Write it as {path.lstrip('-')}={text}."
        raise _refused("", given, "a value is set without dashes", hint)
    if not text:
        hint = f" Write {path}=null, or {path}='' for an empty text."
        raise _refused("", given, "it has no value", hint)
    try:
        return split(path), text
    except ValueError as error:
        hint = " Write one as train_cfg.max_epochs, or hooks[0]."
        raise _refused("", given, f"{path!r} is no path", hint) from error


def _refused(path: str, given: Any, reason: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(path=path, given=given, reason=reason, hint=hint)])
