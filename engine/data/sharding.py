"""Sharding: the share of a loader's samples that belongs to this process."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from ..placement.ranks import is_first, rank, world_size
from ..samplers import loaders_in, parts_of
from .order import Order, OrderSampler, order_of
from .tables import are_different, dealt_stream

__all__ = ["Share", "sharded", "share_of"]

_logger = logging.getLogger("footplate.data")
_MEND = (
    "give it sampler=DistributedSampler(dataset), or make it by ordered_loader(dataset, "
    "batch_size, rank=rank(), world_size=world_size())"
)


def sharded(loader: Any, *, evaluates: bool, seed: int = 0) -> Any:
    """The same loader, over this process's share of its samples.

    A ``DataLoader`` of torch, or of a class derived from it, that goes over all samples, in order
    or shuffled, is copied with all its options; its order is dealt out to the processes, sample by
    sample, and follows from seed and pass. ``batch_size`` stays, and so is that of each process.
    To train, all shares have equally many samples, for which a few come twice. To evaluate, each
    sample comes once, so that some shares have one less, or none; there, torch's
    ``DistributedSampler``, which repeats or drops some, is replaced, too.

    A stream of the datasets library is dealt out by its own ``split_dataset_by_node``.

    Any other loader is handed back as it is: one that is dealt out already, and, with a word about
    it, one over another ``IterableDataset`` or with a sampler of another kind. The first process
    says what was done, by the logger ``footplate.data`` or a warning. Where there is one process,
    there is nothing to do.

    Args:
        loader: the loader.
        evaluates: whether each sample has to come once.
        seed: of the order in which samples are shuffled, the same on all processes.

    Returns:
        a loader; the given one itself, if nothing is to be changed.

    Example:
        >>> loader = DataLoader(range(4), shuffle=True)
        >>> sharded(loader, evaluates=False) is loader
        True
    """
    if world_size() == 1:
        return loader
    if not isinstance(loader, DataLoader):
        if (dealt := _ours_dealt(loader, even=not evaluates)) is not None:
            return dealt
        for inner in [one for one in loaders_in(loader) if one is not loader]:
            if _goes_over_all(inner):
                _warn(
                    f"a {type(loader).__name__} has a loader that each of the processes runs over "
                    f"as a whole; {_MEND}."
                )
        return loader
    if isinstance(loader.dataset, IterableDataset):
        if (dealt := dealt_stream(loader.dataset)) is not loader.dataset:
            _say(f"a stream is dealt out to {world_size()} processes by split_dataset_by_node")
            return _with(loader, dataset=dealt)
        _say(
            f"a {type(loader.dataset).__name__} is an iterable data set: which samples each "
            f"process gets, it says itself, by torch.distributed.get_rank()"
        )
        return loader
    if (share := share_of(loader)) is not None and share.world_size > 1:
        return _unpadded(loader, share) if evaluates and not share.exact else loader
    if not _goes_over_all(loader):
        _warn(
            f"each process runs over all samples of a loader, since it can't be told what its "
            f"{_name_of_order(loader)} would give each of them; {_MEND}."
        )
        return loader
    if are_different(loader.dataset):
        _warn(
            "each process has a table of its own contents: if split_dataset_by_node has dealt them "
            "out, they are dealt out once more, and most rows are never seen; leave it out."
        )
    _say(
        f"{len(loader.dataset)} samples are dealt out to {world_size()} processes, "  # type: ignore[arg-type]
        f"{'each once' if evaluates else 'as many to each'}"
    )
    return _dealt(loader, _order_of(loader, seed), even=not evaluates)


class Share(NamedTuple):
    """Which samples of a data set a process has: each ``world_size``-th from ``rank`` on.

    Attributes:
        size: samples in the data set.
        length: samples in the share; behind the last of the data set it begins at the first again.
        rank: whose they are.
        world_size: how many shares there are.
        shuffle: whether the samples come in an order of their own.
        exact: whether each sample of the data set belongs to one share, and to one alone.

    Example:
        >>> share = Share(5, length=3, rank=1, world_size=2, shuffle=False, exact=False)
        >>> share.indices(0, 2), share.indices(2, 4)
        ([1, 3], [0])
    """

    size: int
    length: int
    rank: int
    world_size: int
    shuffle: bool
    exact: bool

    def indices(self, first: int, behind: int) -> list[int]:
        """Which samples come from one place within the share up to another."""
        places = range(first, min(behind, self.length))
        return [(self.rank + place * self.world_size) % self.size for place in places]


def share_of(loader: Any) -> Share | None:
    """Which samples a loader gives to this process, if they are dealt out by its sampler.

    Args:
        loader: a loader, or what wraps one.

    Returns:
        the share; ``None`` if there is no such sampler in it, or several.

    Example:
        >>> sampler = DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False)
        >>> share_of(DataLoader(range(5), sampler=sampler))
        Share(size=5, length=3, rank=1, world_size=2, shuffle=False, exact=False)
    """
    found = [one for part in parts_of(loader) if (one := _share(part)) is not None]
    return found[0] if len(found) == 1 else None


def _share(part: Any) -> Share | None:
    if isinstance(part, DistributedSampler):
        size = len(part.dataset)  # type: ignore[arg-type]
        told = (size, part.num_samples, part.rank, part.num_replicas, part.shuffle)
        return Share(*told, exact=size % part.num_replicas == 0)
    with suppress(Exception):  # data may answer any name with any error
        if isinstance(order := getattr(part, "order", None), Order):
            exact = not order.even or order.size % order.world_size == 0
            told = (order.size, len(order), order.rank, order.world_size, order.shuffle)
            return Share(*told, exact=exact)
    return None


def _unpadded(loader: DataLoader[Any], share: Share) -> Any:
    """A loader that is dealt out, with each sample once."""
    what = (
        f"a {type(_sampler_of(loader)).__name__} repeats or drops some of {share.size} samples, so "
        f"that all shares are equal"
    )
    if type(loader.batch_sampler) not in (BatchSampler, type(None)):
        batches = type(loader.batch_sampler).__name__
        _warn(f"{what}, and a {batches} makes batches of them, which is kept; {_MEND}, even=False.")
        return loader
    _say(f"{what}; to evaluate, each of them is dealt out once")
    return _dealt(loader, _order_of(loader, 0), even=False)


def _order_of(loader: DataLoader[Any], seed: int) -> Order:
    """The order in which a loader goes over all of its samples, as one of ours."""
    sampler = _sampler_of(loader)
    if isinstance(sampler, OrderSampler):
        return sampler.order
    if isinstance(sampler, DistributedSampler):
        seed = sampler.seed
    in_order = isinstance(sampler, SequentialSampler) or getattr(sampler, "shuffle", True) is False
    return order_of(loader.dataset, shuffle=not in_order, seed=seed)


def _dealt(loader: DataLoader[Any], order: Order, *, even: bool) -> Any:
    """A copy of a loader, over this process's share of an order."""
    order = replace(order, rank=rank(), world_size=world_size(), even=even)
    with_pass = getattr(_sampler_of(loader), "with_pass", False)
    sampler = OrderSampler(order, with_pass=with_pass)
    if (batches := loader.batch_sampler) is None:
        return _with(loader, sampler=sampler)
    return _with(loader, sampler=sampler, batch_sampler=BatchSampler(sampler, *_sizes(batches)))


