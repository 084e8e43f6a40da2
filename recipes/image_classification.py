"""Image classification: a small convolutional network on scikit-learn's handwritten digits.

A script to copy. It splits the digits by seed, trains with AdamW on a cosine schedule, validates
after every epoch, keeps the best and the last checkpoint, tests the best one, and leaves in its
folder ``report.html``, which tells of all of it, and what that is made from. Kill it at any moment,
and ``--resume`` goes on from the last checkpoint. MNIST, CIFAR-10 or a folder of images take the
digits' place by ``--data``, and several processes train as one where torchrun launches them.

    python -m footplate.recipes.image_classification --help
    torchrun --nproc-per-node 2 image_classification.py
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from ignite.metrics import Accuracy, ConfusionMatrix, Loss
from torch import Tensor, nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.data.images.parts import cut, parts_of
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.sharding import sharded
from footplate.engine.optional import required
from footplate.engine.placement.launching import join, leave
from footplate.engine.placement.replicated import Replicated
from footplate.engine.random import seed_all
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.environment import Environment
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.stop_together import StopTogether
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.timer import Timer
from footplate.recipes.commands.script import figures, say, script_run

Samples = tuple[Tensor, Tensor]


def digits(seed: int) -> tuple[Samples, Samples, Samples]:
    """The 1797 digits in three parts, for training, validation and test: 70, 15 and 15 percent.

    Returns:
        for each part images, float32 of shape (N, 1, 8, 8) from 0 to 1, and labels, int64 (N,).
    """
    with required("sklearn", "the digits", extra="recipes"):
        from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    train, val, test = cut((images, torch.from_numpy(bunch.target).long()), 0.7, 0.85, seed=seed)
    return train, val, test


def parts(data: str, seed: int) -> tuple[Samples, Samples, Samples]:
    """The three parts of the digits, or of what else there is to train on."""
    return digits(seed) if data == "digits" else parts_of(data, seed=seed)


def part(name: Literal["train", "val", "test"], seed: int = 0, data: str = "digits") -> Samples:
    """One of the three parts, for a configuration to name."""
    return parts(data, seed)[("train", "val", "test").index(name)]


def network(dropout: float, channels: int = 1, classes: int = 10) -> nn.Sequential:
    """A network from images of shape (B, channels, H, W) to scores, (B, classes)."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(channels, 32),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(512, classes),
    )


def evaluator_of(model: nn.Module, name: str, classes: int) -> Engine:
    """An engine that scores batches, and measures accuracy, loss and what is taken for what."""
    evaluator = Engine(evaluation_step(model), name=name)
    measured = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}
    evaluator.attach(Metrics({**measured, "confusion": ConfusionMatrix(classes)}))
    return evaluator


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    data: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    dropout: float
    seed: int


def train(options: Options, folder: Path, *, resume: bool) -> dict[str, str]:
    """Train, test the best weights, and return what came out, as text by name."""
    seed_all(options.seed)
    train, val, test = parts(options.data, options.seed)
    batches = InMemoryLoader(train, options.batch_size, shuffle=True, seed=options.seed)
    train_loader = sharded(batches, evaluates=False)
    val_loader, test_loader = (
        sharded(InMemoryLoader(samples, 256), evaluates=True) for samples in (val, test)
    )

    classes = 1 + int(max(labels.max() for _, labels in (train, val, test)))
    placement = Replicated()
    model = placement.place(network(options.dropout, train[0].shape[1], classes))
    decay = options.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), options.lr, weight_decay=decay)
    steps = options.epochs * len(train_loader)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step = training_step(model, optimizer, F.cross_entropy, placement=placement)
    trainer = Engine(step, name="train")
    evaluator = evaluator_of(model, "val", classes)

    panels = {
        "loss": ["loss_epoch", "val_loss"],
        "validation accuracy": ["val_accuracy"],
        "learning rate": ["lr"],
    }
    trainer.attach(StopTogether())
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=10)))
    trainer.attach(Timer())
    trainer.attach(Evaluation(evaluator, val_loader))
    trainer.attach(LRSchedule(cosine, "iteration"))
    trainer.attach(Console(names=["loss_epoch", "val_*", "environment"]))
    bar = ProgressBar(metrics=["loss", "val_accuracy"])
    trainer.attach(bar)
    evaluator.attach(bar)
    trainer.attach(TensorBoard(folder / "tensorboard"))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    trainer.attach(Curves(folder / "curves.png", panels=panels, optimizer=optimizer))
    trainer.attach(Environment(folder / "environment.json"))
    tester = evaluator_of(model, "test", classes)
    record = RunRecord(folder, name=title(options.data), config=asdict(options))
    for engine in (trainer, evaluator, tester):
        engine.attach(record)
    for engine in (trainer, tester):
        engine.attach(Report(folder))
    checkpoint = Checkpoint(folder / "checkpoints", model, best=1, metric="val_accuracy")
    trainer.attach(checkpoint)
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(train_loader, max_epochs=options.epochs)

    best = checkpoint.load_weights("best")
    accuracy = tester.run(test_loader).metrics["accuracy"]
    return {
        "test accuracy": f"{accuracy:.2%}",
        "best validation accuracy": f"{best.metrics['val_accuracy']:.2%}, epoch {best.epoch}",
    }


def title(data: str) -> str:
    """What a run's report and table are headed by."""
    return "Handwritten digits" if data == "digits" else Path(data).resolve().name


def main(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="digits, mnist, cifar10 or a folder.")] = "digits",
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/digits"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 12,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 3e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Decay of the weights.")] = 1e-2,
    dropout: Annotated[float, typer.Option(min=0, max=1, help="Share of units left out.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For data and weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train a small network on scikit-learn's handwritten digits."""
    join()
    with script_run(context) as (run, options):
        results = train(Options(**options), run, resume=resume)
        say(figures(title(options["data"]), results))
    leave()


if __name__ == "__main__":
    typer.run(main)
