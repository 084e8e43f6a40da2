"""Passes over data: begun, and taken up where they stood."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from .errors import DataError
from .random import capture, preserved, restore
from .samplers import parts_of

__all__ = [
    "Fitted",
    "Passes",
    "Resumable",
    "Through",
    "count_from",
    "estimates_its_length",
    "moves_with_batches",
    "passes_over",
    "refit",
    "rewind",
    "skip",
]

Fitted = tuple[int, int, int | None]  # batches that a pass had and has, and the position now
_PLAIN = (list, tuple, range, str, bytes, dict)  # which draw no random numbers


class Passes(Protocol):
    """One pass over data after the other, each of which can be taken up again.

    What is saved says how the pass under way was begun, not how far it has got: that is the
    position, which the engine counts.

    More are looked for: ``rewind()``, which has generators and counters of the data as they were
    before the pass under way; ``moves_with_batches``, true where what is saved moves with each
    batch, so that none may be fetched ahead; ``estimates_its_length``, true where a pass may have
    more batches than the data say; and ``refit(position)``, which has the rest of a pass
    that was loaded shared out anew, as another number of processes has begun it. It returns how
    many batches a pass had and has, and the position to go on from; or ``None`` if it can't. Those
    that can have ``count_from(position)``, too: the rest is counted from another position then.
    """

    def begin(self) -> Iterator[Any]:
        """Begin a new pass."""

    def go_on(self, position: int) -> Iterator[Any]:
        """Take up the pass that was begun last, or loaded, behind so many batches.

        The global random number generators are left as they were.

        Raises:
            DataError: if the data have fewer batches.
        """

    def state_dict(self) -> dict[str, Any]:
        """How the pass under way was begun, and what the next one needs, in plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know a pass that :meth:`state_dict` told of; :meth:`go_on` takes it up."""


class Resumable(Protocol):
    """Data that say themselves how they are walked over.

    Example:
        >>> import torch
        >>> from footplate.engine.data.in_memory import InMemoryLoader
        >>> loader = InMemoryLoader(torch.arange(6), batch_size=2)
        >>> passes = loader.make_passes()
        >>> len(list(passes.begin())), len(list(passes.go_on(1)))
        (3, 2)
    """

    def make_passes(self) -> Passes:
        """Passes over them for one engine."""


def passes_over(data: Any, before: Passes | None = None) -> Passes:
    """How any data are walked over, so that a pass can be taken up where it stood.

    In this order: data that are :class:`Resumable` say it themselves; data with ``state_dict()``
    and ``load_state_dict()``, such as torchdata's ``StatefulDataLoader``, are asked for their
    state; torch's ``DataLoader`` skips indices, and loads no sample to throw it away; all else is
    walked over again. So is a stream of the datasets library that shuffles in a buffer, whose state
    lacks that.

    Args:
        data: anything that can be iterated over.
        before: passes over the same data that are over; their worker processes may be kept.

    Example:
        >>> letters = passes_over("abc")
        >>> next(letters.begin()), list(letters.go_on(1))
        ('a', ['b', 'c'])
    """
    if callable(make := getattr(data, "make_passes", None)):
        own: Passes = make()
        return own
    if "datasets" in sys.modules:
        from .data.tables import forgets_its_buffer

        if forgets_its_buffer(data):
            return _WalkedAgain(data)
    if _has_state(data):
        return _OfTheirOwn(data, data)
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is not None and isinstance(data, torch_data.DataLoader):
        from .data.torch_loader import LoaderPasses, goes_by_indices

        if goes_by_indices(data):
            return LoaderPasses(data, before if isinstance(before, LoaderPasses) else None)
        if not data.num_workers and _has_state(data.dataset):
            return _OfTheirOwn(data, data.dataset)
    return _WalkedAgain(data)


class Through:
    """Passes over data that each go through something, such as a transfer to a device.

    Args:
        data: the data.
        wrap: given an iterator over batches and the position that it stands at; returns another.
        fit: where they are no whole passes: given a position and what ``refit()`` of the data says
            of it; returns what is so of these.
    """

    def __init__(
        self,
        data: Any,
        wrap: Callable[[Iterator[Any], int], Iterator[Any]],
        fit: Callable[[int | None, Fitted], Fitted] | None = None,
    ) -> None:
        self._passes = passes_over(data)
        self._wrap = wrap
        self._fit = fit
        self.moves_with_batches = moves_with_batches(self._passes)
        self.estimates_its_length = fit is None and estimates_its_length(self._passes)

    def begin(self) -> Iterator[Any]:
        """Begin a new pass."""
        return self._wrap(self._passes.begin(), 0)

    def go_on(self, position: int) -> Iterator[Any]:
        """Take up the pass under way."""
        return self._wrap(self._passes.go_on(position), position)

    def rewind(self) -> None:
        """Have the data as they were before the pass."""
        rewind(self._passes)

    def refit(self, position: int | None) -> Fitted | None:
        """Share out the rest of the pass anew."""
        fitted = refit(self._passes, position)
        if fitted is None or self._fit is None:
            return fitted
        fitted = self._fit(position, fitted)
        if (at := fitted[2]) is not None:
            self.count_from(at)
        return fitted

    def count_from(self, position: int) -> None:
        """Count the rest of the pass from another position."""
        count_from(self._passes, position)

    def state_dict(self) -> dict[str, Any]:
        """The data's."""
        return self._passes.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand it to the data."""
        self._passes.load_state_dict(state)


def moves_with_batches(passes: Passes | None) -> bool:
    """Whether what is saved of passes moves with each batch, so that none can be fetched ahead."""
    return getattr(passes, "moves_with_batches", False)


def estimates_its_length(passes: Passes | None) -> bool:
    """Whether a pass may have more batches than the data say, so that only a walk can tell."""
    return getattr(passes, "estimates_its_length", False)


def rewind(passes: Passes) -> None:
    """Have what belongs to the data alone as it was before the pass under way was begun."""
    if callable(back := getattr(passes, "rewind", None)):
        back()


def refit(passes: Passes, position: int | None) -> Fitted | None:
    """Share out the rest of a pass anew, as :class:`Passes` says; ``None`` where it can't be."""
    fit = getattr(passes, "refit", None)
    return fit(position) if callable(fit) else None


