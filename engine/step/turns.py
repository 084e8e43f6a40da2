"""Turns: which optimizers step in which iteration, where a step has several.

A policy is any function ``(iteration) -> names``: it gets the iteration's number from 0, and
returns the names of the optimizers in their order, each of which gets a loss of its own. A tuple
among them is a group that shares one loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..whole import whole

__all__ = ["Turn", "Turns", "alternately", "by_frequency", "simultaneously"]

Turn = str | tuple[str, ...]
Turns = Callable[[int], Sequence[Turn]]


def simultaneously(*names: Turn) -> Turns:
    """Each of them in each iteration, in this order.

    Example:
        >>> simultaneously("d", "g")(7)
        ('d', 'g')
    """
    _given(names)
    return lambda iteration: names


def alternately(*names: Turn) -> Turns:
    """One after the other, an iteration each.

    Example:
        >>> [*map(alternately("d", "g"), range(3))]
        [('d',), ('g',), ('d',)]
    """
    _given(names)
    return lambda iteration: (names[iteration % len(names)],)


def by_frequency(**iterations: int) -> Turns:
    """Each for so many iterations, then the next.

    Raises:
        ValueError: for frequencies that are not whole numbers from 1.

    Example:
        >>> [*map(by_frequency(d=2, g=1), range(4))]
        [('d',), ('d',), ('g',), ('d',)]
    """
    counts = {name: whole(name, count) for name, count in iterations.items()}
    return alternately(*(name for name, count in counts.items() for _ in range(count)))


def _given(names: tuple[Turn, ...]) -> None:
    if not names:
        raise ValueError("no names of optimizers were given; name those whose turns these are.")
