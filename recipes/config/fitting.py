"""Whether a plain value fits an annotation, and what it becomes where it does."""

from __future__ import annotations

import collections.abc
import os
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, TypeVar

from ...engine.errors import nearest
from .describing import described
from .finding import TypeNotFound
from .paths import Key

__all__ = ["Fitting", "Made", "Misfit"]

_PLAIN = (type(None), bool, int, float, str, list, tuple, dict)
_NUMBERS: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float)}
_NUMBERS[complex] = (int, float, complex)
_STAND_INS: dict[tuple[str, str], tuple[type, ...]] = {
    ("torch", "device"): (str, int),
    ("torch.utils.data.dataset", "Dataset"): (list, tuple, dict),
}
"""What else is taken where these classes are asked for, whatever their annotations say."""


@dataclass(frozen=True)
class Made:
    """What stands for an object that is not built yet.

    Attributes:
        spec: what describes it.
        kind: its class, if that is known.

    Example:
        >>> from torch import nn
        >>> made = Made({"type": "ReLU"}, nn.ReLU)
        >>> fit = Fitting(find=lambda name: print)
        >>> fit(made, nn.Module) is made
        True
        >>> fit(made, int)
        Traceback (most recent call last):
        footplate.recipes.config.fitting.Misfit: a whole number, given {'type': 'ReLU'}
    """

    spec: Any
    kind: type | None = None


class Misfit(Exception):
    """A value does not fit.

    Attributes:
        expected: what would, ``"a number"``.
        given: the value.
        steps: where within the value that was asked about.
        hint: what to do, a sentence behind a space.
        why: more of the reason, ``", and there is no module 'fo'"``.

    Example:
        >>> fit = Fitting(find=lambda name: print)
        >>> try:
        ...     fit({"steps": [1, "two"]}, dict[str, list[int]])
        ... except Misfit as misfit:
        ...     print(misfit.expected, misfit.given, misfit.steps)
        a whole number two ('steps', 1)
    """

    def __init__(self, expected: str, given: object, hint: str = "", why: str = "") -> None:
        self.expected, self.given, self.hint, self.why = expected, given, hint, why
        self.steps: tuple[Key, ...] = ()
        super().__init__(f"{expected}, given {given!r}")


class Fitting:
    """Fits values to annotations.

    Only plain values are looked at, those that a file can hold: an object that somebody made
    is taken to be the right one. What an annotation does not say plainly is passed over.

    Args:
        find: what a name or dotted path means where a callable is asked for.

    Example:
        >>> fit = Fitting(find=lambda name: print)
        >>> fit([1, 2], tuple[int, int]), fit(3, float | None), fit("print", Callable[..., None])
        ((1, 2), 3, <built-in function print>)
        >>> fit("fast", float | None)
        Traceback (most recent call last):
        footplate.recipes.config.fitting.Misfit: a number or null, given 'fast'
    """

    def __init__(self, find: Callable[[str], Callable[..., Any]]) -> None:
        self._find = find

    def __call__(self, value: Any, hint: Any) -> Any:
        """The value, as the annotation says it is.

        Lists become tuples and sets, text paths and callables, and values members of enumerations.

        Raises:
            Misfit: if it does not fit.
        """
        hint = _bare(hint)
        origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._one_of(value, inner, hint)
        if origin is typing.Literal:
            return _literal(value, inner, hint)
        if typing.is_typeddict(origin):
            origin = dict
        if not isinstance(origin, type) or origin in (Any, object) or _is_protocol(origin):
            return value
        if isinstance(value, Made):
            return _made(value, origin)
        if type(value) not in _PLAIN:
            return value
        if origin in (collections.abc.Callable, type):
            return self._callable(value, hint)
        if isinstance(value, (list, tuple)):
            return self._sequence(value, origin, inner, hint)
        if isinstance(value, dict):
            return self._mapping(value, origin, inner, hint)
        return _scalar(value, origin, hint)

    def _one_of(self, value: Any, arms: Sequence[Any], hint: Any) -> Any:
        fits, misfits = [], []
        for arm in arms:
            try:
                fits.append(self(value, arm))
            except Misfit as misfit:
                misfits.append(misfit)
        for one in fits:  # as it is, rather than turned into something
            if one is value or (type(one) is type(value) and one == value):
                return one
        if fits:
            return fits[0]
        inside = [misfit for misfit in misfits if misfit.steps]
        if len(inside) == 1:  # the one that it was meant for
            raise inside[0]
        said = next((one for one in misfits if one.hint or one.why), misfits[0])
        raise Misfit(described(hint), value, said.hint, said.why)

    def _callable(self, value: Any, hint: Any) -> Any:
        if not isinstance(value, str):
            raise Misfit(described(hint), value)
        try:
            return self._find(value)
        except TypeNotFound as error:
            why = f", and {error.reason}"
            raise Misfit(described(hint), value, error.hint, why) from error

    def _sequence(self, value: Any, kind: type, inner: tuple[Any, ...], hint: Any) -> Any:
        if kind is tuple:
            return tuple(self._tuple(value, inner, hint))
        if issubclass(list, kind):
            return self._items(value, [inner[0] if inner else Any] * len(value))
        if kind in (set, frozenset, collections.abc.Set):
            items = self._items(value, [inner[0] if inner else Any] * len(value))
            try:
                return frozenset(items) if kind is frozenset else set(items)
            except TypeError as error:
                raise Misfit(described(hint), value) from error
        return _other(value, kind, hint)

    def _tuple(self, value: Any, inner: tuple[Any, ...], hint: Any) -> list[Any]:
        if not inner or inner[-1] is ...:
            return self._items(value, [inner[0] if inner else Any] * len(value))
        if len(value) != len(inner) and inner != ((),):
            raise Misfit(described(hint), value)
        return self._items(value, inner)

    def _items(self, value: Sequence[Any], hints: Sequence[Any]) -> list[Any]:
        return [self._inside(at, one, hints[at]) for at, one in enumerate(value)]

    def _mapping(self, value: Any, kind: type, inner: tuple[Any, ...], hint: Any) -> Any:
        if issubclass(dict, kind) and not issubclass(list, kind):
            of = inner[1] if len(inner) == 2 else Any
            return {key: self._inside(key, one, of) for key, one in value.items()}
        if is_dataclass(kind) or issubclass(kind, dict) or (issubclass(dict, kind) and not inner):
            return value
        return _other(value, kind, hint)

    def _inside(self, key: Key, value: Any, hint: Any) -> Any:
        try:
            return self(value, hint)
        except Misfit as misfit:
            misfit.steps = (key, *misfit.steps)
            raise