def _with(loader: DataLoader[Any], **changes: Any) -> Any:
    """A copy of a loader with other parts."""
    made = copy.copy(loader)
    # A loader refuses to be changed once it is made; this one nobody has seen yet.
    vars(made).update(_iterator=None, **changes)
    return made


def _ours_dealt(loader: Any, *, even: bool) -> Any | None:
    """A copy of a loader of ours that has an order of its own, if that is of one process."""
    if not hasattr(loader, "make_passes") or getattr(loader, "loader", None) is not None:
        return None
    order = getattr(loader, "order", None)
    if not isinstance(order, Order) or (order.world_size > 1 and (even or not order.even)):
        return None
    _say(f"{order.size} samples are dealt out to {world_size()} processes")
    made = copy.copy(loader)
    made.order = replace(order, rank=rank(), world_size=world_size(), even=even)
    return made


def _sizes(batches: Any) -> tuple[int, bool]:
    return batches.batch_size, batches.drop_last


def _sampler_of(loader: DataLoader[Any]) -> Any:
    batches = loader.batch_sampler
    return loader.sampler if batches is None else getattr(batches, "sampler", None)


def _goes_over_all(loader: Any) -> bool:
    """Whether it takes all samples of its data set, once each, in batches as torch makes them."""
    batches, sampler = getattr(loader, "batch_sampler", None), _sampler_of(loader)
    if batches is not None and type(batches) is not BatchSampler:
        return False
    share = share_of(loader)
    if type(sampler) is SequentialSampler or (share is not None and share.world_size == 1):
        return True
    all_once = type(sampler) is RandomSampler and not sampler.replacement
    return all_once and sampler.num_samples == len(loader.dataset)


def _name_of_order(loader: DataLoader[Any]) -> str:
    batches = loader.batch_sampler
    own = batches is not None and type(batches) is not BatchSampler
    return type(batches if own else _sampler_of(loader)).__name__


def _say(text: str, tell: Callable[[str], Any] = _logger.info) -> None:
    if is_first():
        tell(text)


def _warn(text: str) -> None:
    _say(text, lambda text: warnings.warn(text, RuntimeWarning, stacklevel=4))
