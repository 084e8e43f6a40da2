"""A supervised script by pytorch-ignite's engine, and by ours, with pytorch-ignite's own handlers.

The same network learns the same digits by batches of a stock loader. Attached are a running
average of the loss, a schedule of the learning rate, a timer, a stop at NaN, and an evaluation of
accuracy and loss behind each pass. Each function trains for so many iterations, what it needs to
begin with included, and returns the last loss. The two differ in where they import from.
"""

import torch
from ignite import engine
from ignite.handlers import PiecewiseLinear, TerminateOnNan, Timer
from ignite.metrics import Accuracy, Loss, RunningAverage
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32


def peer(iterations):
    """By pytorch-ignite."""
    return script(engine, iterations)


def ours(iterations):
    """By the same names of ours."""
    from footplate.handlers import ignite

    return script(ignite, iterations)


def script(system, iterations):
    """Train by what a system's module has."""
    model, optimizer, train, val = task()
    trainer = system.create_supervised_trainer(model, optimizer, F.cross_entropy)
    metrics = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}
    evaluator = system.create_supervised_evaluator(model, metrics)
    step = system.Events.ITERATION_COMPLETED
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "loss")
    rates = PiecewiseLinear(optimizer, "lr", [(0, 3e-3), (iterations, 0.0)])
    trainer.add_event_handler(system.Events.ITERATION_STARTED, rates)
    trainer.add_event_handler(step, TerminateOnNan())
    Timer(average=True).attach(trainer, step=step)
    trainer.add_event_handler(system.Events.EPOCH_COMPLETED, lambda: evaluator.run(val))
    return trainer.run(train, max_iters=iterations).output


def task():
    """The network, its optimizer and the loaders."""
    from footplate.recipes.image_classification import digits

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, val, _ = (TensorDataset(images.flatten(1), labels) for images, labels in digits(0))
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    return model, optimizer, DataLoader(train, BATCH, shuffle=True), DataLoader(val, 256)
