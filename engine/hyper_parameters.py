"""Hyper-parameters: as plain values that a checkpoint can hold, and back into what they made."""

from __future__ import annotations

import copy
import inspect
import types
import typing
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from numbers import Integral, Rational, Real
from pathlib import PurePath
from typing import Any, TypeVar

from .errors import StateError, nearest

__all__ = ["hyper_parameters", "rebuilt"]

Made = TypeVar("Made")


def hyper_parameters(source: object, *, ignore: str | Iterable[str] = ()) -> dict[str, Any]:
    """What something was made with, as values that JSON takes.

    In a constructor, ``hyper_parameters(locals())`` takes its arguments. Paths become strings,
    enumerations their values, tuples lists, numbers of numpy those of Python, and nested
    data classes and namespaces dictionaries. ``self`` and names that begin with an underscore
    are left out.

    Args:
        source: a mapping, an instance of a data class, or a namespace as argparse returns it.
        ignore: names to leave out, nested ones with dots: ``"optimizer.callback"``.

    Returns:
        the values by name; ``json.loads(json.dumps(…))`` gives them back as they are.

    Raises:
        TypeError: for a source of another kind, and for a value that JSON does not take.
        ValueError: if a name to leave out is not there.

    Example:
        >>> class Net:
        ...     def __init__(self, sizes, dropout=0.1, loss=print):
        ...         self.made_with = hyper_parameters(locals(), ignore="loss")
        >>> Net((2, 1)).made_with
        {'sizes': [2, 1], 'dropout': 0.1}
    """
    named = _named(source)
    if named is None:
        raise TypeError(
            f"hyper-parameters come as a mapping, an instance of a data class or a namespace; "
            f"what was given is {_type_name(source)}. In a function, give locals(); of an "
            f"object, vars(…)."
        )
    named = {
        name: value
        for name, value in named.items()
        if not (isinstance(name, str) and (name == "self" or name.startswith("_")))
    }
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    met: set[str] = set()
    plain = _plain_items(named, "", ignored, met)
    for name in sorted(ignored - met):
        raise ValueError(
            f"ignore={name!r} is not among the hyper-parameters "
            f"{', '.join(map(repr, sorted(met))) or '(there are none)'}.{nearest(name, met)}"
        )
    return plain


def _named(source: object) -> Mapping[Any, Any] | None:
    """The values of something by name; ``None`` for what has no such."""
    if isinstance(source, Mapping):
        return source
    if is_dataclass(source) and not isinstance(source, type):
        return {one.name: getattr(source, one.name) for one in fields(source) if one.init}
    if isinstance(source, (Namespace, types.SimpleNamespace)):
        return vars(source)
    return None


def _plain_items(
    named: Mapping[Any, Any], path: str, ignored: set[str], met: set[str]
) -> dict[str, Any]:
    plain = {}
    for name, value in named.items():
        if not isinstance(name, str):
            raise TypeError(
                f"{path or 'the mapping'} has the key {name!r}, and a hyper-parameter's name is "
                f"a string, as JSON knows no other; {_way_out(path)}"
            )
        where = f"{path}.{name}" if path else name
        met.add(where)
        if where not in ignored:
            plain[name] = _plain(value, where, ignored, met)
    return plain


