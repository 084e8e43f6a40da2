"""A small training that handlers are tried on, the same on every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from tests.handlers.ignite.worlds import World

__all__ = ["BATCHES", "Probe", "Training", "trying"]

Probe = Callable[[World, Path], Any]
"""Runs something on the engines of a world, in a folder, and tells what came of it."""


def _batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(4, 3, generator=generator), torch.arange(4) % 2) for _ in range(3)]


BATCHES = _batches()


class Training:
    """A trainer with its model, optimizer and an evaluator; gradients stay until the next step."""

    def __init__(self, world: World) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        self.model.append(torch.nn.Linear(4, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.trainer = world.engine(self.step)
        self.evaluator = world.engine(self.answer)

    def step(self, engine: Any, batch: Any) -> float:
        """Train on a batch."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def answer(self, engine: Any, batch: Any) -> Any:
        """What the model says."""
        with torch.no_grad():
            return self.model(batch[0]), batch[1]


def trying(probes: dict[str, Probe], *names: str) -> Callable[[Probe], Probe]:
    """A decorator: the function tries what has these names."""

    def decorate(probe: Probe) -> Probe:
        for name in names:
            assert name not in probes, f"{name} is tried twice"
            probes[name] = probe
        return probe

    return decorate
