"""Image classification: a small convolutional network on scikit-learn's handwritten digits.

A script to copy. It splits the digits by seed, trains with AdamW on a cosine schedule, validates
after every epoch, keeps the best and the last checkpoint, tests the best one, and leaves in its
folder ``report.html``, which tells of all of it, and what that is made from. Kill it at any moment,
and ``--resume`` goes on from the last checkpoint.

    python -m footplate.recipes.image_classification --help
"""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from ignite.metrics import Accuracy, ConfusionMatrix, Loss
from rich.console import Console as Terminal
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from footplate import Engine, Events, Signalled
from footplate.engine.data.in_memory import InMemoryLoader
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
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.timer import Timer

Samples = tuple[Tensor, Tensor]


def digits(seed: int) -> tuple[Samples, Samples, Samples]:
    """The 1797 digits in three parts, for training, validation and test: 70, 15 and 15 percent.

    Returns:
        for each part images, float32 of shape (N, 1, 8, 8) from 0 to 1, and labels, int64 (N,).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    ends = [round(0.7 * len(order)), round(0.85 * len(order))]
    train, val, test = ((images[part], labels[part]) for part in order.tensor_split(ends))
    return train, val, test


def part(name: Literal["train", "val", "test"], seed: int = 0) -> Samples:
    """One of the three parts, for a configuration to name."""
    return digits(seed)[("train", "val", "test").index(name)]


def network(dropout: float) -> nn.Sequential:
    """A network from images of shape (B, 1, 8, 8) to scores of ten classes, (B, 10)."""

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


def evaluator_of(model: nn.Module, name: str) -> Engine:
    """An engine that scores batches, and measures accuracy, loss and what is taken for what."""
    evaluator = Engine(evaluation_step(model), name=name)
    measured = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}
    evaluator.attach(Metrics({**measured, "confusion": ConfusionMatrix(10)}))
    return evaluator


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    dropout: float
    seed: int


def new_folder(runs: Path, options: Options) -> Path:
    """A folder for a new run, named by time, with the run's options in it."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = runs / f"{name}{suffix}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            (folder / "options.json").write_text(json.dumps(asdict(options), indent=2))
            return folder
    raise FileExistsError(f"there are too many runs named {name} in {runs}.")


def train(options: Options, folder: Path, *, resume: bool) -> dict[str, str]:
    """Train, test the best weights, and return what came out, as text by name."""
    seed_all(options.seed)
    train, val, test = digits(options.seed)
    train_loader = InMemoryLoader(train, options.batch_size, shuffle=True, seed=options.seed)
    val_loader, test_loader = InMemoryLoader(val, 256), InMemoryLoader(test, 256)

    model = network(options.dropout)
    decay = options.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), options.lr, weight_decay=decay)
    steps = options.epochs * len(train_loader)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trainer = Engine(training_step(model, optimizer, F.cross_entropy), name="train")
    evaluator = evaluator_of(model, "val")

    panels = {
        "loss": ["loss_epoch", "val_loss"],
        "validation accuracy": ["val_accuracy"],
        "learning rate": ["lr"],
    }
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
    tester = evaluator_of(model, "test")
    record = RunRecord(folder, name="Handwritten digits", config=asdict(options))
    for engine in (trainer, evaluator, tester):
        engine.attach(record)
    for engine in (trainer, tester):
        engine.attach(Report(folder))
    checkpoint = Checkpoint(folder / "checkpoints", model, best=1, metric="val_accuracy")
    trainer.attach(checkpoint)
    if resume:
        print(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(train_loader, max_epochs=options.epochs)

    best = checkpoint.load_weights("best")
    accuracy = tester.run(test_loader).metrics["accuracy"]
    return {
        "test accuracy": f"{accuracy:.2%}",
        "best validation accuracy": f"{best.metrics['val_accuracy']:.2%}, epoch {best.epoch}",
    }


def show(results: dict[str, str]) -> None:
    """Print results as a table."""
    table = Table(title="Handwritten digits", show_header=False)
    for name, value in results.items():
        table.add_row(name, value)
    Terminal().print(table)


def said(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def main(
    context: typer.Context,
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
    begun = time.perf_counter()
    options = Options(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        dropout=dropout,
        seed=seed,
    )
    last = max(folder.glob("2*/options.json"), default=None) if resume else None
    if last is not None:
        if given := [name for name in asdict(options) if said(context, name)]:
            raise typer.BadParameter(f"--resume keeps the run's options; leave out {given}.")
        options = Options(**json.loads(last.read_text()))
    run = new_folder(folder, options) if last is None else last.parent
    try:
        results = train(options, run, resume=resume)
    except (KeyboardInterrupt, Signalled) as stop:
        print(f"stopped; --resume goes on with its last checkpoint, in {run.resolve()}")
        number = stop.signum if isinstance(stop, Signalled) else signal.SIGINT
        raise typer.Exit(128 + number) from None
    show({**results, "time": f"{time.perf_counter() - begun:.1f} s"})
    print(f"The run's files are in {run.resolve()}")


if __name__ == "__main__":
    typer.run(main)
