"""One process alone, which is a group by itself for what knows nothing but groups."""

from __future__ import annotations

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

__all__ = ["join_alone"]


def join_alone() -> None:
    """Make a group of this process, unless it is in one; it listens to nobody.

    Example:
        >>> join_alone()
        >>> dist.get_world_size()
        1
        >>> dist.destroy_process_group()
    """
    if not dist.is_initialized():
        dist.init_process_group(store=HashStore(), rank=0, world_size=1)
