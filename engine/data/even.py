"""Even shares: processes that train together take equally many batches, whatever each of them has.

Each step exchanges gradients, so that a process with one batch more would wait for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from ..amount import Amount
from ..beginning import check_data
from ..errors import DataError
from ..limited import Limited
from ..passes import Through
from ..placement.ranks import gathered, is_first, largest, world_size
from ..source import END, length_of

__all__ = ["EvenBatches", "even"]

_logger = logging.getLogger("footplate.data")


def even(data: Any) -> Any:
    """Data of which all processes take equally many batches in a pass; all have to call this.

    Where all of the data say how many batches they have, these numbers are compared once, here, and
    all passes end with the shortest. Data that don't say it become :class:`EvenBatches`. In one
    process alone, and where all have as many, it is the data themselves.

    Args:
        data: what this process trains on.

    Raises:
        DataError: in all processes, if one of them has not one batch.
        TypeError: for data that can't be iterated over.

    Example:
        >>> even([1, 2, 3])
        [1, 2, 3]
    """
    check_data(data)
    if world_size() == 1 or data is None:
        return data
    lengths = gathered(length_of(data))
    if None in lengths:
        return EvenBatches(data)
    shortest = min(lengths)
    if shortest == max(lengths):
        return data
    if not shortest:
        raise DataError(
            f"the processes have {_listed(lengths)} batches, so that one of them can't train; give "
            f"each at least one: fewer processes, smaller batches, or more data."
        )
    if is_first():
        _logger.warning(
            "the processes have %s batches; each pass over them ends behind %d, as each step "
            "needs one of every process.",
            _listed(lengths),
            shortest,
        )
    return Limited(data, Amount.of(shortest))


class EvenBatches:
    """Data without a length, whose passes end in all processes when they end in one.

    Before each batch one reduction of two numbers tells whether every process has one, which takes
    0.1 to 1 ms between processes of one machine; data that say how many batches they have don't
    need it. What the others have fetched then is dropped.

    Args:
        loader: the data of this process.

    Attributes:
        loader: as given. What looks for samplers in data finds them there.

    Example:
        >>> list(EvenBatches(iter("abc")))
        ['a', 'b', 'c']
    """

    def __init__(self, loader: Any) -> None:
        check_data(loader)
        self.loader = loader
        self._said = False

    def __iter__(self) -> Iterator[Any]:
        return self._together(iter(self.loader), 0)

    def make_passes(self) -> Through:
        """Passes over the data, each cut where another process has no more."""
        return Through(self.loader, self._together)

    def __repr__(self) -> str:
        return f"<as many batches of a {type(self.loader).__name__} as every process has>"

    def _together(self, batches: Iterator[Any], position: int) -> Iterator[Any]:
        iterator: Iterator[Any] | None = batches
        del batches
        while iterator is not None:
            batch = next(iterator, END)
            has = batch is not END
            any_has, one_lacks = largest([has, not has])
            if one_lacks:
                iterator = None  # and so its worker processes
                self._say(position, uneven=bool(any_has))
                return
            position += 1
            yield batch

    def _say(self, position: int, *, uneven: bool) -> None:
        if uneven and not self._said and is_first():
            _logger.warning(
                "a pass over the data ended behind %d batches, as a process has no more; what "
                "others still have is left out, here and in later passes.",
                position,
            )
        self._said = self._said or uneven


def _listed(lengths: list[int]) -> str:
    """The lengths of few processes, or the bounds of many."""
    if len(lengths) <= 8:
        return f"{', '.join(map(str, lengths[:-1]))} and {lengths[-1]}"
    return f"{min(lengths)} to {max(lengths)}"
