"""Optimizations of a LightningModule, made of what its ``configure_optimizers`` returns."""

from __future__ import annotations

from collections.abc import Mapping

from torch.optim import Optimizer

from ..accumulation import Accumulation
from ..optimization import Clip
from ..precision import Precision
from .configuration import Scheduled, configured
from .optimization import LightningOptimization
from .optimizing import Options
from .steps import LightningSteps

__all__ = ["lightning_optimizations"]


def lightning_optimizations(
    contract: LightningSteps,
    *,
    optimizer: Optimizer | None = None,
    precision: str | Precision = "fp32",
    accumulate: int | Mapping[int, int] | Accumulation = 1,
    clip: Clip | None = None,
) -> dict[str, LightningOptimization]:
    """Ask a module for its optimizers, and have its schedulers moved by the contract.

    Args:
        contract: the module's.
        optimizer: one for a module that has no ``configure_optimizers``.
        precision: what the forward pass computes with.
        accumulate: batches that make one step.
        clip: what bounds the gradients.

    Returns:
        the optimizations by name: ``optimizer_0`` and so on.

    Raises:
        TypeError: for a module that returns what is no optimizer.
        ValueError: for what contradicts itself.

    Example:
        >>> import torch
        >>> from lightning.pytorch import LightningModule
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> class Line(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> contract = LightningSteps(Line())
        >>> step = training_step(
        ...     contract.model, lightning_optimizations(contract, accumulate=2), contract=contract
        ... )
        >>> state = Engine(step, name="train").run([torch.ones(4, 1)] * 6)
        >>> contract.trainer.global_step
        3
    """
    trainer = contract.trainer
    trainer.options = Options(Precision.of(precision), Accumulation.of(accumulate), clip)
    schedulers: list[Scheduled] = []
    optimizers = [] if optimizer is None else [optimizer]
    if optimizer is None:
        made = configured(contract.model)
        optimizers, schedulers = made.optimizers, made.schedulers
    if len(optimizers) > 1 and trainer.options.precision.kind == "fp16":
        raise ValueError(
            f"{type(contract.model).__name__} has {len(optimizers)} optimizers, and its losses may "
            f"be shared by them, so that fp16 could not scale each; use bf16."
        )
    contract.schedule(schedulers)
    names = [f"optimizer_{number}" for number in range(len(optimizers))]
    return {
        name: LightningOptimization(
            trainer, one, name=name, precision=precision, accumulate=accumulate, clip=clip
        )
        for name, one in zip(names, optimizers, strict=True)
    }
