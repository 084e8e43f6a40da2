"""Training runs whose processes have shares of different lengths, called in each of them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from footplate import Engine, Events
from footplate.engine.data.even import EvenBatches, even
from footplate.engine.errors import DataError
from footplate.engine.placement.ranks import gathered, rank
from footplate.engine.placement.replicated import Replicated
from footplate.engine.step.training import training_step

__all__ = ["compared", "resumed", "trained"]


class Shard(IterableDataset[Any]):
    """Samples of this process; it does not say how many."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        return iter(_samples(self.size))


class Counted(Shard):
    """It says where it stands."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.given = 0

    def __iter__(self) -> Iterator[Any]:
        while self.given < self.size:
            self.given += 1
            yield _samples(self.size)[self.given - 1]
        self.given = 0

    def state_dict(self) -> dict[str, Any]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.given = state["given"]


def _samples(size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(rank())
    x = torch.randn(size, 3, generator=generator)
    return [*zip(x, x.sum(1, keepdim=True), strict=True)]


def _data(kind: str, sizes: list[int], batch: int = 2) -> Any:
    size = sizes[rank()]
    if kind == "sized":
        return DataLoader(_samples(size), batch_size=batch)
    if kind == "mixed" and rank() == 0:
        return DataLoader(_samples(size), batch_size=batch)
    if kind == "stateful":
        return DataLoader(Counted(size), batch_size=batch)
    return DataLoader(Shard(size), batch_size=batch)


def _trainer() -> tuple[nn.Module, Engine]:
    torch.manual_seed(0)
    model = Replicated("cpu").place(nn.Linear(3, 1))
    sgd = torch.optim.SGD(model.parameters(), lr=0.05)
    step = training_step(model, sgd, F.mse_loss, placement=Replicated("cpu"))
    return model, Engine(step, name="train")


def trained(kind: str, sizes: list[int], epochs: int = 3) -> dict[str, Any]:
    """A run over shares of such sizes, in batches of two."""
    said: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, noting = logging.getLogger("footplate.data"), Noting()
    logger.addHandler(noting)
    try:
        _, trainer = _trainer()
        lengths: list[int] = []
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda e: lengths.append(e.progress.epoch_iteration)
        )
        state = trainer.run(even(_data(kind, sizes)), max_epochs=epochs)
    except DataError as error:
        return {"error": str(error)}
    finally:
        logger.removeHandler(noting)
    return {"iteration": state.iteration, "lengths": lengths, "said": said}


def resumed(kind: str, sizes: list[int], at: int) -> list[bool]:
    """Whether a run that goes on from an iteration sees the batches of the unbroken one."""
    seen: list[list[float]] = []

    def run(stop: int | None, state: Any) -> tuple[list[list[float]], Any]:
        seen.clear()
        trainer = Engine(lambda engine, batch: seen.append(batch[0][0].tolist()), name="train")
        if state is not None:
            trainer.load_state_dict(state)
        if stop is not None:
            trainer.add_event_handler(
                Events.ITERATION_COMPLETED(once=stop), lambda e: e.interrupt()
            )
        trainer.run(even(_data(kind, sizes)), max_epochs=3)
        return [*seen], trainer.state_dict()

    whole, _ = run(None, None)
    first, state = run(at, None)
    rest, _ = run(None, state)
    return [len(first) == at, first + rest == whole]


def compared() -> list[Any]:
    """What :func:`even` makes of data that have as many batches, and of those of no length."""
    same = [1, 2, 3]
    unsized = itertools.count()
    return [even(same) is same, type(even(unsized)) is EvenBatches, gathered(len(same))]
