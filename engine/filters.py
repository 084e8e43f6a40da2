"""Filters: at which counts of an event a handler wants to run.

A filter is a pure question about a count. Atoms look at the absolute count and combine with
``&``, ``|`` and ``~``:

    >>> wanted = every(10) & after(100) & ~once(500)
    >>> [count for count in range(90, 140) if wanted(None, count)]
    [110, 120, 130]
    >>> wanted
    every(10) & after(100) & ~once(500)
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = ["Filter", "after", "before", "every", "once", "where"]

Test = Callable[[Any, int], bool]

_OR, _AND, _ATOM = range(3)  # how tightly a filter's text binds


class Filter:
    """A question that an event asks of its count before a handler runs.

    Build filters with :func:`every`, :func:`once`, :func:`before`, :func:`after` and
    :func:`where`, and combine them with ``&`` (both), ``|`` (either) and ``~`` (not).

    Args:
        test: called with the engine and the count; says whether the handler runs.
        text: how the filter is written, for ``repr`` and ``Engine.describe``.

    Example:
        >>> early = before(3) | every(100)
        >>> early, [count for count in range(1, 201) if early(None, count)]
        (before(3) | every(100), [1, 2, 100, 200])
        >>> odd = Filter(lambda engine, count: count % 2 == 1, "odd")
        >>> odd & after(5)
        odd & after(5)
    """

    __slots__ = ("_binding", "_text", "test")

    def __init__(self, test: Test, text: str, _binding: int = _ATOM) -> None:
        self.test = test
        self._text = text
        self._binding = _binding

    def __call__(self, engine: Any, count: int) -> bool:
        """Whether a handler runs at this count."""
        return self.test(engine, count)

    def __and__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        left, right = self.test, other.test
        return Filter(
            lambda engine, count: left(engine, count) and right(engine, count),
            f"{self._inside(_AND)} & {other._inside(_AND)}",
            _AND,
        )

    def __or__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        left, right = self.test, other.test
        return Filter(
            lambda engine, count: left(engine, count) or right(engine, count),
            f"{self} | {other}",
            _OR,
        )

    def __invert__(self) -> Filter:
        test = self.test
        return Filter(lambda engine, count: not test(engine, count), f"~{self._inside(_ATOM)}")

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self} is neither true nor false; join filters with &, | and ~.")

    def __repr__(self) -> str:
        return self._text

    def _inside(self, binding: int) -> str:
        return self._text if self._binding >= binding else f"({self._text})"


def every(n: int) -> Filter:
    """Counts that ``n`` divides.

    Example:
        >>> [count for count in range(10) if every(3)(None, count)]
        [0, 3, 6, 9]
    """
    _whole("every", n, least=1)
    return Filter(lambda engine, count: count % n == 0, f"every({n})")


def once(*counts: int) -> Filter:
    """The given counts alone.

    Example:
        >>> [count for count in range(10) if once(2, 5)(None, count)]
        [2, 5]
    """
    if not counts:
        raise ValueError("once() was given no count; write once(5) or once(5, 10).")
    for count in counts:
        _whole("once", count, least=1)
    wanted = frozenset(counts)
    return Filter(lambda engine, count: count in wanted, f"once({', '.join(map(str, counts))})")


def before(n: int) -> Filter:
    """Counts less than ``n``.

    Example:
        >>> [count for count in range(10) if before(3)(None, count)]
        [0, 1, 2]
    """
    _whole("before", n, least=0)
    return Filter(lambda engine, count: count < n, f"before({n})")


def after(n: int) -> Filter:
    """Counts greater than ``n``.

    Example:
        >>> [count for count in range(10) if after(7)(None, count)]
        [8, 9]
    """
    _whole("after", n, least=0)
    return Filter(lambda engine, count: count > n, f"after({n})")


def where(test: Test) -> Filter:
    """Counts for which ``test(engine, count)`` is true.

    Example:
        >>> powers = where(lambda engine, count: count & (count - 1) == 0)
        >>> [count for count in range(1, 20) if powers(None, count)]
        [1, 2, 4, 8, 16]
    """
    if not callable(test):
        raise TypeError(
            f"event_filter {test!r} is not callable; give a function (engine, count) -> bool."
        )
    try:
        inspect.signature(test).bind(None, 1)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"event_filter {test!r} would be called as (engine, count): {error}."
        ) from None
    return Filter(test, f"where({getattr(test, '__qualname__', repr(test))})")


def from_keywords(
    event_filter: Test | None = None,
    every: int | None = None,
    once: int | Sequence[int] | None = None,
    before: int | None = None,
    after: int | None = None,
) -> Filter | None:
    """The filter that pytorch-ignite's keywords describe; ``None`` where every count passes.

    Unlike the algebra, ``every`` starts its phase behind ``after`` here, as in pytorch-ignite:
    ``every=10, after=100`` fires at 101, 111, 121.
    """
    given = {"event_filter": event_filter, "once": once}
    ranged = {"every": every, "before": before, "after": after}
    named = [name for name, value in {**given, **ranged}.items() if value is not None]
    groups = [name for name in given if name in named] + [r for r in ranged if r in named][:1]
    if len(groups) != 1:
        raise ValueError(
            f"a filter takes exactly one of event_filter=, once=, or (every=, before=, after=); "
            f"given: {', '.join(named) or 'nothing'}. "
            f"Combine freely with the algebra: Events.X(every(10) & ~once(50))."
        )
    if event_filter is not None:
        return where(event_filter)
    if once is not None:
        counts = once if isinstance(once, Sequence) else [once]
        if not counts:
            raise ValueError("once=[] names no count; write once=5 or once=[5, 10].")
        for count in counts:
            _whole("once", count, least=1)
        wanted = frozenset(counts)
        return Filter(lambda engine, count: count in wanted, f"once={once}")
    return _range(every, before, after)


def _range(every: int | None, before: int | None, after: int | None) -> Filter | None:
    if every is not None:
        _whole("every", every, least=1)
    if before is not None:
        _whole("before", before, least=0)
    if after is not None:
        _whole("after", after, least=0)
    text = ", ".join(
        f"{name}={value}"
        for name, value in (("every", every), ("before", before), ("after", after))
        if value is not None
    )
    step = 1 if every is None else every
    if before is None and after is None:
        return None if step == 1 else Filter(lambda engine, count: count % step == 0, text)
    low = 0 if after is None else after
    high = float("inf") if before is None else before
    if step == 1:
        return Filter(lambda engine, count: low < count < high, text)
    return Filter(lambda engine, count: low < count < high and (count - low - 1) % step == 0, text)


def _whole(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        kind = "positive" if least == 1 else "non-negative"
        raise ValueError(f"{name} takes {kind} whole numbers, given {value!r}.")
