"""How loaders are dealt out, and predictions put together again, in several processes."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    Sampler,
    WeightedRandomSampler,
)

from footplate import Engine
from footplate.engine.combined import combined
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import ordered_loader
from footplate.engine.data.sharding import sharded
from footplate.engine.evaluating import measured
from footplate.engine.limited import limited
from footplate.engine.placement.ranks import rank, world_size
from footplate.handlers.predictions import Predictions
from footplate.handlers.sampler_seed import SamplerSeed
from footplate.recipes.composition.loaders import dataloader
from footplate.recipes.config.objects import Objects
from tests.distributed.evaluating import outcome


class Stream(IterableDataset[int]):
    """Numbers in an order of their own."""

    def __iter__(self) -> Any:
        yield from range(4)


class InTurn(BatchSampler):
    """A batch sampler of somebody's own."""


class Backwards(Sampler[int]):
    """A sampler of somebody's own."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Any:
        yield from reversed(range(self.size))

    def __len__(self) -> int:
        return self.size


class Own(DataLoader[Any]):
    """A loader of a class derived from torch's."""


def made(kind: str, size: int) -> Any:
    """A loader of so many numbers, as somebody would make it."""
    numbers = range(size)
    ours = {"rank": rank(), "world_size": world_size()}
    loaders: dict[str, Any] = {
        "in order": lambda: DataLoader(numbers, 2),
        "shuffled": lambda: DataLoader(numbers, 2, shuffle=True),
        "derived": lambda: Own(numbers, 2, drop_last=True),
        "single": lambda: DataLoader(numbers, None),
        "batch sampler": lambda: DataLoader(
            numbers, batch_sampler=BatchSampler(range_sampler(size), 2, False)
        ),
        "ours, of one process": lambda: ordered_loader(numbers, 2, shuffle=True, seed=3),
        "in memory": lambda: InMemoryLoader(torch.arange(size), 2),
        "distributed": lambda: DataLoader(
            numbers, 2, sampler=DistributedSampler(numbers, world_size(), rank(), shuffle=False)
        ),
        "dealt": lambda: ordered_loader(numbers, 2, even=False, **ours),
        "even": lambda: ordered_loader(numbers, 2, **ours),
        "own sampler": lambda: DataLoader(numbers, 2, sampler=Backwards(size)),
        "weighted": lambda: DataLoader(
            numbers, 2, sampler=WeightedRandomSampler([1.0] * size, size)
        ),
        "own batches": lambda: DataLoader(
            numbers,
            batch_sampler=InTurn(
                DistributedSampler(numbers, world_size(), rank(), shuffle=False), 2, False
            ),
        ),
        "stream": lambda: DataLoader(Stream(), 2),
        "combined": lambda: combined({"a": DataLoader(numbers, 2)}),
        "list": lambda: [[0, 1], [2]],
        "limited": lambda: limited(ordered_loader(numbers, 2, even=False, **ours), 2),
    }
    return loaders[kind]()


def range_sampler(size: int) -> Any:
    """Torch's sampler of all in order."""
    return torch.utils.data.SequentialSampler(range(size))


def dealt(kind: str, size: int, evaluates: bool) -> dict[str, Any]:
    """What a loader gives once it is dealt out, and what is said about it."""
    said: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("footplate.data")
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    loader = made(kind, size)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            shared = sharded(loader, evaluates=evaluates, seed=5)
            again = sharded(shared, evaluates=evaluates, seed=5)
    finally:
        logger.removeHandler(listener)
    batches = [as_list(one) for one in shared]
    return {
        "batches": batches,
        "next": [as_list(one) for one in shared],
        "same": shared is loader,
        "settled": again is shared,
        "said": said,
        "warned": [str(one.message) for one in warned],
        "type": type(shared).__name__,
    }


def as_list(batch: Any) -> Any:
    """A batch as JSON has it."""
    if isinstance(batch, dict):
        return {key: as_list(one) for key, one in batch.items()}
    return batch.tolist() if isinstance(batch, torch.Tensor) else batch


