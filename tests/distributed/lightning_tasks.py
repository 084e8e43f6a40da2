"""LightningModules in each of several processes: what they learn, log and exchange."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from footplate import Runner
from footplate.engine.placement.ranks import rank, world_size
from tests.recipes import lightning_modules as modules

__all__ = ["adversarial", "regressed"]


class Steady(modules.Regression):
    """Without dropout, so that it learns the same in any number of processes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
        self.gathered: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        self.log("highest_rank", float(self.global_rank), sync_dist=True, reduce_fx="max")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.gathered = self.all_gather(torch.tensor(float(rank()))).reshape(-1).tolist()


def _data(seed: int, size: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 6, generator=generator)
    return TensorDataset(x, x[:, :1].sin())


def _trained(module: Any, folder: str, **options: Any) -> Runner:
    size = 8 // world_size()
    runner = Runner(
        module,
        folder,
        train_dataloader={"dataset": _data(0), "batch_size": size, "shuffle": True},
        train_cfg={"max_epochs": 3},
        randomness={"seed": 5},
        visualizer=False,
        default_hooks={"logger": {"progress_bar": False}, "report": None, "checkpoint": None},
        **options,
    )
    runner.train()
    return runner


def regressed(folder: str, accumulate: int = 1) -> dict[str, Any]:
    """What a module that optimizes automatically has learned and logged."""
    torch.manual_seed(0)
    module = Steady()
    _trained(
        module,
        folder,
        val_dataloader={"dataset": _data(1), "batch_size": 8 // world_size()},
        optim_wrapper={"accumulative_counts": accumulate, "clip_grad": 1.0},
    )
    facts = module.trainer
    return {
        "weights": torch.cat([one.detach().reshape(-1) for one in module.parameters()]).tolist(),
        "logged": {name: float(value) for name, value in facts.callback_metrics.items()},
        "gathered": module.gathered,
        "facts": [facts.world_size, facts.global_rank, facts.is_global_zero, facts.num_devices],
        "steps": facts.global_step,
    }


class Pair(modules.Gan):
    """With a noise that does not depend on the number of processes, and no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))

    def noise(self, real: torch.Tensor) -> torch.Tensor:
        return real[:, :4]


def adversarial(folder: str) -> list[float]:
    """What two networks have learned that are optimized by hand."""
    torch.manual_seed(0)
    module = Pair()
    _trained(module, folder)
    return torch.cat([one.detach().reshape(-1) for one in module.parameters()]).tolist()
