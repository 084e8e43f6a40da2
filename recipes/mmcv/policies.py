"""Policies: how a learning rate or a momentum depends on how far a run is, in closed form.

Each is a function of the value to begin with and of the progress ``n``, the epochs or iterations
that are over, so that where a run stands is all that there is to save. The formulas are those of
MMCV 1.7, in the same order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from ...engine.errors import nearest

__all__ = [
    "Anneal",
    "anneal_cos",
    "anneal_linear",
    "annealing_of",
    "cosine_restart",
    "cycle",
    "flat_cosine",
    "inverse",
    "one_cycle",
    "polynomial",
    "steps",
    "warm_up",
]

Anneal = Callable[[float, float, float], float]
"""A way from a start to an end, of which a share from 0 to 1 is gone."""


def anneal_cos(start: float, end: float, share: float, weight: float = 1.0) -> float:
    """Half a cosine from the start to the end.

    Example:
        >>> anneal_cos(1.0, 0.0, 0.5)
        0.5
    """
    return end + 0.5 * weight * (start - end) * (math.cos(math.pi * share) + 1)


def anneal_linear(start: float, end: float, share: float) -> float:
    """A straight line from the start to the end."""
    return start + (end - start) * share


_ANNEALINGS: dict[str, Anneal] = {"cos": anneal_cos, "linear": anneal_linear}


def annealing_of(strategy: str) -> Anneal:
    """The way that ``anneal_strategy`` names.

    Raises:
        ValueError: for another name.
    """
    if strategy not in _ANNEALINGS:
        raise ValueError(
            f"anneal_strategy is 'cos' or 'linear', given {strategy!r}."
            f"{nearest(str(strategy), _ANNEALINGS)}"
        )
    return _ANNEALINGS[strategy]


def steps(base: float, n: int, at: int | Sequence[int], gamma: float, least: float | None) -> float:
    """Multiplied by ``gamma`` at each of some places, or each so often.

    Args:
        base: the value to begin with.
        n: how many units are over.
        at: the places, or how many units there are from one to the next.
        gamma: the factor.
        least: what it is not to fall below.

    Example:
        >>> [steps(1.0, n, [2, 3], 0.5, None) for n in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    passed = n // at if isinstance(at, int) else _passed(at, n)
    value: float = base * gamma**passed
    return value if least is None else max(value, least)


def _passed(places: Sequence[int], n: int) -> int:
    """How many places lie behind, up to the first that does not."""
    return next((number for number, place in enumerate(places) if n < place), len(places))


def polynomial(base: float, n: int, total: int, power: float, least: float) -> float:
    """A power of the share that is left, down to ``least``."""
    left: float = (1 - n / total) ** power
    return (base - least) * left + least


def inverse(base: float, n: int, gamma: float, power: float) -> float:
    """``base * (1 + gamma * n) ** -power``."""
    value: float = base * (1 + gamma * n) ** (-power)
    return value


def flat_cosine(base: float, end: float, n: int, total: int, start_percent: float) -> float:
    """As it is for a share of the run, then half a cosine to the end."""
    start = round(total * start_percent)
    return base if n < start else anneal_cos(base, end, (n - start) / (total - start))


def cosine_restart(
    base: float, end: float, n: int, periods: Sequence[int], weights: Sequence[float]
) -> float:
    """Half a cosine in each period, begun anew with another weight.

    Raises:
        ValueError: behind the last period.
    """
    ends = list(accumulate(periods))
    number = _passed(ends, n)
    if number == len(ends):
        raise ValueError(
            f"the periods {list(periods)} end at {ends[-1]}, but the run has come to {n}; give "
            f"periods for all of it."
        )
    begun = ends[number - 1] if number else 0
    return anneal_cos(base, end, min((n - begun) / periods[number], 1), weights[number])


def cycle(
    base: float,
    n: int,
    length: int,
    ratios: tuple[float, float],
    up: float,
    gamma: float,
    anneal: Anneal,
) -> float:
    """Cycles: to a multiple of the base and on to another, each with less of an amplitude.

    Args:
        base: the value to begin with.
        n: how many iterations are over.
        length: iterations of one cycle.
        ratios: the multiples of the base.
        up: which share of a cycle the way to the first takes.
        gamma: what the amplitude is multiplied by from one cycle to the next.
        anneal: how the values go.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, 2017.
    """
    number, within = divmod(n, length)
    scale, turn = gamma**number, int(up * length)
    first, second = ratios
    if within < turn:
        return anneal(base, base * (1 - scale + first * scale), within / turn)
    if turn:
        first = 1 - scale + first * scale
    else:  # all of the cycle is the way back
        second = 1 - scale + second * scale
    return anneal(base * first, base * second, (within - turn) / (length - turn))


def one_cycle(n: int, phases: Sequence[tuple[float, float, float]], anneal: Anneal) -> float:
    """One cycle in phases, each a way from one value to another.

    Args:
        n: how many iterations are over.
        phases: of each the iteration where it ends, and the values at its ends.
        anneal: how the values go.

    Raises:
        ValueError: behind the last phase.

    Source: Smith and Topin, Super-Convergence, 2018.
    """
    begun: float = 0
    for end, first, last in phases:
        if n <= end:
            return anneal(first, last, (n - begun) / (end - begun))
        begun = end
    raise ValueError(f"the cycle ends at iteration {begun}, but the run has come to {n}.")


def warm_up(kind: str, n: int, length: int, ratio: float) -> float:
    """What a value is multiplied by while it is warmed up.

    Args:
        kind: ``"constant"``, ``"linear"`` or ``"exp"``.
        n: how many iterations are over.
        length: iterations that it lasts.
        ratio: the factor to begin with.

    Example:
        >>> [warm_up("linear", n, 4, 0.5) for n in range(5)]
        [0.5, 0.625, 0.75, 0.875, 1.0]
    """
    if kind == "constant":
        return ratio
    if kind == "linear":
        return 1 - (1 - n / length) * (1 - ratio)
    factor: float = ratio ** (1 - n / length)
    return factor
