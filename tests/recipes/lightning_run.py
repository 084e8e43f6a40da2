"""A run of a LightningModule that is killed in the tests, and gone on with.

python -m tests.recipes.lightning_run Accumulated FOLDER --kill-at 8
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal

import torch
import torchmetrics

from footplate import Events, Runner
from footplate.engine.random import seed_all
from tests.recipes import lightning_modules as modules

EPOCHS = 3


class Accumulated(modules.Regression):
    """Dropout, two schedulers, a window of four, and metrics that are reduced over an epoch."""

    def __init__(self):
        super().__init__()
        self.error = torchmetrics.MeanSquaredError()

    def training_step(self, batch, batch_idx):
        x, y = batch
        predicted = self(x)
        loss = torch.nn.functional.mse_loss(predicted, y)
        self.error(predicted, y)
        self.log("train_error", self.error, on_step=False, on_epoch=True)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        return loss

    def configure_optimizers(self):
        adam = torch.optim.Adam(self.parameters(), lr=0.02)
        by_step = torch.optim.lr_scheduler.ExponentialLR(adam, 0.97)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, patience=0, threshold=0.5)
        return [adam], [
            {"scheduler": by_step, "interval": "step"},
            {"scheduler": plateau, "monitor": "val_loss"},
        ]


def told(module):
    """All that a run has come to, in a few letters."""
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        digest.update(value.numpy().tobytes())
    for optimizer in module.trainer.optimizers:
        digest.update(repr([group["lr"] for group in optimizer.param_groups]).encode())
    digest.update(repr(module.trainer.global_step).encode())
    return digest.hexdigest()


def train(name, folder, *, kill_at=0, resume=False):
    """Train a module; returns what it has come to, and what was logged of the last two epochs."""
    seed_all(1 if resume else 0)  # what is loaded has to win
    kind, wrapper = MODULES[name]
    module = kind()
    quiet = {"console": False, "progress_bar": False}
    runner = Runner(
        module,
        folder,
        train_dataloader=modules.batches(),
        val_dataloader=modules.batches(1) if name == "Accumulated" else None,
        train_cfg={"max_epochs": EPOCHS},
        optim_wrapper=wrapper,
        default_hooks={
            "checkpoint": {"interval": 1, "by_epoch": False, "max_keep_ckpts": 2},
            "logger": quiet,
            "report": None,
        },
        experiment_name="killed",
        randomness={"seed": 3},
        resume=resume,
    )

    def kill(engine):
        if engine.state.iteration == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    logged = []

    def note(engine):
        metrics = module.trainer.callback_metrics
        logged.append({name: float(value) for name, value in metrics.items()})

    runner.trainer.add_event_handler(Events.ITERATION_COMPLETED, kill)
    runner.trainer.add_event_handler(Events.EPOCH_COMPLETED, note, priority="LOWEST")
    runner.train()
    return told(module), logged[-2:]


MODULES = {
    "Accumulated": (Accumulated, {"accumulative_counts": 4, "clip_grad": 1.0}),
    "Gan": (modules.Gan, None),
    "Gathered": (modules.ByHand, None),
}
"""What may be trained: a class, and how its optimizers are driven."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("module", choices=MODULES)
    parser.add_argument("folder")
    parser.add_argument("--kill-at", type=int)
    given = parser.parse_args()
    train(given.module, given.folder, kill_at=given.kill_at)
