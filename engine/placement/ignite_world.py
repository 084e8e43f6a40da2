"""The world that pytorch-ignite computes a metric in: the processes that have samples."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from ignite.distributed import utils
from ignite.distributed.comp_models.base import _SerialModel

from .together import Exchange

__all__ = ["ignite_world"]

_REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "PRODUCT": operator.mul,
    "MIN": lambda one, other: torch.minimum(*map(torch.as_tensor, (one, other))),
    "MAX": lambda one, other: torch.maximum(*map(torch.as_tensor, (one, other))),
    "AND": operator.and_,
    "OR": operator.or_,
}


@contextmanager
def ignite_world(exchange: Exchange) -> Generator[None, None, None]:
    """Have ``ignite.distributed`` see those that take part in a computation, and no others.

    Its own collectives need tensors of the same shape everywhere, and reduce numbers in fp32;
    within this context they take any shapes, and numbers are added as Python adds them.

    Args:
        exchange: of the computation.

    Example:
        >>> import ignite.distributed as idist
        >>> from footplate.engine.placement.together import ALONE
        >>> with ignite_world(ALONE):
        ...     idist.get_world_size(), idist.all_reduce(0.5)
        (1, 0.5)
    """
    before = utils._model, utils._need_to_sync
    utils._model, utils._need_to_sync = _World(exchange), False
    try:
        yield
    finally:
        utils._model, utils._need_to_sync = before


class _World(_SerialModel):
    """What pytorch-ignite asks, answered by an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def get_rank(self) -> int:
        return self._exchange.rank

    def get_world_size(self) -> int:
        return self._exchange.world_size

    def all_reduce(self, tensor: Any, op: str = "SUM", group: Any = None) -> Any:
        if self._exchange.world_size == 1:
            return tensor
        if op == "SUM":
            (reduced,) = self._exchange.sum([tensor])
        else:
            reduced = functools.reduce(_REDUCTIONS[op], self._exchange.all(tensor))
        if isinstance(tensor, torch.Tensor):
            return torch.as_tensor(reduced).to(tensor.device)
        return reduced.item() if isinstance(reduced, torch.Tensor) else reduced

    def all_gather(self, tensor: Any, group: Any = None) -> Any:
        if self._exchange.world_size == 1:
            return tensor
        parts = self._exchange.all(tensor)
        if not isinstance(tensor, torch.Tensor):
            return parts
        rows = [one[None] if one.ndim == 0 else one for one in parts]
        return torch.cat(rows).to(tensor.device)

    def broadcast(self, tensor: Any, src: int = 0, safe_mode: bool = False) -> Any:
        value = self._exchange.all(tensor)[src]
        same_device = isinstance(value, torch.Tensor) and isinstance(tensor, torch.Tensor)
        return value.to(tensor.device) if same_device else value

    def barrier(self) -> None:
        self._exchange.all(None)
