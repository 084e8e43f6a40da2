"""Torch's ``DataLoader``, taken up in the midst of a pass by skipping indices.

A loader is not told where to stand, as it can't be; a copy of it is walked over, whose sampler is
the same, but stands further on. So no sample is loaded that nobody uses, the order is the loader's
own, and what a user gave is left as it is.

In worker processes the generators are seeded before each batch, from the random numbers that the
pass was begun with and the number of the batch; so it does not matter which worker loads it, nor
what it has loaded before.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import random
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ..random import capture, preserved, restore
from ..samplers import parts_of
from .dealing import Deal, batches_left, deal_of, rest_of
from .worker_signals import Sheltered, sheltered_from_birth

__all__ = ["LoaderPasses", "goes_by_indices"]


def goes_by_indices(loader: DataLoader[Any]) -> bool:
    """Whether a loader draws its batches by index, in torch's own way."""
    own_way = type(loader).__iter__ is not DataLoader.__iter__
    return not own_way and not isinstance(loader.dataset, IterableDataset)


class LoaderPasses:
    """Passes over a DataLoader of a map-style dataset.

    Args:
        loader: the loader.
        before: passes over it that are over, whose persistent workers are kept.
    """

    def __init__(self, loader: DataLoader[Any], before: LoaderPasses | None = None) -> None:
        self._loader = loader
        self._indices = _Indices(loader)
        self._kept: DataLoader[Any] | None = None  # has the workers that persist
        if before is not None and before._kept is not None:
            self._kept, self._indices = before._kept, before._indices
            self._indices.number = 0  # as in a run of another process
        here = [] if loader.num_workers else list(_datasets_in(loader.dataset))
        self._datasets = [one for one in here if _is_stateful(one)]
        self._loaded: list[Any] = []  # their states
        self.moves_with_batches = bool(self._datasets)

    def begin(self) -> Iterator[Any]:
        """Begin a new pass."""
        self._indices.start = None
        self._indices.catch_up()
        self._load_dataset()
        return self._iterator()

    def go_on(self, position: int) -> Iterator[Any]:
        """Take up the pass under way, without loading what lies behind it."""
        if self._loader.num_workers and not self._loader.in_order:
            warnings.warn(
                "the loader hands out batches as they are ready (in_order=False), so a run that "
                "goes on loses some and repeats others; give in_order=True.",
                RuntimeWarning,
                stacklevel=2,
            )
        indices, generators = self._indices, self._indices.now()
        with preserved():
            indices.position = position
            try:
                iterator = self._iterator()
            finally:
                indices.position = None
        indices.put_back(generators)
        self._load_dataset()
        return iterator

    def rewind(self) -> None:
        """Have what belongs to the loader as it was before the pass was begun."""
        self._indices.rewind()

    def refit(self, position: int | None) -> tuple[int, int, int | None] | None:
        """Go on with a pass that another number of processes has begun; see :class:`Passes`."""
        return self._indices.refit(position)

    def count_from(self, position: int) -> None:
        """Count the rest of that pass from another position."""
        self._indices.count_from(position)

    def state_dict(self) -> dict[str, Any]:
        """How the pass was begun: generators, samplers with a state; the data's state as it is.

        Data that worker processes load have one in each of them, which is not known here.
        """
        datasets = [copy.deepcopy(one.state_dict()) for one in self._datasets]
        return {"indices": self._indices.state_dict(), "datasets": datasets or self._loaded}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know a pass that was begun elsewhere."""
        self._indices.load_state_dict(state["indices"])
        self._loaded = state["datasets"]

    def _load_dataset(self) -> None:
        for one, state in zip(self._datasets, self._loaded, strict=False):
            one.load_state_dict(state)
        self._loaded = []

    def _iterator(self) -> Iterator[Any]:
        with sheltered_from_birth(self._loader):
            return iter(self._view())

    def _view(self) -> DataLoader[Any]:
        """The loader, made to draw its indices from ours."""
        if self._kept is not None:
            return self._kept
        loader, view = self._loader, copy.copy(self._loader)
        # A loader refuses to be changed once it is made; this one nobody has seen yet.
        attributes = vars(view)
        attributes["_iterator"] = None
        attributes["sampler" if loader.batch_sampler is None else "batch_sampler"] = self._indices
        if loader.num_workers:
            attributes["dataset"] = _Seeded(loader.dataset)
            attributes["worker_init_fn"] = Sheltered(loader.worker_init_fn)
        if loader.persistent_workers:
            self._kept = view
        return view


class _Indices:
    """What a loader draws its indices from: its own sampler, which may stand further on.

    Attributes:
        start: how the pass under way was begun: the generators when the iterator over the sampler
            was made, and when it gave its first index, as some draw here and some there.
        number: passes begun before.
        position: where the iterators that are made now are to stand; ``None`` for a new pass.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        alone = loader.batch_sampler is None
        self._sampler: Any = loader.sampler if alone else loader.batch_sampler
        self._loader_generator = loader.generator
        self._parts = [one for one in parts_of(self._sampler) if one is not loader.dataset]
        self._numbered = loader.num_workers > 0
        self._samplers: list[Any] | None = None  # their states when the pass was begun
        self._now: list[Any] | None = None  # and when the run was saved that was loaded
        self._like = _told_of(self._sampler, self._parts)
        self._deal = deal_of(self._sampler)
        self._loaded: Deal | None = None  # of a pass that was begun elsewhere
        self.start: dict[str, Any] | None = None
        self.number = 0
        self.position: int | None = None

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        if self.position is not None and self.start is not None:
            return self._further_on(self.start, self.position)
        if self._deal is not None:
            self._deal = replace(self._deal, start=0, ahead=0)
        self.start = {"made": self._captured(), "begun": None}
        self._samplers = self._states()
        indices = self._from_the_first(self.start, iter(self._sampler))
        if self.position:  # how the pass was begun is not known
            next(itertools.islice(indices, self.position, self.position), None)
        return indices

    def rewind(self) -> None:
        """Have generators and samplers as they were when the pass under way was begun."""
        if self.start is not None:
            self.put_back(self.start["made"]["generators"])
            self._load(self._samplers)
            self.number -= self.start["begun"] is not None

    def catch_up(self) -> None:
        """Have the samplers as they were when the state that was loaded was saved."""
        self._load(self._now)
        self._now = None

    def _states(self) -> list[Any]:
        return [_state_of(one) for one in self._parts]

    def _load(self, states: list[Any] | None) -> None:
        for one, state in zip(self._parts, states or (), strict=False):
            if _is_stateful(one):
                one.load_state_dict(copy.deepcopy(state))
            elif state:
                vars(one).update(state)

    def now(self) -> list[Any]:
        """The states of the generators that belong to loader and samplers."""
        return [one.get_state() for one in self._generators()]

    def put_back(self, states: list[Any]) -> None:
        for one, state in zip(self._generators(), states, strict=False):
            one.set_state(state)

    def refit(self, position: int | None) -> tuple[int, int, int | None] | None:
        """Deal out the rest of a pass among as many processes as there are now.

        As many batches count as taken as are left to fill up a whole pass of theirs.
        """
        before, now = self._loaded, self._deal
        if before is None or now is None:
            return None
        if position is None:
            return before.batches, now.batches, None
        now = replace(now, start=before.used(position), ahead=0)
        self._deal = replace(now, ahead=now.batches - batches_left(self._sampler, now))
        return before.batches, now.batches, self._deal.ahead

    def count_from(self, position: int) -> None:
        if self._deal is not None:
            self._deal = replace(self._deal, ahead=position)

    def state_dict(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "number": self.number,
            "samplers": self._samplers,
            "now": self._states() if self._now is None else self._now,
            "generators": self.now(),
            "like": self._like,
            "deal": None if self._deal is None else self._deal.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start, self.number = state["start"], state["number"]
        self._samplers, self._now = state["samplers"], state["now"]
        self.put_back(state["generators"])
        deal, here = Deal.of(state.get("deal")), self._deal
        self._loaded = deal
        if deal is not None and here is not None:
            if deal.world_size != here.world_size:
                return  # its batches are others, and as many as that
            self._deal = deal
        if state["like"] != self._like:
            if _names(state["like"]) != _names(self._like):  # their states say nothing to these
                self._samplers = self._now = None
            warnings.warn(
                f"the run was saved over a loader of {state['like']} and goes on with one of "
                f"{self._like}, so its samples may be others.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _from_the_first(self, start: dict[str, Any], indices: Iterator[Any]) -> Iterator[Any]:
        start["begun"] = self._captured()
        self.number += 1
        yield from self._with_seeds(indices, 0, start)

    def _further_on(self, start: dict[str, Any], position: int) -> Iterator[Any]:
        self._set(start["made"])
        self._load(self._samplers)
        indices = iter(self._sampler)
        if start["begun"] is None:
            return self._from_the_first(start, indices)
        self._set(start["begun"])
        if self._deal is not None and (self._deal.start or self._deal.ahead):
            self._load(self._samplers)
            indices = rest_of(self._sampler, self._deal, position - self._deal.ahead)
            return self._with_seeds(indices, position, start)
        next(itertools.islice(indices, position, position), None)
        if not position:  # the sampler draws now or never
            indices = itertools.chain(list(itertools.islice(indices, 1)), indices)
        return self._with_seeds(indices, position, start)

    def _with_seeds(
        self, indices: Iterator[Any], first: int, start: Mapping[str, Any]
    ) -> Iterator[Any]:
        """The indices themselves; with the seed of their batch where another process loads it."""
        if not self._numbered:
            return indices
        own = self._loader_generator is not None and start["begun"]["generators"]
        drawn = own[0] if own else start["begun"]["global"]["torch"]
        of_pass = hashlib.blake2b(drawn.numpy().tobytes() + self.number.to_bytes(8, "little"))
        return map(_Batch, map(of_pass.digest()[:16].__add__, _numbers(first)), indices)

    def _captured(self) -> dict[str, Any]:
        return {"global": capture(), "generators": self.now()}

    def _set(self, captured: Mapping[str, Any]) -> None:
        restore(captured["global"])
        self.put_back(captured["generators"])

    def _generators(self) -> list[torch.Generator]:
        owners = (self._loader_generator, *(getattr(one, "generator", None) for one in self._parts))
        return list({id(one): one for one in owners if isinstance(one, torch.Generator)}.values())


class _Batch(NamedTuple):
    """What is sent to a worker in place of an index."""

    seed: bytes
    index: Any


class _Seeded:
    """A dataset in a worker process, where each batch is loaded with random numbers of its own."""

    def __init__(self, dataset: Any) -> None:
        vars(self)["dataset"] = dataset

    def __getitem__(self, batch: _Batch) -> Any:
        _seed_here(batch.seed)
        return self.dataset[batch.index]

    def __getitems__(self, batch: _Batch) -> Any:
        _seed_here(batch.seed)
        several = getattr(self.dataset, "__getitems__", None)
        return several(batch.index) if several else [self.dataset[one] for one in batch.index]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(
        self, name: str
    ) -> Any:  # a worker_init_fn may look at the data and set them up
        if "dataset" not in vars(self):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Seeded, (self.dataset,)


def _seed_here(seed: bytes) -> None:
    drawn = hashlib.blake2b(seed, digest_size=32).digest()
    random.seed(drawn)
    np.random.seed(np.frombuffer(drawn[:16], np.uint32))
    torch.default_generator.manual_seed(int.from_bytes(drawn[16:24], "little") >> 1)  # CPU's


def _numbers(first: int) -> Iterator[bytes]:
    return (number.to_bytes(8, "little") for number in itertools.count(first))


def _datasets_in(dataset: Any) -> Iterator[Any]:
    """A dataset, and what it is a subset or another view of."""
    while dataset is not None:
        yield dataset
        dataset = getattr(dataset, "dataset", None)


def _state_of(sampler: Any) -> dict[str, Any]:
    """What a sampler says of itself; of one that says nothing, the numbers that it may count by."""
    if _is_stateful(sampler):
        return copy.deepcopy(dict(sampler.state_dict()))
    told = hasattr(sampler, "set_epoch")  # by whoever seeds samplers, in this run, too
    kept = {} if told else getattr(sampler, "__dict__", {})
    return {name: value for name, value in kept.items() if type(value) is int and _counts(name)}


def _counts(name: str) -> bool:
    """Whether an attribute of this name may count passes; no rank, say, nor a size."""
    return any(word in name.lower() for word in ("epoch", "pass", "count"))


def _told_of(sampler: Any, parts: list[Any]) -> str:
    names = ", ".join(type(one).__name__ for one in parts)
    try:
        return f"{len(sampler)} batches by {names}"
    except (TypeError, NotImplementedError):
        return f"batches by {names}"


def _names(told: str) -> str:
    return told.partition("batches by ")[2]


def _is_stateful(one: Any) -> bool:
    return hasattr(one, "state_dict") and hasattr(one, "load_state_dict")
