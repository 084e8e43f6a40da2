"""A real run on handwritten digits, with all that the report shows, in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ignite.metrics import Accuracy, ConfusionMatrix, Loss
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.random import seed_all
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.environment import Environment
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.gradient_norms import GradientNorms
from footplate.handlers.jsonl import JSONL
from footplate.handlers.media_folder import MediaFolder
from footplate.handlers.metrics import Metrics
from footplate.handlers.model_summary import Summary
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.timer import Timer
from footplate.handlers.trace import Trace

EPOCHS = 4


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.from_numpy(bunch.images).float().unsqueeze(1) / 16, torch.from_numpy(bunch.target)


def evaluator_of(model: nn.Module, name: str) -> Engine:
    evaluator = Engine(evaluation_step(model), name=name)
    metrics = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}
    evaluator.attach(Metrics({**metrics, "confusion": ConfusionMatrix(10)}))
    return evaluator


def train(folder: Path, *, epochs: int = EPOCHS, resume: bool = False) -> Path:
    """Train, and test, and leave a report."""
    seed_all(0)
    images, labels = digits()
    loader = InMemoryLoader((images[:1200], labels[:1200]), 32, shuffle=True, seed=0)
    held_out = InMemoryLoader((images[1200:], labels[1200:]), 128)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    trainer = Engine(training_step(model, optimizer, F.cross_entropy), name="train")
    val, test = evaluator_of(model, "val"), evaluator_of(model, "test")
    checkpoint = Checkpoint(folder / "checkpoints", model, last=2, best=1, metric="val_accuracy")
    for handler in (
        Timer(),
        GradientNorms(model, groups=None),
        Scalars(Events.ITERATION_COMPLETED(every=1)),
        JSONL(folder / "scalars.jsonl"),
        MediaFolder(folder / "media"),
        Environment(folder / "environment.json"),
        Summary(model, torch.zeros(1, 1, 8, 8)),
        Evaluation(val, held_out),
        checkpoint,
        Trace(folder / "trace.json"),
    ):
        trainer.attach(handler)
    record = RunRecord(folder, config={"lr": 3e-3, "layers": {"hidden": 32}})
    for engine in (trainer, val, test):
        engine.attach(record)
    report = Report(folder)
    for engine in (trainer, test):
        engine.attach(report)
    if resume:
        checkpoint.resume(trainer)
    trainer.run(loader, max_epochs=epochs)
    test.run(held_out)
    return folder


if __name__ == "__main__":
    train(Path(sys.argv[1]), epochs=int(sys.argv[2]), resume="--resume" in sys.argv)
