"""Nested batches: walking over dicts, lists, tuples and dataclasses down to what they hold."""

from __future__ import annotations

import copy
import dataclasses
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

__all__ = ["leaves", "map_nested", "samples_in"]

_Kind = type[Any] | tuple[type[Any], ...]


def map_nested(
    function: Callable[..., Any], structure: Any, *others: Any, kind: _Kind = object
) -> Any:
    """Call a function on every leaf of a nested structure, and build the same of the results.

    Mappings, lists, tuples, named tuples and dataclasses are walked through; all else is a leaf.
    Each is rebuilt as a shallow copy with new values, so that a ``defaultdict`` keeps its factory
    and no ``__init__`` or ``__post_init__`` runs again; where a type can't be rebuilt, it becomes
    a plain ``dict`` or ``tuple``. What is given is never changed.

    Args:
        function: takes the leaf, and those at the same place of the others; returns the new one.
        structure: what to walk over.
        others: more structures of the same shape, walked side by side.
        kind: the types that the function is for; other leaves are handed back as they are. The
            walk stops at them, even at a list if ``list`` is one. ``object`` is every leaf.

    Returns:
        a structure of the same shape.

    Raises:
        ValueError: if the shapes differ; it says at which path.

    Example:
        >>> batch = {"image": [1, 2], "name": "a"}
        >>> map_nested(lambda one: one * 10, batch, kind=int)
        {'image': [10, 20], 'name': 'a'}
        >>> map_nested(lambda a, b: a + b, {"x": (1, 2)}, {"x": (3, 4)})
        {'x': (4, 6)}
    """
    if not others:
        return _mapped(function, structure, kind, _stops(kind))
    return _mapped_together(function, (structure, *others), kind, "")


def leaves(structure: Any, *, kind: _Kind = object) -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested structure with its path, in order.

    Args:
        structure: what to walk over.
        kind: the types of the leaves that are wanted, as in :func:`map_nested`.

    Returns:
        pairs of path and leaf; a structure that is a leaf itself has the empty path.

    Example:
        >>> list(leaves({"images": {"left": [7]}, "name": "a"}, kind=int))
        [('images.left[0]', 7)]
    """
    return _found(structure, kind, _stops(kind), "")


def samples_in(batch: Any) -> int:
    """How many samples a batch has: the length of the first tensor or array in it.

    A list of tuples or dicts is one of samples, and so is a sequence of dicts beside another, as a
    detector's targets are. Where nothing tells, it is 1.

    Example:
        >>> import torch
        >>> x = torch.zeros(8, 3)
        >>> samples_in((x, torch.zeros(8))), samples_in({"name": ["a"], "x": x}), samples_in(0.5)
        (8, 8, 1)
        >>> samples_in([(x[0], 1), (x[1], 0)]), samples_in(((x[0], x[1]), ({"a": 1}, {"a": 2})))
        (2, 2)
    """
    first = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    shape = getattr(first, "shape", None)  # most are so, and told sooner
    return shape[0] if shape else _samples(batch) or 1


def _samples(batch: Any) -> int | None:
    entries: Iterable[Any]
    if isinstance(batch, (list, tuple)):
        first = batch[0] if batch else None
        nested = isinstance(batch, list) and isinstance(first, (tuple, list, Mapping))
        if nested and all(type(one) is type(first) for one in batch):
            return len(batch)
        if (targets := next(filter(_are_mappings, batch), None)) is not None:
            return len(targets)  # beside images of any size
        entries = batch
    elif (shape := getattr(batch, "shape", None)) is not None:
        return shape[0] if shape else None
    elif isinstance(batch, Mapping):
        entries = batch.values()
    else:
        return None
    found = map(_samples, islice(entries, 16))  # a long list of words tells nothing
    return next((one for one in found if one), None)


def _are_mappings(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and bool(given) and isinstance(given[0], Mapping)


def _mapped(
    function: Callable[..., Any], structure: Any, kind: _Kind, stops: tuple[type[Any], ...]
) -> Any:
    if not isinstance(structure, stops):
        plain = type(structure)  # most are, and so cheaper than by their parts
        if plain is tuple or plain is list:
            return plain([_mapped(function, one, kind, stops) for one in structure])
        if plain is dict:
            return {key: _mapped(function, one, kind, stops) for key, one in structure.items()}
        if (parts := _parts(structure)) is not None:
            values = {key: _mapped(function, one, kind, stops) for key, one in parts.items()}
            return _rebuilt(structure, values)
    return function(structure) if isinstance(structure, kind) else structure


def _mapped_together(
    function: Callable[..., Any], structures: tuple[Any, ...], kind: _Kind, path: str
) -> Any:
    first, stops = structures[0], _stops(kind)
    parts = [None if isinstance(one, stops) else _parts(one) for one in structures]
    for number, other in enumerate(structures[1:], 2):
        if not _same_shape(first, parts[0], other, parts[number - 1]):
            raise ValueError(
                f"nested structures differ at {path.removeprefix('.') or 'the top'}: "
                f"{_described(first, parts[0])} in the first, "
                f"{_described(other, parts[number - 1])} in structure {number}."
            )
    if parts[0] is None:
        return function(*structures) if isinstance(first, kind) else first
    values = {
        key: _mapped_together(
            function, tuple(one[key] for one in parts if one), kind, path + _step(key)
        )
        for key in parts[0]
    }
    return _rebuilt(first, values)


def _found(
    structure: Any, kind: _Kind, stops: tuple[type[Any], ...], path: str
) -> Iterator[tuple[str, Any]]:
    parts = None if isinstance(structure, stops) else _parts(structure)
    if parts is not None:
        for key, one in parts.items():
            yield from _found(one, kind, stops, path + _step(key))
    elif isinstance(structure, kind):
        yield path.removeprefix("."), structure


def _stops(kind: _Kind) -> tuple[type[Any], ...]:
    """The types at which the walk stops, even if they are containers."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return tuple(one for one in kinds if one is not object)


