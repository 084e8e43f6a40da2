"""Dealing: how samples that were dealt out to processes come back into one order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["dealt_rows", "put_back"]


def put_back(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """The entries of all processes, one of each in turn, as they were dealt out.

    Args:
        shares: the entries of each process; some may have fewer, or none.

    Example:
        >>> put_back([["a", "c", "e"], ["b", "d"]])
        ['a', 'b', 'c', 'd', 'e']
    """
    return [shares[rank][n] for rank, n in _turns(list(map(len, shares)))]


def dealt_rows(counts: Sequence[int]) -> list[int]:
    """Where the entries are that come in turn, if the shares lie behind each other.

    Args:
        counts: how many entries each process has.

    Example:
        >>> dealt_rows([3, 2])
        [0, 3, 1, 4, 2]
    """
    begins = [sum(counts[:rank]) for rank in range(len(counts))]
    return [begins[rank] + n for rank, n in _turns(counts)]


def _turns(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Rank and number within its share of each entry, in the order of the whole."""
    longest = max(counts, default=0)
    return [(rank, n) for n in range(longest) for rank, count in enumerate(counts) if n < count]
