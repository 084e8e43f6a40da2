"""torchtnt: a unit, and a function that trains it."""

import torch

IMPORTS = """
from torchtnt.framework import AutoUnit, fit
from torchtnt.framework.callbacks import DistributedCheckpointSaver, TQDMProgressBar
from torchtnt.utils.loggers import TensorBoardLogger
"""
PACKAGES = ("torchtnt",)


def unit_of(task, logger=None):
    """The unit that a task stands for; it may tell a logger of losses and of a validation."""
    from torchtnt.framework import AutoUnit

    class Unit(AutoUnit):
        def compute_loss(self, state, data):
            scores = self.module(data[0])
            return task.loss_of(scores, data[1]), scores

        def configure_optimizers_and_lr_scheduler(self, module):
            return task.optimizer, task.schedule

    class TellingUnit(Unit):
        right = 0

        def on_train_step_end(self, state, data, step, results):
            if step % 50 == 0:
                logger.log("loss", results.loss, step)

        def on_eval_step_end(self, state, data, step, loss, outputs):
            self.right += (outputs.argmax(1) == data[1]).sum()

        def on_eval_end(self, state):
            step = self.train_progress.num_steps_completed
            logger.log("val_accuracy", self.right / len(task.validation), step)
            self.right = 0

    kind = Unit if logger is None else TellingUnit
    device = torch.device(task.device)
    return kind(module=task.model, device=device, step_lr_interval="step")


def empty(loader, step):
    from torchtnt.framework import TrainUnit, train

    class Idle(TrainUnit):
        def train_step(self, state, data):
            step()

    return lambda: train(Idle(), loader, max_epochs=1)


def train(task):
    from torchtnt.framework import train

    unit, loader = unit_of(task), task.loader()
    return lambda: train(unit, loader, max_epochs=task.epochs)


def stack(task, folder):
    """Its bar, its TensorBoard logger, and its distributed checkpoint each epoch."""
    from torchtnt.framework import fit
    from torchtnt.framework.callbacks import DistributedCheckpointSaver, TQDMProgressBar
    from torchtnt.utils.loggers import TensorBoardLogger

    logger = TensorBoardLogger(str(folder / "tensorboard"))
    unit, loaders = unit_of(task, logger), (task.loader(), task.validation_loader())
    saver = DistributedCheckpointSaver(str(folder / "checkpoints"), save_every_n_epochs=1)
    callbacks = [TQDMProgressBar(), saver]
    return lambda: fit(unit, *loaders, max_epochs=task.epochs, callbacks=callbacks)


def resumable(task, folder, every, *, background=False):
    """With a loader that has a state, and the last checkpoint that is whole."""
    from torchdata.stateful_dataloader import StatefulDataLoader
    from torchtnt.framework import train
    from torchtnt.framework.callbacks import DistributedCheckpointSaver

    unit, loader = unit_of(task), task.loader(StatefulDataLoader)
    saver = DistributedCheckpointSaver(
        str(folder),
        save_every_n_train_steps=every,
        keep_last_n_checkpoints=2,
        async_checkpoint=background,
    )

    def run():
        folder.mkdir(parents=True, exist_ok=True)
        if background:  # which asks for a process group, of one process, too
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        DistributedCheckpointSaver.restore_from_latest(str(folder), unit, train_dataloader=loader)
        train(unit, loader, max_epochs=task.epochs, callbacks=[saver])

    return run
