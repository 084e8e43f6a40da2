"""Several loaders as one: each batch holds a batch of every one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from .beginning import check_data
from .errors import DataError, nearest
from .passes import (
    Fitted,
    Passes,
    count_from,
    estimates_its_length,
    moves_with_batches,
    passes_over,
    refit,
    rewind,
    skip,
)
from .random import preserved
from .source import END, length_of

__all__ = ["Combined", "Mode", "combined"]

Mode = Literal["min_size", "max_size_cycle"]
"""When a pass over several loaders ends."""

_ELSEWHERE = ("max_size", "sequential")  # Lightning has these; no name here means the same


def combined(
    loaders: Mapping[Any, Iterable[Any]] | Sequence[Iterable[Any]], mode: Mode = "min_size"
) -> Combined:
    """Make one loader of several; its batches are dicts or lists of theirs.

    In an engine's run, a pass over it is a pass over each, and a
    :class:`~footplate.handlers.sampler_seed.SamplerSeed` reaches the samplers of all of them. One
    that begins again within a pass is not told so: a sampler that goes by ``set_epoch`` has the
    same order then, and one that draws its order draws another.

    The modes are named after those of Lightning's ``CombinedLoader``.

    Args:
        loaders: the loaders, by name or in a list.
        mode: when a pass ends: with ``"min_size"``, when the shortest has; with
            ``"max_size_cycle"``, when the longest has, and those that have ended begin again.

    Returns:
        a loader with a length if all of them have one. It can be iterated over once if one of
        them can, else again and again.

    Raises:
        TypeError: for what is no mapping, list or tuple, or holds what can't be iterated over.
        ValueError: for no loaders, an unknown mode, or a one-shot iterator that would have to
            begin again.
        DataError: for an empty loader that would have to begin again.

    Example:
        >>> list(combined({"a": [1, 2, 3], "b": "xy"}))
        [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}]
        >>> list(combined([[1, 2, 3], "xy"], "max_size_cycle"))
        [[1, 'x'], [2, 'y'], [3, 'x']]
    """
    if not isinstance(loaders, (Mapping, list, tuple)):
        raise TypeError(
            f"combined() takes a dict or a list of loaders, given a {type(loaders).__name__}."
        )
    if not loaders:
        raise ValueError("combined() was given no loaders; give at least one.")
    if mode not in get_args(Mode):
        near = "" if mode in _ELSEWHERE else nearest(str(mode), get_args(Mode))
        raise ValueError(
            f"mode is 'min_size', up to the end of the shortest, or 'max_size_cycle', up to the "
            f"end of the longest while the others begin again; given {mode!r}.{near}"
        )
    named = dict(loaders) if isinstance(loaders, Mapping) else dict(enumerate(loaders))
    for name, loader in named.items():
        _check(name, loader, mode)
    one_shot = any(isinstance(loader, Iterator) for loader in named.values())
    made = _OneShot if one_shot else Combined
    return made(named, mode, as_dict=isinstance(loaders, Mapping))


class Combined:
    """Several loaders as one; made by :func:`combined`.

    Attributes:
        loaders: the loaders, by name or place.
        mode: when a pass ends.
    """

    def __init__(self, loaders: dict[Any, Any], mode: Mode, *, as_dict: bool) -> None:
        self.loaders = loaders
        self.mode = mode
        self._as_dict = as_dict

    @property
    def num_workers(self) -> int:
        """The least of the loaders' numbers: 0 if one of them loads in this process."""
        return min(getattr(loader, "num_workers", 0) for loader in self.loaders.values())

    def __iter__(self) -> Iterator[Any]:
        return self.make_passes().begin()

    def __len__(self) -> int:
        lengths = {name: length_of(loader) for name, loader in self.loaders.items()}
        known = [length for length in lengths.values() if length is not None]
        if len(known) < len(lengths):
            unsized = ", ".join(repr(name) for name, one in lengths.items() if one is None)
            raise TypeError(f"loaders without a length: {unsized}; so together they have none.")
        return min(known) if self.mode == "min_size" else max(known)

    def make_passes(self) -> Passes:
        """Passes over all of them."""
        passes = {name: passes_over(loader) for name, loader in self.loaders.items()}
        walk = _ShortestPasses if self.mode == "min_size" else _LongestPasses
        return walk(self, passes)

    def together(self, batches: dict[Any, Any]) -> Any:
        """A batch of each as a batch of all."""
        return batches if self._as_dict else list(batches.values())


class _OneShot(Combined):
    """Over loaders of which one is an iterator; an iterator itself."""

    def __init__(self, loaders: dict[Any, Any], mode: Mode, *, as_dict: bool) -> None:
        super().__init__(loaders, mode, as_dict=as_dict)
        self._walk = _Shortest({name: iter(loader) for name, loader in loaders.items()})

    make_passes: Any = None  # it goes on where it stands

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.together(next(self._walk))