def _plain(value: object, path: str, ignored: set[str], met: set[str]) -> Any:
    if isinstance(value, Enum):  # before numbers and strings: some are those, too
        return _plain(value.value, path, ignored, met)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Rational):  # no float is a fraction
        return float(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{path}[{at}]", ignored, met) for at, one in enumerate(value)]
    if (named := _named(value)) is not None:
        return _plain_items(named, path, ignored, met)
    raise TypeError(
        f"hyper-parameter {path!r} is {_type_name(value)}, which JSON does not take; "
        f"{_way_out(path)}"
    )


def _way_out(path: str) -> str:
    name = path.partition("[")[0]
    return f"give plain values, or leave it out by ignore={name!r}." if name else "rename it."


def _type_name(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"the class {name}" if isinstance(value, type) else f"of type {name}"


def rebuilt(build: Callable[..., Made], saved: Mapping[str, Any]) -> Made:
    """Call a class or a function with hyper-parameters that were saved.

    Where a parameter's annotation says so, values become what they were: data classes, paths,
    enumerations and tuples, also in lists, tuples and dictionaries of such, or as ``… | None``.
    Annotations that can't be looked up are passed over.

    Args:
        build: what to call.
        saved: what :func:`hyper_parameters` returned, of arguments by name.

    Returns:
        what the call returns.

    Raises:
        StateError: if it requires a parameter that was not saved, or takes none of a saved name.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Size:
        ...     width: int
        ...     strides: tuple[int, ...] = (1,)
        >>> saved = hyper_parameters(Size(3, strides=(2, 2)))
        >>> saved, rebuilt(Size, saved)
        ({'width': 3, 'strides': [2, 2]}, Size(width=3, strides=(2, 2)))
    """
    signature = inspect.signature(build)
    given = _sorted_out(signature, saved, getattr(build, "__name__", repr(build)))
    hints = _hints(build)
    arguments = {  # in the order of the signature, as it binds them
        name: _as_annotated(copy.deepcopy(given[name]), hints.get(name))
        for name in signature.parameters
        if name in given
    }
    bound = inspect.BoundArguments(signature, arguments)
    return build(*bound.args, **bound.kwargs)


def _sorted_out(
    signature: inspect.Signature, saved: Mapping[str, Any], called: str
) -> dict[str, Any]:
    """The saved values by parameter, the rest of them under the name of ``**`` if there is one."""
    known, given = signature.parameters, dict(saved)
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    rest = next((one.name for one in known.values() if one.kind is several[1]), None)
    extra = {name: given.pop(name) for name in saved if name not in known}
    if rest is not None:
        given[rest] = {**given.get(rest, {}), **extra}
    elif extra:
        names = [name for name, one in known.items() if one.kind not in several]
        unknown = next(iter(extra))
        raise StateError(
            f"{called} takes no {unknown!r}, which was saved; it takes "
            f"{', '.join(map(repr, names)) or 'nothing'}.{nearest(unknown, names)}"
        )
    for name, one in known.items():
        if name not in given and one.default is one.empty and one.kind not in several:
            raise StateError(
                f"{called} requires {name!r}, which was not saved; there are "
                f"{', '.join(map(repr, saved)) or 'none'}.{nearest(name, extra or saved)} What "
                f"was left out by ignore= has to be given otherwise, for instance by "
                f"rebuilt(…, {{**saved, {name!r}: …}})."
            )
    return given


def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(vars(build)["__init__"] if isinstance(build, type) else build)
    except (NameError, TypeError):  # of names that only type checkers see, or of no function
        return {}


def _as_annotated(value: Any, hint: Any) -> Any:
    """A plain value as what an annotation says it was, where it says so plainly."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        arms = [arm for arm in inner if arm is not types.NoneType]
        return _as_annotated(value, arms[0]) if value is not None and len(arms) == 1 else value
    if not isinstance(kind, type):
        return value
    if isinstance(value, list) and (kind is tuple or issubclass(list, kind)):
        return _items_as_annotated(value, kind, inner)
    if isinstance(value, dict) and is_dataclass(kind):
        return rebuilt(kind, value)
    if isinstance(value, dict) and issubclass(dict, kind) and len(inner) == 2:
        return {name: _as_annotated(one, inner[1]) for name, one in value.items()}
    if isinstance(value, str) and issubclass(kind, PurePath):
        return kind(value)
    return kind(value) if issubclass(kind, Enum) else value


def _items_as_annotated(values: list[Any], kind: type, inner: tuple[Any, ...]) -> Any:
    each = inner if kind is tuple and inner[-1:] != (...,) else inner[:1] * len(values)
    if len(each) != len(values):
        each = (None,) * len(values)
    made = [_as_annotated(one, hint) for one, hint in zip(values, each, strict=True)]
    return tuple(made) if kind is tuple else made
