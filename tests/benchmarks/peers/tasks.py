"""What all contenders learn: the same model, data and seeds. Nothing here loads any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED = 0


@dataclass
class Task:
    """A training, whoever leads it.

    Attributes:
        model: on its device.
        optimizer: of its parameters.
        loss_of: from scores and targets to a loss; all contenders call it once an iteration, so
            whoever watches them watches there.
        dataset: samples; with ``batch_size=None`` a list of batches that are taken in order.
        batch_size: of the batches, which are shuffled.
        epochs: how many there are.
        schedule: of the learning rate, stepped each iteration.
        validation: samples that are scored after each epoch.
        device: where the batches are to be.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    dataset: Any
    batch_size: int | None = None
    epochs: int = 1
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    validation: Any = None
    device: str = "cpu"

    def loader(self, kind: type[DataLoader] = DataLoader, *, own: bool = True) -> DataLoader:
        """A stock loader, or one of another class, with a generator of its own or without."""
        generator = torch.Generator().manual_seed(SEED) if own else None
        shuffle = self.batch_size is not None
        return kind(self.dataset, self.batch_size, shuffle=shuffle, generator=generator)

    def validation_loader(self) -> DataLoader:
        return DataLoader(self.validation, 256)


def network(dropout: float) -> nn.Sequential:
    """That of the image-classification recipe, written out, so that its library is not loaded."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 32),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(512, 10),
    )


def images_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    """The 1797 handwritten digits, shuffled: (N, 1, 8, 8) from 0 to 1, and (N,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(SEED))
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    return images[order], torch.from_numpy(bunch.target)[order]


def linear(iterations: int, *, device: str = "cpu") -> Task:
    """16 inputs and one output, batches of 8 in a list: all that is measured is overhead."""
    _begin()
    model = nn.Linear(16, 1).to(device)
    batches = [(torch.randn(8, 16), torch.randn(8, 1))] * iterations
    sgd = torch.optim.SGD(model.parameters(), 1e-3)
    return Task(model, sgd, F.mse_loss, batches, device=device)


def digits(iterations: int, *, device: str = "cpu") -> Task:
    """The network of the recipe, with batches of 64 in a list."""
    _begin()
    images, labels = images_and_labels()
    batches = list(zip(images[:1792].split(64), labels[:1792].split(64), strict=True))
    batches = [batches[number % len(batches)] for number in range(iterations)]
    return _classifier(network(0.2), batches, device=device)


def scheduled(epochs: int, *, device: str = "cpu") -> Task:
    """A small run as it would be led: shuffled batches of 16, a schedule, and validation."""
    _begin()
    images, labels = images_and_labels()
    task = _classifier(
        network(0.2),
        TensorDataset(images[:1258], labels[:1258]),
        batch_size=16,
        epochs=epochs,
        validation=TensorDataset(images[1258:], labels[1258:]),
        device=device,
    )
    steps = epochs * len(task.loader())
    task.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(task.optimizer, steps)
    return task


def brief(epochs: int = 3, *, device: str = "cpu") -> Task:
    """A small network with dropout, and 40 shuffled batches an epoch: soon run, and run again."""
    _begin()
    images, labels = images_and_labels()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10)
    )
    data = TensorDataset(images[:640], labels[:640])
    return _classifier(model, data, batch_size=16, epochs=epochs, device=device)


def large(iterations: int, *, device: str = "cpu") -> Task:
    """Ten million parameters and AdamW's moments, 120 MB in all, and little to work out."""
    _begin()
    model = nn.Sequential(
        nn.Linear(64, 3072), nn.ReLU(), nn.Linear(3072, 3072), nn.Linear(3072, 10)
    )
    batches = [(torch.randn(4, 64), torch.randint(10, (4,)))] * iterations
    return _classifier(model, batches, device=device)


def long(iterations: int, *, device: str = "cpu") -> Task:
    """A linear model, and so many shuffled batches of 4 in one epoch."""
    _begin()
    model = nn.Linear(16, 1).to(device)
    data = TensorDataset(torch.randn(4 * iterations, 16), torch.randn(4 * iterations, 1))
    sgd = torch.optim.SGD(model.parameters(), 1e-3)
    return Task(model, sgd, F.mse_loss, data, batch_size=4, device=device)


def _begin() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)


def _classifier(model: nn.Module, dataset: Any, **options: Any) -> Task:
    model = model.to(options["device"])
    adam = torch.optim.AdamW(model.parameters(), 3e-3)
    return Task(model, adam, F.cross_entropy, dataset, **options)