def _parts(structure: Any) -> dict[Any, Any] | None:
    """What a structure holds, by key, index or field; ``None`` for a leaf."""
    if isinstance(structure, Mapping):
        return dict(structure.items())
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return dict(zip(structure._fields, structure, strict=True))
    if isinstance(structure, (list, tuple)):
        return dict(enumerate(structure))
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        names = [field.name for field in dataclasses.fields(structure)]
        return {name: getattr(structure, name) for name in names if hasattr(structure, name)}
    return None


def _rebuilt(structure: Any, values: dict[Any, Any]) -> Any:
    """A copy of a structure that holds other values at the same places."""
    new: Any
    if isinstance(structure, (dict, UserDict)):
        new = copy.copy(structure)
        for key, value in values.items():
            new[key] = value
        return new
    if isinstance(structure, Mapping):
        return _made(type(structure), values, values)
    if isinstance(structure, list):
        new = copy.copy(structure)
        new[:] = values.values()
        return new
    if isinstance(structure, tuple):
        plain = tuple(values.values())
        return _made(getattr(structure, "_make", type(structure)), plain, plain)
    new = copy.copy(structure)
    for name, value in values.items():
        object.__setattr__(new, name, value)  # a frozen one refuses setattr
    return new


def _made(make: Callable[[Any], Any], values: Any, otherwise: Any) -> Any:
    try:
        return make(values)
    except TypeError:  # a mapping with an __init__ of its own, say, or a torch.Size of strings
        return otherwise


def _same_shape(
    first: Any, its: dict[Any, Any] | None, other: Any, theirs: dict[Any, Any] | None
) -> bool:
    if its is None or theirs is None:
        return its is theirs
    containers = (Mapping, list, tuple)
    alike = [isinstance(first, one) and isinstance(other, one) for one in containers]
    return its.keys() == theirs.keys() and (any(alike) or type(first) is type(other))


def _described(structure: Any, parts: dict[Any, Any] | None) -> str:
    name = type(structure).__name__
    if parts is None:
        return f"a leaf of type {name}"
    if isinstance(structure, (list, tuple)) and not hasattr(structure, "_fields"):
        return f"a {name} of {len(parts)}"
    return f"a {name} with {', '.join(map(repr, parts)) or 'nothing'}"


def _step(key: Any) -> str:
    """What a path says of one step down."""
    named = isinstance(key, str) and key.isidentifier()
    return f".{key}" if named else f"[{key!r}]"