class _Several:
    """Passes over several loaders, which are saved together."""

    def __init__(self, data: Combined, passes: dict[Any, Passes]) -> None:
        self._data = data
        self._passes = passes
        self.moves_with_batches = any(map(moves_with_batches, passes.values()))
        self.estimates_its_length = any(map(estimates_its_length, passes.values()))

    def rewind(self) -> None:
        for one in self._passes.values():
            rewind(one)

    def state_dict(self) -> dict[str, Any]:
        return {"loaders": [one.state_dict() for one in self._passes.values()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for one, its in zip(self._passes.values(), state["loaders"], strict=False):
            one.load_state_dict(its)


class _ShortestPasses(_Several):
    """Each loader stands where all of them do."""

    def begin(self) -> Iterator[Any]:
        walk = _Shortest({name: one.begin() for name, one in self._passes.items()})
        return map(self._data.together, walk)

    def refit(self, position: int | None) -> Fitted | None:
        """Share out the rest of each; the shortest rest says how many batches are left."""
        told = [refit(one, position) for one in self._passes.values()]
        fitted = [one for one in told if one is not None]
        if len(fitted) < len(told):
            return None
        before, now = min(one[0] for one in fitted), min(one[1] for one in fitted)
        left = [length - at for _, length, at in fitted if at is not None]
        if not left or position is None:
            return before, now, None
        at = now if position >= before else max(now - min(left), 0)
        self.count_from(at)
        return before, now, at

    def count_from(self, position: int) -> None:
        for one in self._passes.values():
            count_from(one, position)

    def go_on(self, position: int) -> Iterator[Any]:
        walk = _Shortest({name: one.go_on(position) for name, one in self._passes.items()})
        return map(self._data.together, walk)


class _LongestPasses(_Several):
    """A loader that has begun again stands elsewhere."""

    def begin(self) -> Iterator[Any]:
        iterators = {name: one.begin() for name, one in self._passes.items()}
        return map(self._data.together, _Longest(self._passes, iterators, self._passes))

    def go_on(self, position: int) -> Iterator[Any]:
        lengths = {name: length_of(loader) for name, loader in self._data.loaders.items()}
        iterators, first_pass = {}, []
        for name, one in self._passes.items():
            length = lengths[name]
            if length is None or (position > length and estimates_its_length(one)):
                # it may have begun again, nobody knows where
                with preserved():
                    walk = self.begin()
                    skip(walk, position)
                return walk
            iterators[name] = one.go_on((position - 1) % length + 1 if position else 0)
            if position <= length:
                first_pass.append(name)
        return map(self._data.together, _Longest(self._passes, iterators, first_pass))


class _Shortest(Iterator[dict[Any, Any]]):
    """Ends with the loader that ends first.

    An error in one loader leaves the batches of those before it for the next try.
    """

    def __init__(self, iterators: dict[Any, Iterator[Any]]) -> None:
        self._iterators = iterators
        self._taken: dict[Any, Any] = {}

    def __next__(self) -> dict[Any, Any]:
        for name, iterator in self._iterators.items():
            if name not in self._taken:
                self._taken[name] = next(iterator)
        taken, self._taken = self._taken, {}
        return taken


class _Longest(Iterator[dict[Any, Any]]):
    """Ends with the loader that ends last; one that has ended begins again."""

    def __init__(
        self,
        passes: dict[Any, Passes],
        iterators: dict[Any, Iterator[Any]],
        first_pass: Iterable[Any],
    ) -> None:
        self._passes = passes
        self._iterators = iterators
        self._first_pass = set(first_pass)

    def __next__(self) -> dict[Any, Any]:
        # Those in their first pass come first: when all have ended, none must have begun again.
        batches = dict.fromkeys(self._passes, END)
        for name in [name for name in self._passes if name in self._first_pass]:
            batches[name] = next(self._iterators[name], END)
            if batches[name] is END:
                self._first_pass.remove(name)
        if not self._first_pass:
            raise StopIteration
        for name in [name for name in self._passes if name not in self._first_pass]:
            batches[name] = self._again(name)
        return batches

    def _again(self, name: Any) -> Any:
        """The next batch of a loader, which begins again if it has no more."""
        batch = next(self._iterators[name], END)
        if batch is END:
            self._iterators[name] = self._passes[name].begin()
            batch = next(self._iterators[name], END)
        if batch is END:
            raise DataError(_empty(name))
        return batch


def _check(name: Any, loader: Any, mode: Mode) -> None:
    if loader is None:
        raise TypeError(f"loader {name!r} is None; leave it out.")
    try:
        check_data(loader)
    except TypeError as error:
        error.add_note(f"given to combined() as loader {name!r}")
        raise
    if mode == "max_size_cycle" and isinstance(loader, Iterator):
        raise ValueError(
            f"loader {name!r} is a one-shot iterator, a {type(loader).__name__}, which can't begin "
            f"again; give a list or a DataLoader, or mode='min_size'."
        )
    if mode == "max_size_cycle" and length_of(loader) == 0:
        raise DataError(_empty(name))


def _empty(name: Any) -> str:
    return f"loader {name!r} is empty, and can't begin again; leave it out, or give it data."
