"""What all processes are to have the same: tensors of the first one, and means over all."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["average", "mean_over_processes", "spread"]

_AT_A_TIME = 64 * 2**20  # bytes


@torch.no_grad()
def spread(tensors: Iterable[Tensor]) -> None:
    """Fill tensors with those of the first process; all processes call this with as many.

    They travel together by their types, a bounded number of bytes at a time.

    Args:
        tensors: of the same types and shapes in all processes, on the device that is spoken over.
    """
    for alike in _alike(one.detach() for one in tensors if one.numel()):
        flat = torch.cat([one.reshape(-1) for one in alike])
        dist.broadcast(flat.view(torch.uint8), src=0)  # as bytes, which any backend takes
        if dist.get_rank():
            _fill(alike, flat)


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their means over all processes; they travel as those of :func:`spread`."""
    for alike in _alike(one.detach() for one in tensors if one.numel()):
        flat = torch.cat([one.reshape(-1) for one in alike])
        dist.all_reduce(flat)
        _fill(alike, flat / dist.get_world_size())


def _fill(tensors: list[Tensor], flat: Tensor) -> None:
    parts = torch.split(flat, [one.numel() for one in tensors])
    for one, part in zip(tensors, parts, strict=True):
        one.copy_(part.view_as(one))


def mean_over_processes(total: float | Tensor, device: torch.device) -> Tensor:
    """The mean of a number that each process has, as a scalar tensor on a device."""
    mean = torch.as_tensor(total, dtype=torch.float32, device=device).detach().clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()


def _alike(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors in groups of one type and device, each of them of some megabytes, if of several."""
    groups: list[list[Tensor]] = []
    open_groups: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], int]] = {}
    for one in tensors:
        kind, size = (one.device, one.dtype), one.numel() * one.element_size()
        group, held = open_groups.get(kind, ([], 0))
        if not group or held + size > _AT_A_TIME:
            group, held = [], 0
            groups.append(group)
        group.append(one)
        open_groups[kind] = group, held + size
    return groups
