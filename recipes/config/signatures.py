"""What a class or function takes: its parameters, with their annotations where they can be had."""

from __future__ import annotations

import collections.abc
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["Signature", "signature_of"]

_COMMON = {**vars(typing), **vars(collections.abc), "Path": Path}
"""Names that modules often import for type checkers only."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parameters of a call.

    Attributes:
        parameters: those that have a name of their own, and ``*args`` under its name, which takes
            a list.
        open: whether any other name is taken, by ``**kwargs``.
        hints: annotations by parameter; of ``**kwargs`` under the empty name.

    Example:
        >>> def scaled(x, /, factor=2.0, *more):
        ...     return [factor * one for one in (x, *more)]
        >>> found = signature_of(scaled)
        >>> found.required, found.call(scaled, {"x": 1, "more": [2, 3]})
        (['x'], [2.0, 4.0, 6.0])
    """

    parameters: Mapping[str, Parameter]
    open: bool
    hints: Mapping[str, Any]

    @property
    def required(self) -> list[str]:
        """The parameters that have to be given."""
        rest = Parameter.VAR_POSITIONAL
        return [
            name
            for name, one in self.parameters.items()
            if one.default is Parameter.empty and one.kind is not rest
        ]

    def hint(self, name: str) -> Any:
        """The annotation of what is given by that name; ``Any`` if there is none."""
        if name not in self.parameters:
            return self.hints.get("", Any)
        found = self.hints.get(name, Any)
        rest = self.parameters[name].kind is Parameter.VAR_POSITIONAL
        return list[found] if rest else found  # type: ignore[valid-type]

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call the function with arguments by name, also where it takes them by position only."""
        named, given = dict(arguments), list[Any]()
        rest = [n for n, one in self.parameters.items() if one.kind is Parameter.VAR_POSITIONAL]
        more = [one for name in rest for one in named.pop(name, ())]
        for name, one in self.parameters.items():
            by_position = one.kind is Parameter.POSITIONAL_ONLY or (
                more and one.kind is Parameter.POSITIONAL_OR_KEYWORD
            )
            if by_position and (name in named or one.default is not Parameter.empty):
                given.append(named.pop(name, one.default))
        return function(*given, *more, **named)


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """What a class or function takes; ``None`` if that can't be found out.

    Example:
        >>> def f(a: int, *b: str, c=1, **d): ...
        >>> found = signature_of(f)
        >>> list(found.parameters), found.open, found.required, found.hint("b")
        (['a', 'b', 'c'], True, ['a'], list[str])
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C, or with a signature that is none
        return None
    more = next((n for n, one in parameters.items() if one.kind is Parameter.VAR_KEYWORD), None)
    hints = _hints(function, parameters)
    return Signature(
        parameters={name: one for name, one in parameters.items() if name != more},
        open=more is not None,
        hints={"" if name == more else name: hint for name, hint in hints.items()},
    )


def _hints(function: Callable[..., Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Annotations one by one: one that only type checkers can read takes no others along."""
    hints = {}
    for name, one in parameters.items():
        if one.annotation is not Parameter.empty:
            holder = SimpleNamespace(__annotations__={name: one.annotation})
            try:
                names = {**_COMMON, **_names_around(function, name)}
                hints[name] = typing.get_type_hints(holder, names, names)[name]
            except Exception:  # whatever reading an annotation runs into
                hints[name] = Any
    return hints


def _names_around(function: Any, parameter: str) -> dict[str, Any]:
    """The names of the module where the parameter's annotation was written."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, type):
        for one in function.__mro__:  # a field of a data class is annotated where it is declared
            if parameter in inspect.get_annotations(one):
                return {**vars(sys.modules[one.__module__]), **vars(one)}
        function = _maker(function)
    function = inspect.unwrap(function)
    return getattr(function, "__globals__", {})


def _maker(kind: type) -> Any:
    """The function whose signature a class has."""
    for name in ("__init__", "__new__"):
        found = getattr(kind, name)
        if hasattr(found, "__globals__"):
            return found
    return kind
