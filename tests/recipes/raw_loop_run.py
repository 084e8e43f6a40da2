"""A training script with a loop of its own, which is killed in the tests.

python -m tests.recipes.raw_loop_run FOLDER --kill-at 8 --resume
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.recipes.raw_loop import setup

EPOCHS, EVERY = 3, 2


class Noisy(Dataset):
    """Points, each time with other noise."""

    def __init__(self):
        self.x = torch.randn(28, 4)
        self.y = (self.x.sum(1) > 0).long()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return self.x[index] + 0.1 * torch.randn(4), self.y[index]


def parts(seed):
    """Model, optimizer, schedule and data; the data are the same whatever the seed."""
    seed_all(0)
    data = Noisy()
    seed_all(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    return model, optimizer, schedule, data


def digest(model):
    told = hashlib.sha256()
    for value in model.state_dict().values():
        told.update(value.numpy().tobytes())
    return told.hexdigest()


def train(folder, kill_at, resume, workers):
    model, optimizer, schedule, data = parts(seed=4 if resume else 3)
    loader = DataLoader(data, 4, shuffle=True, num_workers=workers)
    loop = setup(
        model,
        optimizer,
        loader,
        DataLoader(data, 14, shuffle=True),
        device="cpu",
        accumulate=3,
        clip=ClipNorm(1.0),
        checkpoints=folder,
        others={"schedule": schedule},
    )
    if resume:
        print("resumed at", loop.resume().name, flush=True)
    for _ in loop.epochs(EPOCHS):
        model.train()
        for x, y in loop.batches():
            loop.update(F.cross_entropy(loop.model(x), y))
            if loop.iteration % EVERY == 0:
                loop.save()
            if loop.iteration == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        model.eval()
        for x, _ in loop.loaders[1]:
            loop.model(x)
        schedule.step()
        loop.save()
        if loop.iteration == -(kill_at or 0):
            os.kill(os.getpid(), signal.SIGKILL)
    print(digest(model))


def train_by_hand():
    """The same loop without anything of ours."""
    model, optimizer, schedule, data = parts(seed=3)
    loader, val_loader = DataLoader(data, 4, shuffle=True), DataLoader(data, 14, shuffle=True)
    for _ in range(EPOCHS):
        model.train()
        held = 0
        for number, (x, y) in enumerate(loader, 1):
            F.cross_entropy(model(x), y).backward()
            held += 1
            if held == 3 or number == len(loader):
                for parameter in model.parameters():
                    parameter.grad.div_(held)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                held = 0
        model.eval()
        for x, _ in val_loader:
            model(x)
        schedule.step()
    print(digest(model))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--by-hand", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.by_hand:
        train_by_hand()
    else:
        train(options.folder, options.kill_at, options.resume, options.workers)