def by_recipe(given: str, evaluates: bool) -> list[Any]:
    """What the runner makes of a loader, or of what says how to make one."""
    loaders: dict[str, Any] = {
        "loader": DataLoader(range(5), 2),
        "mapping": {"dataset": range(5), "batch_size": 2},
        "sampler": {"dataset": range(5), "batch_size": 2, "sampler": {"type": "SequentialSampler"}},
        "several": {"a": DataLoader(range(5), 2)},
    }
    loader = dataloader(
        loaders[given], Objects(), path="val_dataloader", seed=1, evaluates=evaluates
    )
    loader = loader["a"] if given == "several" else loader
    return [one.tolist() for one in loader]


def seeded(kind: str) -> list[Any]:
    """The samples of three epochs, with samplers that are seeded for each pass."""
    numbers = range(6)

    def sampler() -> Any:
        return DistributedSampler(numbers, world_size(), rank(), seed=3)

    loaders: dict[str, Any] = {
        "plain": lambda: DataLoader(numbers, 1, sampler=sampler()),
        "nested": lambda: DataLoader(numbers, batch_sampler=BatchSampler(sampler(), 1, False)),
        "wrapped": lambda: limited(DataLoader(numbers, 1, sampler=sampler()), 10),
        "combined": lambda: combined({"a": DataLoader(numbers, 1, sampler=sampler())}),
        "sharded": lambda: sharded(DataLoader(numbers, 1, shuffle=True), evaluates=False, seed=3),
    }
    seen: list[list[Any]] = []
    engine = Engine(lambda engine, batch: seen[-1].append(as_list(batch)))
    engine.attach(SamplerSeed())
    engine.add_event_handler("EPOCH_STARTED", lambda: seen.append([]))
    engine.run(loaders[kind](), max_epochs=3)
    return seen


# ---------------------------------------------------------------------- predictions


def answer(engine: Engine, batch: torch.Tensor) -> dict[str, Any]:
    """What is predicted of numbers: rows, a list, an array, and pairs."""
    return {
        "row": torch.stack([batch, batch * batch], 1),
        "list": [f"n{one}" * (one % 3 + 1) for one in batch.tolist()],
        "array": batch.numpy() / 2,
        "pair": (batch + 1, batch.float()),
    }


def shown(value: Any) -> Any:
    """Predictions as JSON has them."""
    if isinstance(value, dict):
        return {key: shown(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    return value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else value


def predictions(examples: list[Any], kind: str, to: str) -> list[Any]:
    """What is gathered of so many numbers in batches of a size."""
    told = []
    for size, batch_size in examples:
        engine = Engine(answer, name="predict")
        gathered = engine.attach(Predictions(to=to))
        if kind == "padded":
            sampler = DistributedSampler(range(size), world_size(), rank(), shuffle=False)
            data: Any = DataLoader(range(size), batch_size, sampler=sampler)
        else:
            data = sharded(DataLoader(range(size), batch_size), evaluates=True)
        raised = outcome(lambda: measured(engine, data))  # noqa: B023
        told.append(raised if isinstance(raised, str) else shown(gathered.outputs))
    return told


def written(size: int, batch_size: int, padded: bool) -> list[Any]:
    """What a writer is handed, with the places in the data set."""
    told = []

    def writer(outputs: Any, batch_idx: int, indices: list[int]) -> None:
        told.append([batch_idx, indices, outputs.tolist()])

    engine = Engine(lambda engine, batch: batch * 10, name="predict")
    engine.attach(Predictions(writer))
    if padded:
        sampler = DistributedSampler(range(size), world_size(), rank(), shuffle=False)
        data: Any = DataLoader(range(size), batch_size, sampler=sampler)
    else:
        data = sharded(DataLoader(range(size), batch_size), evaluates=True)
    measured(engine, data)
    return told


def misfits() -> Any:
    """What is raised if the outputs of one process are others than those of another."""
    engine = Engine(lambda engine, batch: batch[:, None].expand(-1, rank() + 1), name="predict")
    engine.attach(Predictions())
    return outcome(lambda: measured(engine, sharded(DataLoader(range(4), 2), evaluates=True)))


def own_outputs() -> Any:
    """What is gathered of data that are not dealt out."""
    engine = Engine(lambda engine, batch: batch, name="predict")
    gathered = engine.attach(Predictions())
    engine.run([torch.tensor([rank()]), torch.tensor([5])])
    return gathered.outputs.tolist()
