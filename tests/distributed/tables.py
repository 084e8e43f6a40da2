"""Tables and streams of the datasets library in each of several processes."""

from __future__ import annotations

import os
import warnings
from typing import Any

from torch.utils.data import DataLoader

from footplate import Engine
from footplate.engine.data.even import even
from footplate.engine.data.sharding import sharded
from footplate.engine.placement.ranks import rank, world_size

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # nothing is looked for elsewhere

__all__ = ["dealt", "dealt_twice"]


def made(kind: str, size: int) -> Any:
    """So many rows: a table, or a stream of four or three shards, shuffled or not."""
    from datasets import Dataset

    table = Dataset.from_dict({"number": list(range(size))})
    if kind == "table":
        return table
    stream = table.to_iterable_dataset(num_shards=3 if "3" in kind else 4)
    return stream.shuffle(seed=3, buffer_size=4) if "shuffled" in kind else stream


def dealt(kind: str, size: int, evaluates: bool, split: bool = False) -> list[int]:
    """The rows that this process sees in an epoch."""
    dataset = made(kind, size)
    if split:
        from datasets.distributed import split_dataset_by_node

        dataset = split_dataset_by_node(dataset, rank=rank(), world_size=world_size())
    loader = sharded(DataLoader(dataset, 2), evaluates=evaluates)
    seen: list[int] = []
    engine = Engine(lambda engine, batch: seen.extend(batch["number"].tolist()), name="train")
    engine.run(loader if evaluates else even(loader))
    return seen


def dealt_twice() -> list[str]:
    """What is warned of where a table was split before."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dealt("table", 8, evaluates=True, split=True)
    return [str(one.message) for one in caught if one.category is not DeprecationWarning]
