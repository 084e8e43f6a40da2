"""What data say of the samples behind them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
)

from footplate.engine.combined import combined
from footplate.engine.data.dataset import meta_of, size_of
from footplate.engine.data.device import DeviceLoader
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import ordered_loader
from footplate.engine.limited import limited

META = {"classes": ("cat", "dog")}


class Pets(Dataset):
    metainfo = META

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index


class Named(Pets):
    metainfo = None
    dataset_meta = META


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(7))


class Rude:
    def __getattr__(self, name):
        if name.startswith("__"):  # pytest asks
            raise AttributeError(name)
        raise RuntimeError(name)


@pytest.mark.covers("E3")
@pytest.mark.parametrize(
    "data",
    [
        Pets(),
        DataLoader(Pets()),
        DataLoader(Named()),
        DataLoader(Subset(Subset(Pets(), range(3)), [0])),
        DataLoader(ConcatDataset([range(3), Subset(Pets(), [1])])),
        DeviceLoader(limited(DataLoader(Pets()), 2), "cpu"),
        ordered_loader(Pets(), 2, sample_rng=True),
        combined({"a": [1], "b": DataLoader(Pets())}),
    ],
)
def test_meta_are_found_wherever_the_data_set_is(data):
    assert meta_of(data) == META


@pytest.mark.parametrize(
    "data", [None, [torch.zeros(2)], DataLoader(range(3)), Rude(), DataLoader(Stream())]
)
def test_there_may_be_none(data):
    assert meta_of(data) is None


@pytest.mark.covers("E3")
@pytest.mark.parametrize(
    ("data", "size"),
    [
        (DataLoader(Pets(), batch_size=2), 7),
        (DataLoader(Pets(), sampler=DistributedSampler(Pets(), 2, 0)), 7),
        (ordered_loader(Pets(), 2, rank=1, world_size=2, even=False), 7),
        (InMemoryLoader(torch.zeros(7), 2, rank=1, world_size=2), 7),
        (DeviceLoader(limited(DataLoader(Pets()), 2), "cpu"), 7),
        (DataLoader(Stream()), None),
        (combined([DataLoader(range(2)), DataLoader(range(3))]), None),
        ([[1, 2], [3]], None),
        (Rude(), None),
        (None, None),
    ],
)
def test_the_true_size(data, size):
    assert size_of(data) == size
