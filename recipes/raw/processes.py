"""The processes that run a raw loop, by the names that users of Lightning Fabric know."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from ...engine.data.device import DeviceLoader, move
from ...engine.data.sharding import sharded
from ...engine.errors import nearest
from ...engine.nested import map_nested
from ...engine.placement import ranks
from ...engine.placement.launching import leave

__all__ = ["Processes"]

_NUMBERS = (int, float)
_WAYS = ("mean", "sum")


class Processes:
    """What the processes of a raw loop are, and tell each other; one alone is a world of one.

    Args:
        device: of this process.
        joined: whether they have joined each other for this loop alone, and so leave each other.

    Attributes:
        device: as given.

    Example:
        >>> alone = Processes(torch.device("cpu"))
        >>> alone.is_global_zero, alone.world_size, alone.all_reduce({"right": 3}, "sum")
        (True, 1, {'right': 3.0})
        >>> alone.all_gather(torch.ones(2)).shape
        torch.Size([1, 2])
    """

    def __init__(self, device: torch.device, *, joined: bool = False) -> None:
        self.device = device
        self._is_to_leave = joined

    def leave_at_exit(self) -> None:
        """Have the processes leave each other when the script ends; all have to come so far."""
        if self._is_to_leave:
            self._is_to_leave = False
            atexit.register(_leave_unless_failed)

    @property
    def global_rank(self) -> int:
        """The number of this process, from 0."""
        return ranks.rank()

    @property
    def local_rank(self) -> int:
        """Its number among those of its machine."""
        return ranks.local_rank()

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return ranks.world_size()

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return ranks.is_first()

    def print(self, *values: Any, **options: Any) -> None:
        """Print, in the first process alone."""
        if ranks.is_first():
            print(*values, **options)

    def barrier(self) -> None:
        """Wait until all processes are here; all of them have to call this."""
        ranks.barrier()

    def broadcast(self, value: Any = None) -> Any:
        """What the first process hands in, which can be pickled, on all; all have to call this."""
        return ranks.from_first(lambda: value)

    def all_gather(self, values: Any) -> Any:
        """What each process hands in, on all of them; all have to call this.

        Args:
            values: tensors and numbers, in dicts, lists and the like; of the same shapes and types
                in all processes. Gradients don't flow through.

        Returns:
            the same structure, each tensor of shape ``(world_size, …)``, in one process, too.

        Raises:
            ValueError: in all processes, if shapes or types differ.
        """
        return map_nested(partial(_stacked, device=self.device), values, kind=(Tensor, *_NUMBERS))

    def all_reduce(self, values: Any, reduce_op: Literal["mean", "sum"] = "mean") -> Any:
        """The mean or sum of what each process hands in, on all of them; all have to call this.

        Args:
            values: tensors and numbers, in dicts, lists and the like; of the same shapes in all
                processes. Gradients don't flow through.
            reduce_op: ``"mean"`` or ``"sum"``.

        Returns:
            the same structure; numbers are ``float``.

        Raises:
            ValueError: for another way to reduce.
        """
        if reduce_op not in _WAYS:
            raise ValueError(
                f"all_reduce() takes 'mean' or 'sum', given {reduce_op!r}."
                f"{nearest(str(reduce_op), _WAYS)}"
            )
        reduce: Callable[[Any], Any] = partial(_reduced, mean=reduce_op == "mean")
        return map_nested(reduce, values, kind=(Tensor, *_NUMBERS))

    def to_device(self, batch: Any) -> Any:
        """Whatever a nested batch holds, on the device of this process."""
        return move(batch, self.device)

    def share_of(self, loader: Any) -> DeviceLoader:
        """A loader to evaluate on, over this process's share: each sample comes once over all.

        Args:
            loader: a ``DataLoader``; alone, all of it is this process's.

        Returns:
            a loader whose batches are on the device.
        """
        return DeviceLoader(sharded(loader, evaluates=True), self.device)


def _leave_unless_failed() -> None:
    """Leave the others, unless an error ends this process: they might wait for it, or it for them.

    The end of a process ends its part in the group, too; they only don't part in peace then.
    """
    if not hasattr(sys, "last_value"):
        leave()


def _stacked(value: Any, *, device: torch.device) -> Tensor:
    """One tensor of all processes, behind each other."""
    mine = value if isinstance(value, Tensor) else torch.tensor(value, device=device)
    mine = mine.detach().contiguous()
    if ranks.world_size() == 1:
        return mine[None].clone()
    if not ranks.alike(f"{tuple(mine.shape)} {mine.dtype}"):
        raise ValueError(
            f"all_gather() takes tensors of the same shape and type from all processes; this one "
            f"handed in {tuple(mine.shape)} of {mine.dtype}. Pad them, or gather their sums."
        )
    rows = mine.new_empty(ranks.world_size(), *mine.shape)
    dist.all_gather(list(rows.unbind()), mine)
    return rows


def _reduced(value: Any, *, mean: bool) -> Any:
    count = ranks.world_size() if mean else 1
    if not isinstance(value, Tensor):
        return ranks.summed([value])[0] / count
    total: Tensor = ranks.summed_tensor(value.long() if value.dtype is torch.bool else value)
    return (total / count if mean else total).to(value.device)
