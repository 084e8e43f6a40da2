"""Several loaders one after the other, as one that tells which of them a batch is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..source import length_of

__all__ = ["InTurn"]


class InTurn:
    """Goes through one loader after the other; each pass begins with the first.

    It is made for evaluation, whose passes are not taken up in their midst.

    Args:
        loaders: the loaders.

    Attributes:
        loaders: the same.
        loader_idx: the number of the loader that the last batch was of, from 0.
        batch_idx: the number of that batch in its loader, from 0.

    Example:
        >>> both = InTurn(["ab", "c"])
        >>> [(batch, both.loader_idx, both.batch_idx) for batch in both]
        [('a', 0, 0), ('b', 0, 1), ('c', 1, 0)]
    """

    def __init__(self, loaders: Sequence[Iterable[Any]]) -> None:
        self.loaders = list(loaders)
        self.loader_idx = self.batch_idx = 0

    def __iter__(self) -> Iterator[Any]:
        for loader_idx, loader in enumerate(self.loaders):
            for batch_idx, batch in enumerate(loader):
                self.loader_idx, self.batch_idx = loader_idx, batch_idx
                yield batch

    def __len__(self) -> int:
        lengths = [length_of(loader) for loader in self.loaders]
        known = [length for length in lengths if length is not None]
        if len(known) < len(lengths):
            raise TypeError("a loader without a length is among them; so together they have none.")
        return sum(known)
