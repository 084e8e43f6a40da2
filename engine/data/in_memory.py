"""Data that fit in memory: batches by one indexing, in an order that resumes at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, TensorDataset

from ..errors import DataError, StateError
from ..nested import leaves, map_nested
from ..passes import Fitted, Passes
from ..whole import whole
from .dealing import Deal, batches_left
from .order import Order, OrderSampler

__all__ = ["InMemoryLoader"]

_KIND = (Tensor, np.ndarray)


class InMemoryLoader:
    """Batches of tensors and arrays that are held in memory, on any device.

    The data are one nested structure of tensors and numpy arrays, whose first dimension counts the
    samples; a batch is the same structure of a part of them. It is made by one indexing for each
    tensor, where a ``DataLoader`` takes sample after sample and collates them.

    A batch is always a copy, unshuffled too: a step may change it in place. The data themselves
    are not copied. The order is an :class:`~footplate.engine.data.order.Order`, so a run that is
    resumed in the middle of a pass stands there at once.

    Args:
        data: tensors and arrays in dicts, tuples, lists and dataclasses, however deep, of the same
            first dimension; or a ``TensorDataset``, whose batches are tuples then.
        batch_size: samples in a batch.
        shuffle: whether each pass has another order.
        seed: of the order.
        drop_last: whether a last batch that would be smaller is left out.
        rank: of this process, from 0.
        world_size: how many processes share the data.
        even: whether all ranks have equally many samples, as
            :class:`~footplate.engine.data.order.Order` says.

    Attributes:
        data: the data.
        batch_size: samples in a batch.
        drop_last: whether a smaller last batch is left out.
        order: the order of the samples.
        epoch: the number, from 0, of the pass that begins next. It counts up with each.

    Raises:
        TypeError: if anything in the data is no dense tensor and no array.
        ValueError: if first dimensions differ, or for a number out of range.
        DataError: if there are no samples.

    Example:
        >>> data = {"x": torch.arange(10).view(5, 2), "y": np.arange(5)}
        >>> for batch in InMemoryLoader(data, 2, drop_last=True):
        ...     print(batch["x"].tolist(), batch["y"])
        [[0, 1], [2, 3]] [0 1]
        [[4, 5], [6, 7]] [2 3]
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        even: bool = True,
    ) -> None:
        self.data = data.tensors if isinstance(data, TensorDataset) else data
        self.batch_size = whole("batch_size", batch_size)
        self.drop_last = drop_last
        self.order = Order(
            _samples_in(self.data),
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            even=even,
        )
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        """The samples of this rank, with those that ``drop_last`` leaves out."""
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Say which pass begins next, from 0; those behind it are counted on."""
        self.epoch = whole("the number of a pass", epoch, least=0)

    def make_passes(self) -> Passes:
        """Passes over the data for one engine, which takes them up where they stood."""
        return _InMemoryPasses(self)

    def __iter__(self) -> Iterator[Any]:
        self.epoch += 1
        return _batches(self, self.epoch - 1)

    def __len__(self) -> int:
        if self.drop_last:
            return self.num_samples // self.batch_size
        return len(range(0, self.num_samples, self.batch_size))


class _InMemoryPasses:
    """Passes that are known by their number."""

    def __init__(self, loader: InMemoryLoader) -> None:
        self._loader = loader
        self._number: int | None = None  # of the pass under way
        sampler = BatchSampler(OrderSampler(loader.order), loader.batch_size, loader.drop_last)
        self._left = partial(batches_left, sampler)
        self._deal = Deal(loader.order.world_size, loader.batch_size, len(loader))
        self._loaded: Deal | None = None  # of a pass that was begun elsewhere

    def begin(self) -> Iterator[Any]:
        self._number = self._loader.epoch
        self._deal = replace(self._deal, start=0, ahead=0)
        return iter(self._loader)

    def go_on(self, position: int) -> Iterator[Any]:
        """Take up the pass under way; where none is known, the one that begins next."""
        if position > len(self._loader):
            raise DataError(
                f"the run stands behind batch {position} of its data, but these have only "
                f"{len(self._loader)}; run with the data that it was begun with."
            )
        if self._number is None:
            self.begin()
            return self.go_on(position)
        return _batches(self._loader, self._number, position - self._deal.ahead, self._deal.start)

    def refit(self, position: int | None) -> Fitted | None:
        """Go on with a pass that another number of processes has begun; see :class:`Passes`."""
        before, now = self._loaded, self._deal
        if before is None:
            return None
        if position is None:
            return before.batches, now.batches, None
        now = replace(now, start=before.used(position), ahead=0)
        self._deal = replace(now, ahead=now.batches - self._left(now))
        return before.batches, now.batches, self._deal.ahead

    def count_from(self, position: int) -> None:
        """Count the rest of that pass from another position."""
        self._deal = replace(self._deal, ahead=position)

    def rewind(self) -> None:
        """Have the pass under way begin next."""
        if self._number is not None:
            self._loader.set_epoch(self._number)

    def state_dict(self) -> dict[str, Any]:
        """What the order follows from, the pass under way, and the one that begins next."""
        loader = self._loader
        return {
            "seed": loader.order.seed,
            "size": loader.order.size,
            "batch_size": loader.batch_size,
            "shuffle": loader.order.shuffle,
            "pass": self._number,
            "next": loader.epoch,
            "deal": self._deal.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        order = self._loader.order
        if missing := self.state_dict().keys() - state.keys() - {"deal"}:
            raise StateError(
                f"the state belongs to data of another kind: it does not tell "
                f"{', '.join(sorted(missing))}; give the data that the run was begun with."
            )
        if state["seed"] != order.seed:
            raise StateError(
                f"the state belongs to data in an order with seed {state['seed']}, these have "
                f"seed {order.seed}; make the loader with seed={state['seed']}, or begin a new run."
            )
        if state["size"] != order.size:
            raise StateError(
                f"the state belongs to {state['size']} samples, these data have {order.size}, and "
                f"so another order; give the same data, or begin a new run."
            )
        batches = state["batch_size"], state["shuffle"]
        if batches != (self._loader.batch_size, order.shuffle):
            warnings.warn(
                f"the run was saved over batches of {batches[0]} with shuffle={batches[1]}, and "
                f"goes on with batches of {self._loader.batch_size} with shuffle={order.shuffle}, "
                f"so its samples may be others.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._loaded = deal = Deal.of(state.get("deal"))
        if deal is not None and deal.world_size == self._deal.world_size:
            self._deal = deal
        self._number = state["pass"]
        self._loader.set_epoch(state["next"])


def _batches(
    loader: InMemoryLoader, number: int, position: int = 0, start: int = 0
) -> Iterator[Any]:
    """The batches of one pass, from a position on behind the samples that others used up."""
    size, data = loader.batch_size, loader.data
    order = loader.order
    indices = order.rest(number, start) if start else order.indices(number)
    if loader.drop_last:
        indices = indices[: len(indices) // size * size]
    tensors = leaves(data, kind=Tensor)
    everywhere: dict[Any, Any] = {one.device: indices.to(one.device) for _, one in tensors}
    everywhere[None] = indices.numpy()

    def rows(one: Any) -> Any:
        if isinstance(one, Tensor):
            return one.index_select(0, here[one.device])
        return one.take(here[None], axis=0)

    for first in range(position * size, len(indices), size):
        here = {where: some[first : first + size] for where, some in everywhere.items()}
        yield map_nested(rows, data, kind=_KIND)


def _samples_in(data: Any) -> int:
    """The first dimension of all leaves."""
    lengths = {path or "the top": _length(path, one) for path, one in leaves(data)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        raise ValueError(
            f"the first dimension counts the samples and is the same everywhere, but {told}."
        )
    if not any(lengths.values()):
        raise DataError("the data hold no sample; give tensors or arrays of at least one.")
    return next(iter(lengths.values()))


def _length(path: str, one: Any) -> int:
    at = f" at {path}" if path else ""
    if not isinstance(one, _KIND):
        raise TypeError(
            f"data in memory are tensors and arrays, given a {type(one).__name__}{at}; make "
            f"a tensor of it, or give a data set to a DataLoader or ordered_loader()."
        )
    if isinstance(one, Tensor) and (one.layout is not torch.strided or one.is_nested):
        raise TypeError(f"data in memory are dense tensors, given one of layout {one.layout}{at}.")
    if not one.ndim:
        raise ValueError(
            f"the first dimension counts the samples, but the {type(one).__name__}{at} has none."
        )
    return len(one)