def _bare(hint: Any) -> Any:
    """An annotation without what does not change which values fit."""
    while True:
        if typing.get_origin(hint) in (typing.Annotated, typing.Final, typing.ClassVar):
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif isinstance(hint, InitVar):
            hint = hint.type
        elif type(hint).__name__ == "TypeAliasType":  # of Python 3.12: type Size = int
            hint = hint.__value__
        else:
            break
    if hint is None:
        return type(None)
    return Any if isinstance(hint, (str, TypeVar, typing.ForwardRef)) else hint


def _is_protocol(kind: type) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _literal(value: Any, options: tuple[Any, ...], hint: Any) -> Any:
    for option in options:
        if value == option and type(value) is type(option):
            return option
    close = nearest(value, options) if isinstance(value, str) else ""
    raise Misfit(described(hint), value, close)


def _made(value: Made, kind: type) -> Made:
    plain = (*_PLAIN, complex, bytes)
    if value.kind is None or kind not in plain or issubclass(value.kind, _NUMBERS.get(kind, kind)):
        return value
    raise Misfit(described(kind), value.spec)


def _scalar(value: Any, kind: type, hint: Any) -> Any:
    if isinstance(value, bool):
        fits = kind is bool or (kind not in _NUMBERS and isinstance(value, kind))
    elif kind in _NUMBERS:
        fits = isinstance(value, _NUMBERS[kind])
    else:
        fits = _is_instance(value, kind)
    if fits:
        return value
    if kind in (bool, *_NUMBERS):
        raise Misfit(described(hint), value, _rewritten(value, kind))
    return _other(value, kind, hint)


def _rewritten(value: Any, kind: type) -> str:
    """How to write what was meant, where that is plain."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return f" Write {int(value)}."
    if kind is bool and value in ("true", "false"):
        return f" Write {value}, without quotes."
    if isinstance(value, str) and kind in _NUMBERS:
        try:
            kind(value)
        except ValueError:
            return ""
        return f" Write {value}, without quotes."
    return ""


def _other(value: Any, kind: type, hint: Any) -> Any:
    """A plain value for a class that is none of the plain ones."""
    if isinstance(value, str) and issubclass(kind, PurePath):
        return kind(value)
    if isinstance(value, str) and kind is os.PathLike:
        return Path(value)
    if issubclass(kind, Enum):
        return _member(value, kind, hint)
    if _is_instance(value, kind) or _takes_more(value, kind):
        return value
    raise Misfit(described(hint), value)


def _member(value: Any, kind: type[Enum], hint: Any) -> Any:
    for member in kind:
        if (value == member.value and type(value) is type(member.value)) or value == member.name:
            return member
    names = [str(name) for one in kind for name in (one.name, one.value)]
    close = nearest(value, names) if isinstance(value, str) else ""
    raise Misfit(described(hint), value, close)


def _is_instance(value: Any, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that can't be looked for while running
        return True


def _takes_more(value: Any, kind: type) -> bool:
    """Whether a class is known to be made of such values by what takes it."""
    if (stand_ins := _STAND_INS.get((kind.__module__, kind.__name__))) is not None:
        return isinstance(value, stand_ins)
    return isinstance(value, (str, int)) and issubclass(kind, type(value))
