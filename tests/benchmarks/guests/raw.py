"""A loop that is written out, as it is, by Lightning Fabric, and by ``setup``.

The same network learns the same digits by batches of a stock loader. Each function trains for so
many iterations, what it needs to begin with included, and returns the last loss.
"""

import os

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32
ENDLESS = 10**9


def task():
    """The network, its optimizer and its loader."""
    from footplate.recipes.image_classification import digits

    torch.set_num_threads(1)
    torch.manual_seed(0)
    (images, labels), *_ = digits(0)
    samples = TensorDataset(images.flatten(1), labels)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    return model, optimizer, DataLoader(samples, BATCH, shuffle=True)


def bare(iterations):
    """By nobody."""
    model, optimizer, loader = task()
    return fabric_like(model, optimizer, loader, lambda loss: loss.backward(), iterations)


def peer(iterations):
    """By Lightning Fabric."""
    from lightning.fabric import Fabric

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimizer, loader = task()
    model, optimizer = fabric.setup(model, optimizer)
    loader = fabric.setup_dataloaders(loader)
    return fabric_like(model, optimizer, loader, fabric.backward, iterations)


def fabric_like(model, optimizer, loader, backward, iterations):
    """The loop, whoever calls backward."""
    iteration = 0
    while True:
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()
            iteration += 1
            if iteration == iterations:
                return loss.item()


def ours(iterations):
    """By ``setup``."""
    from footplate.recipes.raw_loop import setup

    model, optimizer, loader = task()
    loop = setup(model, optimizer, loader, device="cpu")
    for _ in loop.epochs(ENDLESS):
        for x, y in loop.batches():
            loss = F.cross_entropy(loop.model(x), y)
            loop.update(loss)
            if loop.iteration == iterations:
                return loss.item()
    raise AssertionError("an epoch without end has ended")
