"""Processes: in which process of how many a LightningModule is trained."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...placement.ranks import is_first, local_rank, rank, world_size

if TYPE_CHECKING:
    from .strategy import Strategy

__all__ = ["Processes"]


class Processes:
    """The part of a module's trainer that knows where it runs.

    Attributes:
        strategy: the way to other processes, and to the device.
    """

    strategy: Strategy

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return world_size()

    @property
    def global_rank(self) -> int:
        """The number of this process."""
        return rank()

    @property
    def local_rank(self) -> int:
        """Its number on its machine."""
        return local_rank()

    @property
    def node_rank(self) -> int:
        """The number of its machine."""
        return int(os.environ.get("GROUP_RANK", os.environ.get("NODE_RANK", "0")))

    @property
    def num_nodes(self) -> int:
        """How many machines there are."""
        return max(1, world_size() // self.num_devices)

    @property
    def num_devices(self) -> int:
        """How many processes there are on a machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))

    @property
    def device_ids(self) -> list[int]:
        """The numbers of the devices on this machine that the processes have."""
        several = self.num_devices
        return list(range(several)) if several > 1 else [self.strategy.root_device.index or 0]

    @property
    def distributed_sampler_kwargs(self) -> dict[str, int] | None:
        """What deals samples out to the processes; ``None`` for one alone."""
        several = world_size()
        return None if several == 1 else {"num_replicas": several, "rank": rank()}

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return is_first()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print, in the first process."""
        if is_first():
            print(*args, **kwargs)