def count_from(passes: Passes, position: int) -> None:
    """Count the rest of a pass, which was shared out anew, from another position."""
    again: Any = passes
    again.count_from(position)


class _WalkedAgain:
    """Data that can't be told where to stand: their pass begins again and batches are dropped.

    Random numbers drawn at its beginning, as for a shuffled order, are drawn again.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self.estimates_its_length = _deals_itself_out(data)
        self._start: Mapping[str, Any] | None = None
        self._warned = False

    def begin(self) -> Iterator[Any]:
        self._start = None if isinstance(self._data, _PLAIN) else capture()
        iterator: Iterator[Any] = iter(self._data)
        return iterator

    def go_on(self, position: int) -> Iterator[Any]:
        if position and not hasattr(self._data, "__iter__"):
            return _by_index(self._data, position)
        with preserved():
            if self._start is not None:
                restore(self._start)
            iterator: Iterator[Any] = iter(self._data)
            self._warn(iterator, position)
            return _behind(iterator, position)

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._start = state["start"]

    def _warn(self, iterator: Iterator[Any], position: int) -> None:
        indexed = hasattr(self._data, "__getitem__") and hasattr(self._data, "__len__")
        exact = indexed or hasattr(iterator, "skip")
        if position and not exact and not self._warned:
            self._warned = True
            warnings.warn(
                f"the run goes on behind batch {position} of its data, but a "
                f"{type(self._data).__name__} can't be told to stand there: its first {position} "
                f"batches are fetched again and dropped, and the rest is that of the unbroken run "
                f"only if the data come in the same order each time. Give a DataLoader over a "
                f"map-style dataset, or data that have state_dict() and load_state_dict().",
                RuntimeWarning,
                stacklevel=2,
            )


class _OfTheirOwn:
    """Data with a state of their own, or of what they load from, which holds the position, too.

    The generators that a loader and its samplers were given are put back besides: a loader that is
    taken up draws its numbers in another order than one that begins.
    """

    moves_with_batches = True

    def __init__(self, data: Any, keeper: Any) -> None:
        self._data = data
        self._keeper = keeper
        self.estimates_its_length = _deals_itself_out(data)
        self._loaded: Mapping[str, Any] | None = None
        self._begun = False

    def begin(self) -> Iterator[Any]:
        if self._loaded is not None:
            self._put_back(self._loaded)
        return self._begin()

    def _begin(self) -> Iterator[Any]:
        self._loaded, self._begun = None, True
        iterator: Iterator[Any] = iter(self._data)
        return iterator

    def go_on(self, position: int) -> Iterator[Any]:
        with preserved():
            if self._loaded is None and not self._begun:
                return _behind(iter(self._data), position)
            state = self.state_dict()
            self._keeper.load_state_dict(state["data"])
            iterator = self._begin()
            self._put_back(state)
            return iter(()) if _is_over(state["data"]) else iterator

    def state_dict(self) -> dict[str, Any]:
        if self._loaded is not None:
            return dict(self._loaded)
        generators = [one.get_state() for one in self._generators()]
        return {"data": self._keeper.state_dict(), "generators": generators}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = state

    def _put_back(self, state: Mapping[str, Any]) -> None:
        for one, saved in zip(self._generators(), state.get("generators", ()), strict=False):
            one.set_state(saved)

    def _generators(self) -> list[Any]:
        owned = (getattr(one, "generator", None) for one in parts_of(self._data))
        found = (one for one in owned if hasattr(one, "get_state") and hasattr(one, "set_state"))
        return list({id(one): one for one in found}.values())


def _is_over(state: Any) -> bool:
    """Whether it is of a pass that is over; torchdata's loader would begin another one."""
    return isinstance(state, Mapping) and bool(state.get("_iterator_finished"))


