"""What is wrapped around a model, taken away."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["unwrapped"]


def unwrapped(model: Any) -> Any:
    """The model within a data-parallel wrapper of torch, or a class derived of one.

    Example:
        >>> unwrapped(nn.DataParallel(nn.Linear(1, 1)))
        Linear(in_features=1, out_features=1, bias=True)
    """
    wrapped = isinstance(model, (nn.DataParallel, DistributedDataParallel))
    return model.module if wrapped else model
