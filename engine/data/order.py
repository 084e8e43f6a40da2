"""The order of samples: a pure function of seed, pass, rank and world size."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Sampler

from ..errors import StateError, nearest
from ..whole import whole
from .sample_random import PassIndex, SampleRandomness

__all__ = ["Order", "OrderSampler", "order_of", "ordered_loader"]


@dataclass(frozen=True)
class Order:
    """Which samples one rank takes in which order, in any pass over the data.

    Every rank shuffles all samples alike, by ``torch.randperm``, and takes each ``world_size``-th
    of them from its own ``rank`` on. The generator is made for the pass alone, from a hash of seed
    and pass, so that no two passes share an order because their sums with the seed are equal. The
    order is the same on every machine and for every version of torch whose ``randperm`` is.

    Args:
        size: how many samples the data have.
        shuffle: whether each pass has another order; else samples come by their index.
        seed: the seed of the order, a whole number from 0 on, the same on every rank.
        rank: of this process, from 0.
        world_size: how many processes share the data.
        even: whether all ranks have equally many samples, for which up to ``world_size - 1`` are
            repeated from the beginning of the order, as torch's ``DistributedSampler`` does. If
            not, each sample is taken once, by one rank, and some ranks may have one less.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> [Order(5, rank=rank, world_size=2).indices(0).tolist() for rank in (0, 1)]
        [[0, 2, 4], [1, 3, 0]]
        >>> shuffled = Order(5, shuffle=True, seed=7)
        >>> shuffled.indices(0).tolist(), shuffled.indices(1).tolist()
        ([2, 4, 1, 0, 3], [4, 1, 2, 3, 0])
    """

    size: int
    _: KW_ONLY
    shuffle: bool = False
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    even: bool = True

    def __post_init__(self) -> None:
        for name, least in (("size", 0), ("seed", 0), ("world_size", 1), ("rank", 0)):
            number = whole(name, getattr(self, name), least=least)
            object.__setattr__(self, name, number)  # as it is frozen
        if self.rank >= self.world_size:
            raise ValueError(
                f"rank {self.rank} is not in a world of {self.world_size}, whose ranks go from 0 "
                f"to {self.world_size - 1}."
            )

    def __len__(self) -> int:
        """How many samples this rank takes in a pass."""
        return self.samples_left(0)

    def samples_left(self, start: int) -> int:
        """How many samples this rank takes in a pass that others have begun, as in :meth:`rest`."""
        first = 0 if self.even else self.rank
        return len(range(first, self.size - start, self.world_size))

    def indices(self, number: int) -> Tensor:
        """The samples of this rank in a pass.

        Args:
            number: of the pass, from 0.

        Returns:
            their indices, int64 of shape ``(len(order),)``, on the CPU.
        """
        return self.rest(number, 0)

    def rest(self, number: int, start: int) -> Tensor:
        """The samples of this rank in a pass that others have begun.

        Args:
            number: of the pass, from 0.
            start: how many samples of the order are used up, by whichever ranks; those behind are
                shared out as a whole order is.

        Returns:
            their indices, int64 of shape ``(samples_left(start),)``, on the CPU.
        """
        number = whole("the number of a pass", number, least=0)
        order = self._shuffled(number) if self.shuffle else torch.arange(self.size, device="cpu")
        if self.world_size == 1:
            return order[start:]
        places = (
            torch.arange(self.samples_left(start), device="cpu") * self.world_size
            + self.rank
            + start
        )
        places %= max(self.size, 1)  # those behind the end are repeated from the beginning
        return order[places]

    def _shuffled(self, number: int) -> Tensor:
        # The CPU generator of torch takes no more than 32 bits of a seed.
        mixed = hashlib.blake2b(f"order {self.seed} {number}".encode(), digest_size=4)
        generator = torch.Generator(device="cpu")
        generator.manual_seed(int.from_bytes(mixed.digest(), "little"))
        return torch.randperm(self.size, generator=generator, device="cpu")


def order_of(dataset: Any, **options: Any) -> Order:
    """The order of the samples of a data set.

    A data set whose samples are not all as near as each other, as those in shards, has a method
    ``make_order`` that makes an order of its own.

    Args:
        dataset: a map-style data set with a length.
        options: ``shuffle``, ``seed``, ``rank``, ``world_size`` and ``even``, as :class:`Order`
            takes them.

    Example:
        >>> order_of(range(5), rank=1, world_size=2).indices(0).tolist()
        [1, 3, 0]
    """
    if callable(make := getattr(dataset, "make_order", None)):
        own: Order = make(**options)
        return own
    return Order(len(dataset), **options)


class OrderSampler(Sampler[Any]):
    """Gives the indices of an order to a ``DataLoader`` of torch.

    It counts the passes itself, unless it is told by :meth:`set_epoch` which one begins.

    Args:
        order: the order.
        with_pass: whether each index is a :class:`~footplate.engine.data.sample_random.PassIndex`,
            for a data set that is random by sample.

    Attributes:
        order: the order.
        with_pass: whether indices tell their pass.

    Example:
        >>> sampler = OrderSampler(Order(4, shuffle=True))
        >>> first, second = list(sampler), list(sampler)
        >>> sampler.set_epoch(0)
        >>> list(sampler) == first, list(sampler) == second, first == second
        (True, True, False)
    """

    def __init__(self, order: Order, *, with_pass: bool = False) -> None:
        self.order = order
        self.with_pass = with_pass
        self._next = 0

    @property
    def shuffle(self) -> bool:
        """Whether each pass has another order."""
        return self.order.shuffle

    def set_epoch(self, epoch: int) -> None:
        """Say which pass begins next, from 0; those behind it are counted on."""
        self._next = whole("the number of a pass", epoch, least=0)

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that a pass counts when its first index is taken: without batching and
        # with workers, a DataLoader makes two iterators at its first pass, and drops one.
        yield from self._pass(0)

    def rest(self, start: int) -> Iterator[Any]:
        """The indices of the next pass behind those that are used up: see :meth:`Order.rest`."""
        return self._pass(start)

    def _pass(self, start: int) -> Iterator[Any]:
        number = self._next
        self._next = number + 1
        indices = (self.order.rest(number, start) if start else self.order.indices(number)).tolist()
        yield from map(PassIndex, itertools.repeat(number), indices) if self.with_pass else indices

    def __len__(self) -> int:
        return len(self.order)

    def state_dict(self) -> dict[str, int]:
        """The seed, and as ``pass`` the number of the pass that begins next."""
        return {"seed": self.order.seed, "pass": self._next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin next the pass that began next when the state was taken.

        Raises:
            StateError: for a state with another seed.
        """
        if (seed := state.get("seed", self.order.seed)) != self.order.seed:
            raise StateError(
                f"the state belongs to an order with seed {seed}, this one has seed "
                f"{self.order.seed}; make the loader with seed={seed}, or begin a new run."
            )
        self.set_epoch(state["pass"])


