"""An annotation in words: ``float | None`` is a number or null."""

from __future__ import annotations

import collections.abc
import types
import typing
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["described"]

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    complex: "a number",
    str: "a text",
    type(None): "null",
    None: "null",
    type: "a class",
    collections.abc.Callable: "a callable",
}
_MOST = 12


def described(hint: Any) -> str:
    """What an annotation takes, for somebody who writes a file.

    Example:
        >>> described(float | None), described(list[int]), described(tuple[float, float])
        ('a number or null', 'a list of whole numbers', 'a list of 2 numbers')
        >>> from typing import Literal
        >>> described(Literal["min", "max"])
        "'min' or 'max'"
    """
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in _WORDS:
        return _WORDS[origin]
    if origin in (typing.Union, types.UnionType):
        return _either(list(dict.fromkeys(map(described, inner))))
    if origin is typing.Literal:
        return _either(list(map(repr, inner)))
    if not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return str(hint)
    if typing.is_typeddict(origin):
        return "a mapping"
    if issubclass(origin, Enum):
        return _either([repr(one.value) for one in origin])
    if issubclass(origin, PurePath):
        return "a path"
    if origin is tuple:
        return _list(inner[:1] if ... in inner else tuple(dict.fromkeys(inner)), _count(inner))
    if issubclass(list, origin) or issubclass(origin, (set, frozenset, collections.abc.Set)):
        return _list(inner)
    if issubclass(dict, origin):
        return "a mapping"
    return f"{'an' if origin.__name__[0] in 'AEIOU' else 'a'} {origin.__name__}"


def _count(inner: tuple[Any, ...]) -> str:
    return "" if not inner or ... in inner else f" {len(inner)}"


def _list(inner: tuple[Any, ...], count: str = "") -> str:
    if not inner or inner[0] in (Any, object):
        return f"a list of{count}" if count else "a list"
    return f"a list of{count} {_either([_plural(described(one)) for one in inner])}"


def _plural(words: str) -> str:
    article, _, rest = words.partition(" ")
    simple = article in ("a", "an") and " " not in rest.removeprefix("whole ")
    if not simple:
        return f"({words})" if " or " in words else words
    return f"{rest.removesuffix('s')}es" if rest.endswith("s") else f"{rest}s"


def _either(words: list[str]) -> str:
    if len(words) > _MOST:
        words = [*words[:_MOST], "…"]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
