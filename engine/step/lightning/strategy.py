"""Strategy: what methods of a LightningModule ask for where it runs, and how it computes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ...data.device import move
from ...placement.ranks import barrier, is_first, world_size
from . import checkpoint

if TYPE_CHECKING:
    from .optimization import LightningOptimization
    from .optimizing import Optimizing

__all__ = ["PrecisionPlugin", "Strategy"]

_OF_BACKWARD = ("gradient", "retain_graph", "create_graph", "inputs")


class Strategy:
    """What ``module.trainer.strategy`` is: the way to the optimizers, and to other processes.

    Args:
        trainer: has the module and its optimizations.
    """

    handles_gradient_accumulation = False

    def __init__(self, trainer: Optimizing) -> None:
        self._trainer = weakref.ref(trainer)
        self.precision_plugin = PrecisionPlugin(trainer)

    @property
    def _of(self) -> Optimizing:
        trainer = self._trainer()
        assert trainer is not None, "a module holds its trainer"
        return trainer

    @property
    def lightning_module(self) -> Any:
        """The module."""
        return self._of.lightning_module

    model = lightning_module

    @property
    def _lightning_optimizers(self) -> list[Any]:
        """What ``module.optimizers()`` gives."""
        return [one.by_module for one in self._of.optimizations]

    @property
    def optimizers(self) -> list[Any]:
        """The optimizers."""
        return [one.optimizer for one in self._of.optimizations]

    @property
    def root_device(self) -> torch.device:
        """Where the module is."""
        device: torch.device = self.lightning_module.device
        return device

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return is_first()

    # ------------------------------------------------------------------ optimizing by hand

    def backward(self, loss: Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Add the gradients of a loss, as ``module.manual_backward`` asks for it."""
        first, *others = self._of.optimizations
        how = {**dict(zip(_OF_BACKWARD, args, strict=False)), **kwargs}
        first.backward(loss, **how)
        for one in others:  # whose parameters it may have reached as well
            one.window.held += 1

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any], **options: Any) -> Any:
        """Have an optimizer step, as ``step()`` of what ``module.optimizers()`` gives asks for."""
        return self._of.optimization_of(optimizer).step_by(closure, **options)

    # ------------------------------------------------------------------ other processes

    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes."""
        barrier()

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """What one process has, on all of them."""
        if world_size() == 1:
            return obj
        held = [obj]
        dist.broadcast_object_list(held, src=src)
        return held[0]

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """A tensor reduced over the processes, by ``"mean"``, ``"sum"``, ``"min"`` or ``"max"``."""
        if world_size() == 1 or not isinstance(tensor, Tensor):
            return tensor
        named = str(getattr(reduce_op, "name", reduce_op)).lower()
        mean = named in ("mean", "avg", "none")
        operation = dist.ReduceOp.SUM if mean else getattr(dist.ReduceOp, named.upper())
        reduced = tensor.detach().clone()
        if mean and not reduced.is_floating_point():
            reduced = reduced.to(torch.get_default_dtype())
        dist.all_reduce(reduced, operation, group=group)
        return reduced / dist.get_world_size(group) if mean else reduced

    def all_gather(self, tensor: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:
        """The tensors of all processes, along a new first axis; of one process as it is."""
        if world_size() == 1:
            return tensor
        if sync_grads:
            from torch.distributed.nn.functional import all_gather

            several = all_gather(tensor, group or dist.group.WORLD)  # type: ignore[no-untyped-call]
            return torch.stack(list(several))
        tensor = tensor.contiguous()
        gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.all_gather(gathered, tensor, group=group)
        return torch.stack(gathered)

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Whether all processes decide so, or any of them."""
        if world_size() == 1:
            return decision
        votes = int(self.reduce(torch.tensor(int(decision)), reduce_op="sum").item())
        return votes == world_size() if all else votes > 0

    def remove_checkpoint(self, filepath: str) -> None:
        """Remove a file that ``trainer.save_checkpoint`` has written."""
        checkpoint.remove(filepath)

    def batch_to_device(self, batch: Any, device: Any = None, dataloader_idx: int = 0) -> Any:
        """A batch where the module is."""
        return move(batch, self.root_device if device is None else device)


class PrecisionPlugin:
    """What ``module.trainer.precision_plugin`` is: it clips, as ``clip_gradients`` asks for it."""

    def __init__(self, trainer: Optimizing) -> None:
        self._trainer = weakref.ref(trainer)

    @property
    def precision(self) -> str:
        """The precision by Lightning's name."""
        trainer = self._trainer()
        return "32-true" if trainer is None else trainer.precision

    def clip_gradients(
        self, optimizer: Any, clip_val: float = 0.0, algorithm: Any = "norm"
    ) -> None:
        """Clip the gradients of an optimizer's parameters."""
        trainer = self._trainer()
        assert trainer is not None, "a module holds its trainer"
        one: LightningOptimization = trainer.optimization_of(optimizer)
        one.clip_by(float(clip_val), getattr(algorithm, "value", algorithm))
