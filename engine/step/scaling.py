"""The linear scaling rule: learning rates that follow the size of the batch."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

__all__ = ["auto_scale_lr"]


def auto_scale_lr(
    optimizer: Optimizer, *, base_batch_size: int, batch_size: int, enable: bool = True
) -> float:
    """Multiply the learning rates by ``batch_size / base_batch_size``.

    A recipe's learning rate was found for one size of batch, and with k times that size k times
    the rate fits (Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677); they
    combine it with a :class:`~footplate.engine.step.warm_up.WarmUp`. Call it between making the
    optimizer and making its schedulers.

    Args:
        optimizer: the optimizer; the rate of each of its parameter groups is multiplied.
        base_batch_size: the size that the rates were found for, in samples.
        batch_size: samples that a step is made of: those of a batch, times the batches
            accumulated, times the processes.
        enable: whether to change anything.

    Returns:
        the factor; 1.0 if nothing is changed.

    Raises:
        ValueError: for a size below 1.
        TypeError: for a size that is no whole number.
        RuntimeError: if a scheduler is bound to the optimizer already.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> auto_scale_lr(optimizer, base_batch_size=256, batch_size=64 * 2 * 4)
        2.0
        >>> optimizer.param_groups[0]["lr"]
        0.2
    """
    _check_size("base_batch_size", base_batch_size)
    _check_size("batch_size", batch_size)
    if not enable:
        return 1.0
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise RuntimeError(
            "a scheduler is bound to this optimizer already, or was to the one whose state it "
            "loaded, and has taken the rate as it was; call auto_scale_lr() between making the "
            "optimizer and making its schedulers."
        )
    factor = batch_size / base_batch_size
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].mul_(factor)  # in place: compiled steps and captured graphs hold it
        else:
            group["lr"] *= factor
    return factor


def _check_size(name: str, size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} is a whole number of samples, given {size!r}.")
    if size < 1:
        raise ValueError(f"{name} is at least 1 sample, given {size}.")
