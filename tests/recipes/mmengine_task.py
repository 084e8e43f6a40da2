"""A small project of MMEngine, and runs of it by MMEngine's own Runner and by ours."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = [
    "QUIET",
    "Accuracy",
    "Gan",
    "Losses",
    "Net",
    "SharedLoss",
    "TakenApart",
    "loader",
    "losses_of",
    "project",
    "two_wrappers",
]

QUIET = {"logger": None, "checkpoint": None}
"""Default hooks that both are told to leave out."""

_numbers = itertools.count()


class Net(BaseModel):
    """A classifier in MMEngine's manner."""

    def __init__(self, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, images, labels, mode="tensor"):
        scores = self.net(images)
        if mode == "loss":
            return {
                "loss_class": F.cross_entropy(scores, labels),
                "loss_size": [scores.square() * 1e-3],
                "right": (scores.argmax(1) == labels).float(),
            }
        return (scores, labels) if mode == "predict" else scores


class TakenApart(Net):
    """One that takes the parts of an update one by one."""

    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self):
            data = self.data_preprocessor(data, True)
            loss, log_vars = self.parse_losses(self._run_forward(data, mode="loss"))
        optim_wrapper.backward(optim_wrapper.scale_loss(loss), retain_graph=True)
        if optim_wrapper.should_update():
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        return log_vars


class Gan(BaseModel):
    """Two networks and an optimizer for each; what one's loss leaves in the other is not let go."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(8, 8)
        self.discriminator = nn.Linear(8, 1)

    def forward(self, images, labels, mode="tensor"):
        return self.generator(images)

    def train_step(self, data, optim_wrapper):
        images, _ = data
        judging, making = optim_wrapper["discriminator"], optim_wrapper["generator"]
        with judging.optim_context(self):
            judged = self.discriminator(self.generator(images)) - self.discriminator(images)
        judging.update_params(judged.mean())
        with making.optim_context(self):
            made = self.generator(images)
            loss = (self.discriminator(made) - 1).square().mean() + (made - images).square().mean()
        making.update_params(loss)
        return {"loss": loss + judged.mean(), "generator": loss}


class SharedLoss(Gan):
    """One backward whose gradients two optimizers step with."""

    def train_step(self, data, optim_wrapper):
        loss = (self.discriminator(self.generator(data[0])) - 1).square().mean()
        first, second = optim_wrapper["generator"], optim_wrapper["discriminator"]
        first.backward(first.scale_loss(loss))
        for one in (first, second):
            one.step()
        for one in (first, second):
            one.zero_grad()
        return {"loss": loss}


class Accuracy(BaseMetric):
    """How many are right."""

    def process(self, data_batch, data_samples):
        scores, labels = data_samples
        self.results.extend((scores.argmax(1) == labels).tolist())

    def compute_metrics(self, results):
        return {"accuracy": sum(results) / len(results)}


class Losses(Hook):
    """Notes what is reported as the loss, and the values of the optimizers."""

    priority = "VERY_HIGH"

    def __init__(self):
        self.noted = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        wrapper = runner.optim_wrapper
        lr, momentum = wrapper.get_lr(), wrapper.get_momentum()
        lr = {name: one for name, one in lr.items() if not name.endswith("base_lr")}
        self.noted.append((outputs["loss"].item(), lr, momentum))


def loader(samples: int = 40, size: int = 4, *, shuffle: bool = False) -> DataLoader[Any]:
    """Numbers and labels."""
    generator = torch.Generator().manual_seed(samples)
    images = torch.randn(samples, 8, generator=generator)
    labels = torch.randint(0, 3, (samples,), generator=generator)
    return DataLoader(TensorDataset(images, labels), size, shuffle=shuffle)


def two_wrappers(model: Gan) -> OptimWrapperDict:
    """MMEngine's wrappers of the two networks."""
    adam = torch.optim.Adam(model.generator.parameters(), lr=0.01)
    sgd = torch.optim.SGD(model.discriminator.parameters(), lr=0.1, momentum=0.9)
    clipped = OptimWrapper(sgd, clip_grad={"max_norm": 0.5})
    return OptimWrapperDict(generator=OptimWrapper(adam), discriminator=clipped)


def project(**changes: Any) -> dict[str, Any]:
    """The arguments of either Runner; those that are functions are called with the model.

    An experiment's name is a new one each time, since MMEngine keeps all runs of a process.
    """
    torch.manual_seed(0)
    model = changes.pop("model", Net)
    made = model() if isinstance(model, type) else model
    said = {
        "model": made,
        "work_dir": tempfile.mkdtemp(),
        "train_dataloader": loader(),
        "train_cfg": {"by_epoch": True, "max_epochs": 3, "val_interval": 1},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        "default_hooks": QUIET,
        "randomness": {"seed": 0},
        "experiment_name": f"run_{next(_numbers)}",
        **changes,
    }
    called = ("optim_wrapper", "param_scheduler")
    return {
        name: one(made) if name in called and callable(one) else one for name, one in said.items()
    }


def losses_of(runner: Callable[..., Any], **changes: Any) -> list[Any]:
    """The losses of 30 iterations and the optimizers' values, by a Runner."""
    noted = Losses()
    runner(**project(custom_hooks=[noted], **changes)).train()
    return noted.noted
