"""Small models and batches that the tests of steps share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["Both", "DoesItAll", "Stepping", "batches", "line", "sgd"]


def line() -> nn.Linear:
    """A linear model whose weights are the same each time."""
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr)


def batches(count: int, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(size, 3), torch.randn(size, 1)) for _ in range(count)]


class Stepping(nn.Module):
    """What MMCV and wall_e ask of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.line = line()

    def train_step(self, data, optimizer):
        loss = F.mse_loss(self.line(data[0]), data[1])
        return {"loss": loss, "log_vars": {"mse": loss.item()}, "num_samples": len(data[0])}

    def val_step(self, data, scale=1.0):
        return {"error": (self.line(data[0]) - data[1]).abs().mean() * scale}


class DoesItAll(nn.Module):
    """What MMEngine asks of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.line = line()

    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self):
            loss = F.mse_loss(self.line(data[0]), data[1])
        optim_wrapper.update_params(loss)
        return {"loss": loss, "mse": loss.detach()}

    def test_step(self, data):
        return self.line(data[0])


class Both(nn.Module):
    """Two parts for two optimizers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = line(), line()

    def forward(self, x):
        return self.first(x) + self.second(x)
