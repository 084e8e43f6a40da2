"""A pass under way, whose rest is dealt out anew among another number of processes.

Processes take the samples of one shuffled order in turn. So behind so many batches of each, a
beginning of the order is used up, and the rest can be dealt out to any number of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DistributedSampler

from .order import Order, OrderSampler

__all__ = ["Deal", "batches_left", "deal_of", "rest_of"]


@dataclass(frozen=True)
class Deal:
    """How the samples of a pass are dealt out to processes.

    Attributes:
        world_size: how many processes there are.
        batch_size: samples in a batch of one.
        batches: of one process in a whole pass.
        start: samples of the order that other numbers of processes had used up before.
        ahead: batches that the pass is counted from, as if these processes had used them up.

    Example:
        >>> before = Deal(world_size=1, batch_size=2, batches=6)
        >>> before.used(2)
        4
        >>> Deal(world_size=2, batch_size=2, batches=3, start=4, ahead=1).used(2)
        8
    """

    world_size: int
    batch_size: int
    batches: int
    start: int = 0
    ahead: int = 0

    def used(self, position: int) -> int:
        """How many samples of the order are used up behind so many batches of each process."""
        return self.start + (position - self.ahead) * self.batch_size * self.world_size

    def state_dict(self) -> dict[str, int]:
        """The attributes by name."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, int] | None) -> Deal | None:
        """What :meth:`state_dict` gave."""
        return None if state is None else cls(**state)


def deal_of(sampler: Any) -> Deal | None:
    """How a loader's sampler, of batches or single samples, deals out whole passes.

    Returns:
        ``None`` for one that does not take the samples of one order in turn with other processes.
    """
    inner, batch_size = _inner(sampler)
    if type(inner) is OrderSampler and isinstance(inner.order, Order):
        world_size = inner.order.world_size
    elif type(inner) is DistributedSampler:
        world_size = inner.num_replicas
    else:
        return None
    return Deal(world_size, batch_size, len(sampler))


def batches_left(sampler: Any, deal: Deal) -> int:
    """How many batches a sampler has in a pass from where a deal begins.

    Args:
        sampler: of batches or single samples.
        deal: what :func:`deal_of` said, with a start.
    """
    inner, size = _inner(sampler)
    if isinstance(inner, OrderSampler):
        samples = inner.order.samples_left(deal.start)
    else:
        samples = _samples_left(inner, deal)
    drops = inner is not sampler and sampler.drop_last
    return samples // size if drops else -(-samples // size)


def rest_of(sampler: Any, deal: Deal, position: int = 0) -> Iterator[Any]:
    """What a sampler gives in the pass that begins, from where a deal begins.

    Args:
        sampler: of batches or single samples; it knows of the pass.
        deal: what :func:`deal_of` said, with a start.
        position: batches to leave out besides.

    Example:
        >>> orders = [Order(7, rank=rank, world_size=2) for rank in (0, 1)]
        >>> deal = Deal(2, 2, 2, start=4, ahead=1)  # one process took two batches of two
        >>> [list(rest_of(BatchSampler(OrderSampler(one), 2, False), deal)) for one in orders]
        [[[4, 6]], [[5, 0]]]
    """
    inner, _ = _inner(sampler)
    own: Any = inner.rest(deal.start) if isinstance(inner, OrderSampler) else _dealt(inner, deal)
    if inner is not sampler:
        own = iter(BatchSampler(own, sampler.batch_size, sampler.drop_last))
    return islice(own, position, None)


def _inner(sampler: Any) -> tuple[Any, int]:
    """What gives single samples, and how many are in a batch."""
    if type(sampler) is BatchSampler:
        return sampler.sampler, sampler.batch_size
    return sampler, 1


def _dealt(sampler: DistributedSampler[Any], deal: Deal) -> list[int]:
    """The rest of torch's order, dealt out as torch does."""
    whole: Any = copy.copy(sampler)
    whole.num_replicas, whole.rank = 1, 0
    whole.num_samples = whole.total_size = len(whole.dataset)
    order = list(whole)
    size, world_size = len(order), sampler.num_replicas
    first, own = deal.start + sampler.rank, _samples_left(sampler, deal)
    return [order[(first + number * world_size) % size] for number in range(own)]


def _samples_left(sampler: DistributedSampler[Any], deal: Deal) -> int:
    left = max(len(sampler.dataset) - deal.start, 0)  # type: ignore[arg-type]
    return left // deal.world_size if sampler.drop_last else -(-left // deal.world_size)
