"""What the tests of the runner train: a line on eight numbers, and what they watch it with."""

from __future__ import annotations

from typing import ClassVar

import torch
from ignite.metrics import MeanSquaredError
from torch import nn
from torch.utils.data import Dataset

from footplate.recipes.composition.hook import Hook
from footplate.recipes.runner import Runner

QUIET = {"logger": {"console": False, "progress_bar": False}, "report": None}
MSE = nn.functional.mse_loss


class Numbers(Dataset):
    """``size`` samples of y = 2x + 1; who makes one, and whoever asks for a sample, is noted."""

    made: ClassVar[list[str]] = []

    def __init__(self, size=8, name="numbers"):
        self.size, self.name, self.asked = size, name, []
        type(self).made.append(name)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(index)
        self.asked.append(index)
        x = torch.tensor([index / self.size])
        return x, 2 * x + 1


class Line(nn.Linear):
    """A line that begins at zero."""

    def __init__(self):
        super().__init__(1, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Journal(Hook):
    """Notes which of some points come by, each with what it is told."""

    def __init__(self):
        self.lines = []


def loader(size=8, batch_size=2, name="numbers", **options):
    return {"dataset": Numbers(size, name), "batch_size": batch_size, **options}


def runner(folder, *, kind=Runner, **changes):
    """A runner that trains two epochs of four batches and validates behind each."""
    train = {"max_epochs": 2, "loss": MSE, **changes.pop("train_cfg", {})}
    if "max_iters" in train:
        del train["max_epochs"]
    defaults = {
        "model": Line,
        "train_dataloader": loader,
        "val_dataloader": lambda: loader(4, name="val"),
        "val_evaluator": lambda: {"mse": MeanSquaredError()},
        "optim_wrapper": lambda: {"optimizer": {"type": "SGD", "lr": 0.1}},
        "randomness": lambda: {"seed": 7},
    }
    made = {name: make() for name, make in defaults.items() if name not in changes}
    arguments = {"work_dir": folder, **made, **changes}
    hooks = {**QUIET, **(changes.get("default_hooks") or {})}
    return kind(**{**arguments, "default_hooks": hooks, "train_cfg": train})


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
