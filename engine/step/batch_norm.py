"""Statistics of batch norm, computed anew by a pass over data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.device import move
from ..errors import DataError
from ..placement.ranks import summed, summed_tensor, world_size

__all__ = ["estimate", "modes_kept"]


@torch.no_grad()
def estimate(
    model: nn.Module,
    data: Iterable[Any],
    forward: Callable[[nn.Module, Any], object] | None = None,
) -> None:
    """Set the statistics of batch norm to the means over all batches, those of all processes.

    Args:
        model: set to training mode, and left so.
        data: batches; each is moved to the device of the model.
        forward: calls the model on a batch; by default with the first part of it, the input.

    Example:
        >>> norm = nn.BatchNorm1d(1, affine=True)
        >>> estimate(norm, [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])])
        >>> norm.running_mean, norm.running_var
        (tensor([3.]), tensor([2.]))
    """
    norms = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all, in place of a moving one
    model.train()
    device, count = next(model.parameters()).device, 0
    for count, batch in enumerate(data, 1):  # noqa: B007 - looked at behind the loop
        (forward or _call)(model, move(batch, device))
    if not summed([count])[0]:
        raise DataError(
            "the data gave no batch to compute statistics from; give at least one, and a new "
            "iterator where the old one is at its end."
        )
    if world_size() > 1:
        _join([one for one in norms if one.track_running_stats])


def _join(norms: list[_BatchNorm]) -> None:
    """Take the mean over the processes, of which each counts by how many batches it has seen."""
    for one in norms:
        mean, variance, seen = one.running_mean, one.running_var, one.num_batches_tracked
        assert mean is not None
        assert variance is not None
        assert seen is not None
        own = torch.cat([mean.double() * seen, variance.double() * seen, seen.double().view(1)])
        total = summed_tensor(own).to(mean.device)
        means, count = total[:-1] / total[-1], total[-1]
        mean.copy_(means[: len(mean)])
        variance.copy_(means[len(mean) :])
        seen.copy_(count)


def _call(model: nn.Module, batch: Any) -> object:
    return model(batch[0] if isinstance(batch, (list, tuple)) else batch)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put back what the pass for batch norm changes besides statistics, even if it fails."""
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(one, one.momentum) for one in model.modules() if isinstance(one, _BatchNorm)]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for one, momentum in momenta:
            one.momentum = momentum
