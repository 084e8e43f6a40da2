"""A training script that writes to every sink of ours, and is killed in the tests.

python -m tests.handlers.killed_run FOLDER --kill-at 18 --resume
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import numpy as np
import torch
from ignite.metrics import Loss
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate import Engine, Events
from footplate.engine.random import seed_all
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.engine.stream.media import show
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.csv_file import CSV
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.media_folder import MediaFolder
from footplate.handlers.metrics import Metrics
from footplate.handlers.scalars import Scalars
from footplate.handlers.tensorboard import TensorBoard

LENGTH, EPOCHS = 10, 3


def train(folder, kill_at, resume):
    seed_all(3)
    data = TensorDataset(torch.randn(40, 2), torch.randn(40, 1))
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, optimizer, F.mse_loss), name="train")
    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"mse": Loss(F.mse_loss)}))
    trainer.attach(Evaluation(evaluator, DataLoader(data, 8)))
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    trainer.attach(CSV(folder / "scalars.csv"))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    trainer.attach(TensorBoard(folder / "tensorboard"))
    trainer.attach(MediaFolder(folder / "media"))
    checkpoint = trainer.attach(
        Checkpoint(folder / "checkpoints", model, when=Events.ITERATION_COMPLETED(every=5))
    )

    @trainer.on(Events.ITERATION_COMPLETED(every=3))
    def look(engine):
        iteration = engine.state.iteration
        show(engine, "text", "iteration", str(iteration))
        show(engine, "image", "shade", np.full((2, 3), iteration, np.uint8))

    @trainer.on(Events.ITERATION_COMPLETED(once=kill_at or 10**9), priority="LOWEST")
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    if resume:
        checkpoint.resume(trainer)
        print("resumed at", trainer.state.iteration)
    trainer.run(DataLoader(data, 4), max_epochs=EPOCHS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.folder, options.kill_at, options.resume)
