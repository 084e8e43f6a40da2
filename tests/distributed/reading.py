"""Data bigger than memory, read by several processes; one process of it.

    python -m tests.distributed.reading SHARDS FOLDER [--workers 2]

It prints lines for each iteration, with the samples so far. The functions are called in processes
that stay.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.data import DataLoader

from footplate import Engine, Events
from footplate.engine.data.memory_mapped import MemoryMapped
from footplate.engine.data.order import ordered_loader
from footplate.engine.data.sharding import sharded
from footplate.engine.data.tar_shards import TarShards
from footplate.engine.placement.launching import join
from footplate.engine.placement.ranks import rank, world_size
from footplate.handlers.checkpoint import Checkpoint
from footplate.recipes.composition.loaders import dataloader
from footplate.recipes.config.objects import Objects


def loader_of(data: Any, batch_size: int, **options: Any) -> Any:
    """A loader of this process's share."""
    return ordered_loader(
        data, batch_size, shuffle=True, seed=1, rank=rank(), world_size=world_size(), **options
    )


def taken(shards: str, evaluates: bool = False, workers: int = 0) -> list[int]:
    """The samples of this process in a pass, by the loader that a runner makes."""
    given = {
        "dataset": {"type": "footplate.engine.data.tar_shards.TarShards", "shards": shards},
        "batch_size": 4,
        "shuffle": not evaluates,
        "num_workers": workers,
    }
    loader = dataloader(given, Objects(), path="data", seed=1, evaluates=evaluates)
    return [one for batch in loader for one in batch["cls"].tolist()]


def dealt(shards: str) -> list[int]:
    """The samples of this process, where a user's loader goes over all."""
    loader = sharded(DataLoader(TarShards(shards), 4, shuffle=True), evaluates=False, seed=1)
    return [one for batch in loader for one in batch["cls"].tolist()]


def grown(file: str) -> dict[str, Any]:
    """The rows that this process reads of a file, and by how many bytes it grows meanwhile."""
    data, process, rows, most = MemoryMapped(file), psutil.Process(), [], 0
    data[0]
    before = process.memory_info().rss
    for batch in loader_of(data, 256):
        rows += batch[:, 0].tolist()
        most = max(most, process.memory_info().rss - before)
    return {"rows": rows, "bytes": most}


def say(what: str, value: Any) -> None:
    """A line for the test to read."""
    print(json.dumps([what, value]), flush=True)


def main() -> None:
    """Walk over shards, and say which samples came."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    join("pytorch", timeout=30)
    trainer = Engine(lambda engine, batch: time.sleep(options.pause), name="train")
    when = Events.ITERATION_COMPLETED(every=3)
    checkpoint = trainer.attach(Checkpoint(options.folder, nn.Linear(1, 1), when=when))
    checkpoint.resume(trainer)
    seen, decoded = [], []

    @trainer.on(Events.ITERATION_COMPLETED)
    def tell(engine: Engine) -> None:
        seen.append([engine.state.iteration, engine.state.batch["cls"].tolist()])
        say("seen", seen)
        say("decoded", len(decoded))
        say("iteration", engine.state.iteration)

    def number(data: bytes) -> int:
        decoded.append(data)
        return int(data)

    data = TarShards(options.shards / "shards" / "*.tar", decoders={"cls": number}, window=9)
    trainer.run(loader_of(data, 4, num_workers=options.workers), max_epochs=2)
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
