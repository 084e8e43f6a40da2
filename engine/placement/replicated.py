"""Replicas: each process has the whole model, and all step with the mean of their gradients."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .placement import Placement
from .ranks import world_size
from .spreading import average, mean_over_processes, spread

__all__ = ["Replicated"]

_KNOWN = inspect.signature(DistributedDataParallel.__init__).parameters
_SYNC = "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers"
_NOT_ITS_BUSINESS = {name: False for name in ("init_sync", _SYNC) if name in _KNOWN}
"""What would be done once more by a run that goes on, amid a window, too."""


_UNUSED = (
    "here it is said as Replicated(find_unused_parameters=True), or by the runner's "
    "model_wrapper_cfg={'find_unused_parameters': True}."
)


class Replicated(Placement):
    """A model in each process, kept the same by ``DistributedDataParallel``.

    The model stays the object that it was, with its names and methods: what is wrapped is the call
    of its forward pass in training. Gradients are exchanged while they are computed. Where that
    can't be, since a batch has several backward passes or a model steps its optimizer itself, they
    are exchanged in one go before the optimizer steps; and so they are for a window that ends
    before it is full.

    The gradients of all processes are averaged. Where batches are weighed, as by tokens, it is the
    mean over all that they hold.

    Args:
        device: of this process.
        sync_bn: whether batch norms normalise over the batches of all processes; on the CPU they
            can't.
        broadcast_buffers: whether buffers, as running means, are the first process's in training,
            when a window begins.
        find_unused_parameters: whether some parameters may get no gradient from a batch.
        static_graph: whether all batches use the same parameters in the same way.
        gradient_as_bucket_view: whether gradients are kept where they are exchanged, once.
        bucket_cap_mb: mebibytes of gradients that are exchanged at once; 25 by default.

    Raises:
        ValueError: for ``sync_bn`` on a device that has none.

    Example:
        >>> placement = Replicated("cpu", find_unused_parameters=True)
        >>> model = placement.place(nn.Linear(2, 1))
        >>> placement.several, list(model.state_dict())
        (False, ['weight', 'bias'])
    """

    def __init__(
        self,
        device: str | int | torch.device = "auto",
        *,
        sync_bn: bool = False,
        broadcast_buffers: bool = True,
        find_unused_parameters: bool = False,
        static_graph: bool = False,
        gradient_as_bucket_view: bool = False,
        bucket_cap_mb: float | None = None,
    ) -> None:
        super().__init__(device)
        if sync_bn and self.device.type == "cpu":
            raise ValueError(
                "sync_bn=True needs an accelerator: torch's SyncBatchNorm has no form for the CPU; "
                "leave it out, or use GroupNorm, which does not depend on the batch."
            )
        self.sync_bn = sync_bn
        self.broadcast_buffers = broadcast_buffers
        self.options: dict[str, Any] = {
            **_NOT_ITS_BUSINESS,
            "find_unused_parameters": find_unused_parameters,
            "static_graph": static_graph,
            "gradient_as_bucket_view": gradient_as_bucket_view,
            "bucket_cap_mb": bucket_cap_mb,
        }
        self.several = world_size() > 1
        self._wraps = False
        self._trained: list[bool] = []  # which parameters were when the model was wrapped
        self._parameters: list[nn.Parameter] = []
        self._replica: DistributedDataParallel | None = None
        self._model: nn.Module | None = None
        self._exchanged = False  # whether backward has exchanged the gradients of the window

    def place(self, model: nn.Module) -> nn.Module:
        """Put the model on its device, with the first process's weights."""
        if self.sync_bn and self.several:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self._model = super().place(model)
        if self.several:
            spread([*model.parameters(), *model.buffers()])
        return self._model

    def bind(self, model: nn.Module, *, one_backward: bool) -> None:
        """Know the model; it is wrapped when it is first called."""
        if model is not self._model:
            self.place(model)
        self._parameters = [*model.parameters()]
        self._wraps = self.several and one_backward
        self._replica = None

    def begin(self) -> None:
        """Have the first one's buffers, and wrap the model anew if others of it are trained."""
        assert self._model is not None, "bind() comes before"
        if self.broadcast_buffers:
            self.align(self._model)
        if self._replica is not None and self._trained != _trained(self._parameters):
            self._replica = None
            gc.collect()  # it is in cycles, and would exchange gradients besides

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the forward pass; where gradients are exchanged meanwhile, by the wrapper."""
        if self._replica is None:
            return function(*args)
        try:
            return self._replica(function, *args)
        except RuntimeError as error:
            if "find_unused_parameters" in str(error):
                error.add_note(_UNUSED)
            raise

    def batch(self, *, closes: bool) -> AbstractContextManager[Any]:
        """Exchange gradients in backward if a step follows."""
        if self._replica is None and self._wraps:
            self._wrap()
        if self._replica is None:
            return nullcontext()
        self._exchanged = closes
        return nullcontext() if closes else self._replica.no_sync()

    def reduce(self, parameters: Sequence[Tensor]) -> None:
        """Average the gradients, unless backward has done so."""
        exchanged, self._exchanged = self._exchanged, False
        if self.several and not exchanged:
            _average(parameters)

    def mean(self, total: float | Tensor) -> float | Tensor:
        """The mean over the processes."""
        return mean_over_processes(total, self.device) if self.several else total

    def align(self, model: nn.Module) -> None:
        """Have all processes know the first one's buffers."""
        if self.several:
            spread(model.buffers())

    def _wrap(self) -> None:
        """Wrap the model as it is now; later it is too late for those that are not trained."""
        assert self._model is not None, "bind() comes before"
        self._trained = _trained(self._parameters)
        if any(self._trained):
            self._replica = DistributedDataParallel(_Forward(self._model), **self.options)


def _trained(parameters: Sequence[Tensor]) -> list[bool]:
    return [one.requires_grad for one in parameters]


class _Forward(nn.Module):
    """What is wrapped: it has the model's parameters, and calls whatever it is told to."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


def _average(parameters: Sequence[Tensor]) -> None:
    """Average gradients over the processes; one that some process lacks counts as zeros there."""
    if not parameters:
        return
    there = torch.tensor(
        [one.grad is not None for one in parameters], device=parameters[0].device
    ).to(torch.uint8)
    dist.all_reduce(there, dist.ReduceOp.MAX)
    wanted = [one for one, has in zip(parameters, there.tolist(), strict=True) if has]
    for one in wanted:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    average(one.grad for one in wanted if one.grad is not None)
