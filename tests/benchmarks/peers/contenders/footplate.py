"""Ours: an engine, and handlers that are attached to it."""

import io

IMPORTS = """
from ignite.metrics import Accuracy
from footplate import Engine
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.scalars import Scalars
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.timer import Timer
"""
PACKAGES = ("footplate",)


def empty(loader, step):
    from footplate import Engine

    trainer = Engine(lambda engine, batch: step())
    return lambda: trainer.run(loader)


def trainer_of(task):
    """An engine that trains."""
    from footplate import Engine
    from footplate.engine.step.training import training_step

    return Engine(training_step(task.model, task.optimizer, task.loss_of), name="train")


def batches_of(task, loader):
    """The loader, whose batches come to the model's device."""
    from footplate.engine.data.device import DeviceLoader

    return loader if task.device == "cpu" else DeviceLoader(loader, task.device)


def train(task):
    trainer, data = trainer_of(task), batches_of(task, task.loader())
    return lambda: trainer.run(data, max_epochs=task.epochs)


def stack(task, folder):
    """Console, bar as on a terminal, TensorBoard, JSON lines, metrics, checkpoint each epoch."""
    from ignite.metrics import Accuracy
    from rich.console import Console as Terminal

    from footplate import Engine
    from footplate.engine.step.evaluation import evaluation_step
    from footplate.handlers.checkpoint import Checkpoint
    from footplate.handlers.console import Console
    from footplate.handlers.evaluation import Evaluation
    from footplate.handlers.jsonl import JSONL
    from footplate.handlers.lr_schedule import LRSchedule
    from footplate.handlers.metrics import Metrics
    from footplate.handlers.progress_bar import ProgressBar
    from footplate.handlers.scalars import Scalars
    from footplate.handlers.tensorboard import TensorBoard
    from footplate.handlers.timer import Timer

    trainer = trainer_of(task)
    evaluator = Engine(evaluation_step(task.model), name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy()}))
    terminal = Terminal(file=io.StringIO(), force_terminal=True, width=100)
    for handler in (
        Scalars(),
        Timer(),
        Console(),
        ProgressBar(["loss"], console=terminal),
        TensorBoard(folder / "tensorboard"),
        JSONL(folder / "scalars.jsonl"),
        Evaluation(evaluator, batches_of(task, task.validation_loader())),
        LRSchedule(task.schedule, "step"),
        Checkpoint(folder / "checkpoints", task.model),
    ):
        trainer.attach(handler)
    data = batches_of(task, task.loader())
    return lambda: trainer.run(data, max_epochs=task.epochs)


def resumable(task, folder, every, *, background=False):
    from footplate import Events
    from footplate.handlers.checkpoint import Checkpoint

    trainer, data = trainer_of(task), batches_of(task, task.loader())
    when = Events.ITERATION_COMPLETED(every=every)
    checkpoint = trainer.attach(
        Checkpoint(folder, task.model, when=when, last=2, background=background)
    )

    def run():
        checkpoint.resume(trainer)
        trainer.run(data, max_epochs=task.epochs)

    return run
