"""The order of samples that lie in shards: each rank reads shards of its own."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..whole import whole
from .order import Order

__all__ = ["ShardOrder"]


@dataclass(frozen=True)
class ShardOrder(Order):
    """Which samples one rank takes in which order, if they lie in shards.

    Unshuffled, it is an :class:`~footplate.engine.data.order.Order`. Shuffled, so that few shards
    are read at the same time, each of them from its beginning to its end:

    - the shards come in another order in each pass; so many of them are read ``at_once``, and
      where one ends, the next one takes its place;
    - within a shard, samples are shuffled a window at a time: those of a window come in any order
      before those of the next;
    - of the shards that are read at once, one sample of each comes in turn.

    As ranks take samples in turn, too, each rank reads shards of its own where ``at_once`` is a
    multiple of ``world_size``. At the end of a pass, when fewer shards are left, the largest
    number of them that ``at_once`` is a multiple of is read at once, and ranks may share some.

    The order as a whole depends on seed and pass, and not on the ranks: a pass can be finished by
    another number of them. What is shuffled are indices, so a window costs no memory for samples.

    Args:
        size: how many samples the data have.
        shuffle: whether each pass has another order; else samples come by their index.
        seed: the seed of the order, the same on every rank.
        rank: of this process, from 0.
        world_size: how many processes share the data.
        even: whether all ranks have equally many samples.
        lengths: how many samples each shard has; their indices follow each other.
        at_once: how many shards are read at the same time, by all ranks together.
        window: how many samples of a shard are shuffled among each other.

    Raises:
        ValueError: for a number out of range, or lengths of another sum than the size.

    Example:
        >>> options = {"lengths": (3, 3, 3, 3), "at_once": 2, "world_size": 2, "shuffle": True}
        >>> [ShardOrder(12, rank=rank, **options).indices(0).tolist() for rank in (0, 1)]
        [[11, 10, 9, 8, 6, 7], [0, 2, 1, 3, 4, 5]]
        >>> [ShardOrder(12, rank=rank, **options).indices(1).tolist() for rank in (0, 1)]
        [[8, 7, 6, 9, 10, 11], [0, 2, 1, 4, 3, 5]]
    """

    _: KW_ONLY
    lengths: tuple[int, ...] = ()
    at_once: int = 48
    window: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = tuple(whole("the length of a shard", one, least=0) for one in self.lengths)
        object.__setattr__(self, "lengths", lengths)  # as it is frozen
        for name in ("at_once", "window"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if sum(lengths) != self.size:
            raise ValueError(
                f"the shards have {sum(lengths)} samples together, and the data {self.size}; give "
                f"the length of each shard."
            )

    def _shuffled(self, number: int) -> Tensor:
        # The CPU generator of torch takes no more than 32 bits of a seed.
        mixed = hashlib.blake2b(f"shards {self.seed} {number}".encode(), digest_size=4)
        generator = torch.Generator(device="cpu")
        generator.manual_seed(int.from_bytes(mixed.digest(), "little"))
        starts = [0, *itertools.accumulate(self.lengths)]
        shards = torch.randperm(len(self.lengths), generator=generator, device="cpu").tolist()
        waiting = deque(
            starts[shard] + self._in_windows(self.lengths[shard], generator)
            for shard in shards
            if self.lengths[shard]
        )
        rows = [np.empty((0, 1), np.int64), *_in_turn(waiting, self.at_once)]
        return torch.from_numpy(np.concatenate([one.reshape(-1) for one in rows]))

    def _in_windows(self, length: int, generator: torch.Generator) -> NDArray[np.int64]:
        """The numbers of a shard's samples, shuffled window by window."""
        windows = torch.split(torch.arange(length, device="cpu"), self.window)
        shuffled = [
            one[torch.randperm(len(one), generator=generator, device="cpu")] for one in windows
        ]
        return torch.cat(shuffled).numpy()


def _in_turn(waiting: deque[NDArray[Any]], at_once: int) -> Iterator[NDArray[Any]]:
    """What is read of several shards at once, a row of one sample each; as many rows as go on."""
    read: list[NDArray[Any]] = []
    while waiting or read:
        count = _largest_divisor(at_once, len(waiting) + len(read))
        waiting.extendleft(reversed(read[count:]))
        read = [*read[:count], *(waiting.popleft() for _ in range(count - len(read)))]
        rows = min(map(len, read))
        yield np.stack([one[:rows] for one in read], axis=1)
        left = (one[rows:] for one in read)
        read = [one if len(one) else waiting.popleft() for one in left if len(one) or waiting]


def _largest_divisor(of: int, most: int) -> int:
    return next(number for number in range(min(of, most), 0, -1) if of % number == 0)