def ordered_loader(
    dataset: Any,
    batch_size: int | None,
    *,
    shuffle: bool = False,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    even: bool = True,
    sample_rng: bool = False,
    **options: Any,
) -> DataLoader[Any]:
    """Make a ``DataLoader`` of torch whose order follows from seed and pass alone.

    Args:
        dataset: a map-style data set with a length.
        batch_size: samples in a batch; ``None`` for single samples that are not collated.
        shuffle: as :class:`Order` takes it, like the four below.
        seed: of the order, and of the samples' randomness.
        rank: of this process.
        world_size: how many processes share the data.
        even: whether all of them have equally many samples.
        sample_rng: whether the randomness inside ``dataset[index]`` follows from seed, pass and
            index alone, whatever ``num_workers`` is: see
            :class:`~footplate.engine.data.sample_random.SampleRandomness`.
        options: further ones of the ``DataLoader``, such as ``num_workers`` and ``drop_last``.

    Returns:
        the loader. Its ``sampler`` is an :class:`OrderSampler`, which counts the passes.

    Raises:
        TypeError: for a data set without indices or length, or an unknown option.
        ValueError: for an option that says the order otherwise, or a number out of range.

    Example:
        >>> loader = ordered_loader(range(5), 2, shuffle=True, seed=7)
        >>> [batch.tolist() for batch in loader]
        [[2, 4], [1, 0], [3]]
    """
    _check_options(dataset, options)
    order = order_of(
        dataset, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, even=even
    )
    if sample_rng:
        dataset = SampleRandomness(dataset, order.seed)
    sampler = OrderSampler(order, with_pass=sample_rng)
    return DataLoader(dataset, batch_size, sampler=sampler, **options)


def _check_options(dataset: Any, options: Mapping[str, Any]) -> None:
    indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if isinstance(dataset, IterableDataset) or not indexed:
        raise TypeError(
            f"an order needs a data set with indices and a length, given "
            f"a {type(dataset).__name__}; give one that has __getitem__ and __len__, or "
            f"a DataLoader without an order of ours."
        )
    known = inspect.signature(DataLoader).parameters
    for name in options:
        if name in ("sampler", "batch_sampler", "generator"):
            raise ValueError(
                f"{name}= would say the order, which shuffle, seed, rank, world_size and even say "
                f"here; leave it out, or make a torch.utils.data.DataLoader with it yourself."
            )
        if name not in known:
            raise TypeError(f"a DataLoader has no option {name!r}.{nearest(name, known)}")
