"""Data of which only the first batches are taken, in each pass or once for all."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from .amount import Amount, Given
from .beginning import check_data
from .passes import Fitted, Passes, Through, moves_with_batches, passes_over
from .random import preserved
from .source import END, length_of

__all__ = ["Limited", "Overfitted", "limited", "overfit"]


def limited(data: Any, amount: Given | Amount) -> Any:
    """The first batches of each pass over the data.

    The data go on being shuffled as they are, so each pass has its own first batches. Where all
    is asked for, it is the data themselves.

    Args:
        data: what can be iterated over, again and again.
        amount: how many batches, or which fraction of them: ``"10%"``; a fraction is rounded down
            to whole batches, but to one at least.

    Returns:
        a :class:`Limited`, or ``data``.

    Raises:
        TypeError: for data that can't be iterated over, or only once.
        ValueError: for what is no amount; for a fraction of data without a length.

    Example:
        >>> few = limited(range(100), "3%")
        >>> list(few), len(few)
        ([0, 1, 2], 3)
    """
    _check(data)
    if hasattr(data, "__next__"):
        raise TypeError(
            f"a {type(data).__name__} has one pass alone, which a limit would cut for good; give "
            f"data that can be iterated over again, or itertools.islice({type(data).__name__}, n)."
        )
    wanted = Amount.of(amount)
    return data if wanted.is_everything else Limited(data, wanted)


def overfit(data: Any, amount: Given | Amount) -> Overfitted:
    """The same first batches in each pass, to see whether a model can learn them by heart.

    They are taken when they are first asked for, in the order of that pass, and kept. A run that
    is resumed in another process takes the same ones anew; what this process draws to augment them
    it draws otherwise then.

    Args:
        data: what can be iterated over, if only once.
        amount: how many batches, or which fraction of them, as :func:`limited` takes it.

    Raises:
        TypeError: for data that can't be iterated over.
        ValueError: for what is no amount; for a fraction of data without a length.

    Example:
        >>> import random
        >>> class Shuffled:
        ...     def __iter__(self):
        ...         return iter(random.sample(range(100), 100))
        >>> same = overfit(Shuffled(), 2)
        >>> list(same) == list(same)
        True
    """
    _check(data)
    return Overfitted(data, Amount.of(amount))


class Limited:
    """The first batches of each pass over other data; :func:`limited` makes it.

    The iterator of the data, and so its worker processes, is let go of before the last batch is
    handed over.

    Attributes:
        loader: the data. What looks for samplers in data, such as ``SamplerSeed``, finds them
            there.
        amount: how much of them.
    """

    def __init__(self, loader: Any, amount: Amount) -> None:
        self.loader = loader
        self.amount = amount
        amount.of_total(length_of(loader))  # an error now rather than when it runs

    def __len__(self) -> int:
        if (length := length_of(self.loader)) is None:
            raise TypeError(f"{self!r} has no length, since its data have none.")
        return self.amount.of_total(length)

    def __iter__(self) -> Iterator[Any]:
        most = self.amount.of_total(length_of(self.loader))
        return _first(iter(self.loader), most) if most else iter(())

    def make_passes(self) -> Through:
        """Passes over the data, each cut."""
        most = self.amount.of_total(length_of(self.loader))
        return Through(
            self.loader, lambda batches, position: _first(batches, most - position), self._fitted
        )

    def _fitted(self, position: int | None, whole: Fitted) -> Fitted:
        """Where a cut pass stands whose data another number of processes has begun."""
        before, now, at = whole
        most_before, most = self.amount.of_total(before), self.amount.of_total(now)
        if position is None or at is None:
            return most_before, most, None
        if position >= most_before:
            return most_before, most, most
        there = most - (now - at)  # no more are left
        return most_before, most, max(position * most // most_before, there)

    def __repr__(self) -> str:
        return f"<the first {self.amount} of each pass over a {type(self.loader).__name__}>"


def _first(batches: Iterator[Any], count: int) -> Iterator[Any]:
    iterator: Iterator[Any] | None = batches if count else None
    del batches
    while iterator is not None and (batch := next(iterator, END)) is not END:
        count -= 1
        if not count:
            iterator = None
        yield batch


class Overfitted:
    """The first batches of other data, kept in memory; :func:`overfit` makes it.

    Attributes:
        data: the data. It is no name that samplers are looked for under: there is one order.
        amount: how much of them.
    """

    def __init__(self, data: Any, amount: Amount) -> None:
        self.data = data
        self.amount = amount
        self._wanted = amount.of_total(length_of(data))
        self._kept: list[Any] = []
        self._passes: Passes | None = None  # of which the first is walked over
        self._begun: Mapping[str, Any] | None = None  # how that was begun
        self._iterator: Iterator[Any] | None = None

    def __len__(self) -> int:
        if length_of(self.data) is None and len(self._kept) < self._wanted:
            raise TypeError(f"{self!r} has no length, since its data have none.")
        return self._wanted

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while number < len(self._kept) or self._take():
            yield self._kept[number]
            number += 1

    def __repr__(self) -> str:
        return f"<the first {self.amount} of a {type(self.data).__name__}, kept>"

    def make_passes(self) -> Passes:
        """Passes over the same batches; a loaded run finds those that it was begun with."""
        return _Again(self)

    def fetch(self) -> None:
        """Keep all that are wanted."""
        while self._take():
            continue

    def state_of_first(self) -> Mapping[str, Any] | None:
        """How the pass was begun that the batches are from."""
        return self._begun

    def fetch_as(self, state: Mapping[str, Any]) -> None:
        """Keep the batches of a pass that was begun elsewhere."""
        self._kept.clear()
        with preserved():
            self._passes, self._begun = passes_over(self.data), state
            self._passes.load_state_dict(state)
            self._iterator = self._passes.go_on(0)
            self.fetch()

    def _take(self) -> bool:
        """Keep one batch more, if more are wanted and there are."""
        if len(self._kept) >= self._wanted:
            return False
        if self._iterator is None:
            self._passes = passes_over(self.data)
            before = copy.deepcopy(self._passes.state_dict())
            self._iterator = self._passes.begin()
            moves = moves_with_batches(self._passes)
            self._begun = before if moves else None
        try:
            batch = next(self._iterator, END)
        except BaseException:  # its next pass would be another one
            self._iterator = None
            self._kept.clear()
            raise
        if batch is END:
            self._wanted = len(self._kept)
        else:
            self._kept.append(batch)
            if self._begun is None and self._passes is not None:
                self._begun = copy.deepcopy(self._passes.state_dict())
        if len(self._kept) >= self._wanted:
            self._iterator = None
        return batch is not END


class _Again:
    """Passes over batches that are kept."""

    def __init__(self, data: Overfitted) -> None:
        self._data = data
        self._loaded: Mapping[str, Any] | None = None

    def begin(self) -> Iterator[Any]:
        self._fetch()
        return iter(self._data)

    def go_on(self, position: int) -> Iterator[Any]:
        self._fetch()
        return itertools.islice(self._data, position, None)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self._loaded or self._data.state_of_first()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = state.get("first")

    def _fetch(self) -> None:
        if self._loaded is not None:
            self._data.fetch_as(self._loaded)
            self._loaded = None
        else:
            self._data.fetch()


def _check(data: Any) -> None:
    check_data(data)
    if data is None:
        raise TypeError("None has no batches to take the first of; give data.")
