"""Sharing: several optimizations that take gradients of one loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .optimization import Optimization

__all__ = ["open_windows", "trainable"]


def trainable(group: Sequence[Optimization]) -> list[Tensor]:
    """The parameters that get gradients of a loss.

    Args:
        group: the optimizations that share it.

    Raises:
        ValueError: if all are frozen.
    """
    wanted = [one for each in group for one in each.parameters if one.requires_grad]
    if not wanted:
        raise ValueError(
            f"all parameters of {', '.join(repr(one.name) for one in group)} are frozen; leave "
            f"out its turn, or set requires_grad of some."
        )
    return wanted


def open_windows(group: Sequence[Optimization], epoch: int) -> None:
    """Begin the windows that hold nothing; refuse a group that can't share a loss.

    Args:
        group: the optimizations that share it.
        epoch: the epoch, which tells the size of a window.

    Raises:
        ValueError: if the loss would be scaled for each, or windows differ.
    """
    for one in group:
        if not one.window.held:
            one.window.begin(one.accumulation.size_in(epoch))
    if len(group) == 1:
        return
    names = ", ".join(repr(one.name) for one in group)
    if any(one.scaler is not None for one in group):
        raise ValueError(
            f"{names} share a loss, which fp16 would scale for each of them; use bf16, or one "
            f"optimizer with a parameter group for each."
        )
    if len({(one.window.size, one.window.held) for one in group}) > 1:
        raise ValueError(
            f"{names} share a loss, so they need windows of the same size, all at the same place; "
            f"give each of them the same accumulate=."
        )
