"""Lightning: a module, and the trainer that leads it."""

import logging

IMPORTS = """
import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
"""
PACKAGES = ("lightning", "lightning_fabric", "pytorch_lightning")


def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def accelerator(device):
    return {"accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1}


def module_of(task, *, told=True):
    """The module that a task stands for; it may tell of losses and of a validation."""
    from lightning.pytorch import LightningModule

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = task.model

        def training_step(self, batch, batch_idx):
            loss = task.loss_of(self.model(batch[0]), batch[1])
            if told:
                self.log("loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch, batch_idx):
            x, y = batch
            right = (self.model(x).argmax(1) == y).float().mean()
            self.log("val_accuracy", right, on_epoch=True, prog_bar=True)

        def configure_optimizers(self):
            if task.schedule is None:
                return task.optimizer
            schedule = {"scheduler": task.schedule, "interval": "step"}
            return {"optimizer": task.optimizer, "lr_scheduler": schedule}

    return Module()


def empty(loader, step):
    from lightning.pytorch import LightningModule, Trainer

    class Idle(LightningModule):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            step()

        def configure_optimizers(self):
            return None

    quiet()
    trainer = Trainer(max_epochs=1, barebones=True, **accelerator("cpu"))
    return lambda: trainer.fit(Idle(), loader)


def train(task):
    from lightning.pytorch import Trainer

    quiet()
    trainer = Trainer(max_epochs=task.epochs, barebones=True, **accelerator(task.device))
    return lambda: trainer.fit(module_of(task, told=False), task.loader())


def stack(task, folder):
    """A Trainer as it comes, with its TensorBoard logger."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    trainer = Trainer(
        max_epochs=task.epochs,
        logger=TensorBoardLogger(folder),
        default_root_dir=folder,
        num_sanity_val_steps=0,
        **accelerator(task.device),
    )
    loaders = task.loader(), task.validation_loader()
    return lambda: trainer.fit(module_of(task), *loaders)


def resumable(task, folder, every, *, background=False):
    """With a loader that has a state, and a last checkpoint that is found by itself."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.plugins.io import AsyncCheckpointIO
    from torchdata.stateful_dataloader import StatefulDataLoader

    quiet()
    trainer = Trainer(
        max_epochs=task.epochs,
        default_root_dir=folder,
        callbacks=[ModelCheckpoint(folder, every_n_train_steps=every, save_last=True)],
        plugins=[AsyncCheckpointIO()] if background else None,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **accelerator(task.device),
    )
    loader = task.loader(StatefulDataLoader)
    return lambda: trainer.fit(module_of(task, told=False), loader, ckpt_path="last")