def _deals_itself_out(data: Any) -> bool:
    """Whether it is a DataLoader over a stream, which each worker process cuts into batches."""
    torch_data = sys.modules.get("torch.utils.data")
    is_loader = torch_data is not None and isinstance(data, torch_data.DataLoader)
    return is_loader and isinstance(data.dataset, torch_data.IterableDataset)  # type: ignore[union-attr]


def _has_state(data: Any) -> bool:
    return callable(getattr(data, "state_dict", None)) and hasattr(data, "load_state_dict")


def _by_index(data: Any, first: int) -> Iterator[Any]:
    """What ``iter()`` makes of data that have no ``__iter__``, from a position on."""
    with suppress(IndexError):
        for number in itertools.count(first):
            yield data[number]


def _behind(iterator: Iterator[Any], position: int) -> Iterator[Any]:
    if (skipped := skip(iterator, position)) < position:
        raise DataError(
            f"the run stands behind batch {position} of its data, but these have "
            f"only {skipped}; run with the data that it was begun with."
        )
    return iterator


def skip(iterator: Iterator[Any], count: int) -> int:
    """Pass by so many batches, and say how many there were.

    An iterator that has a method ``skip(count)`` is asked to do so itself.

    Args:
        iterator: what is walked over.
        count: how many batches; fewer where it ends before.

    Example:
        >>> letters = iter("abc")
        >>> skip(letters, 2), next(letters), skip(letters, 2)
        (2, 'c', 0)
    """
    if hasattr(iterator, "skip"):
        return int(iterator.skip(count))
    return sum(1 for _ in itertools.islice(iterator, count))
