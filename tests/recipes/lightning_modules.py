"""LightningModules as people write them, which train by Lightning's trainer and by ours."""

from __future__ import annotations

import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate import Runner

BATCHES, EPOCHS = 10, 3  # 30 steps in all
QUIET = {"logger": {"console": False, "progress_bar": False}, "report": None, "checkpoint": None}


def batches(seed=0, number=BATCHES, size=8):
    """A loader in a fixed order."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number * size, 6, generator=generator)
    y = x[:, :1].sin() + 0.1 * torch.randn(number * size, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), size)


def twins(kind):
    """Two modules with the same weights."""
    torch.manual_seed(0)
    one = kind()
    torch.manual_seed(0)
    return one, kind()


def theirs(module, folder, *, validates=False, **options):
    """Train by Lightning's own trainer; returns what callbacks see then."""
    data = {"val_dataloaders": options.pop("val_dataloaders", None)}
    if validates:
        data = {"val_dataloaders": batches(1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=EPOCHS,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
        torch.manual_seed(7)
        trainer.fit(module, batches(), **data)
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def runner(module, folder, **options):
    """Arguments of a runner that trains as long, and says nothing."""
    return {
        "model": module,
        "work_dir": folder,
        "train_dataloader": batches(),
        "train_cfg": {"max_epochs": EPOCHS},
        "default_hooks": QUIET,
        "visualizer": False,
        **options,
    }


def ours(module, folder, *, validates=False, **options):
    """Train by a runner, with the module as it is; returns the same."""
    data = {"val_dataloader": batches(1)} if validates else {}
    made = Runner(**runner(module, folder, **data, **options))
    torch.manual_seed(7)
    made.train()
    return {name: value.item() for name, value in module.trainer.callback_metrics.items()}


class Unoptimized(LightningModule):
    """A network with its losses, and no optimizer."""

    def __init__(self, lr=0.05):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.losses = []

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y))


class Regression(Unoptimized):
    """Automatic optimization; the subclasses differ in what configure_optimizers returns."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class ByStep(Regression):
    def configure_optimizers(self):
        sgd = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            sgd, max_lr=0.1, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return [sgd], [{"scheduler": cycle, "interval": "step"}]


class ByEpoch(Regression):
    def configure_optimizers(self):
        sgd = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return [sgd], [torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)]


class EachThird(Regression):
    """By step with a frequency, and by epoch with one, together."""

    def configure_optimizers(self):
        sgd = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        by_step = torch.optim.lr_scheduler.MultiplicativeLR(sgd, lambda epoch: 0.9)
        by_epoch = torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)
        return [sgd], [
            {"scheduler": by_step, "interval": "step", "frequency": 3},
            {"scheduler": by_epoch, "frequency": 2},
        ]


class Plateau(Regression):
    """It looks at the validation; patience is short, so that it falls."""

    def configure_optimizers(self):
        sgd = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            sgd, mode="max", factor=0.1, patience=0
        )
        return {"optimizer": sgd, "lr_scheduler": plateau, "monitor": "val_loss"}


class WarmUp(Regression):
    """Raises the rate by hand in optimizer_step, as Lightning's documentation shows."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        optimizer.step(closure=optimizer_closure)
        if self.trainer.global_step < 20:
            scale = min(1.0, (self.trainer.global_step + 1) / 20.0)
            for group in optimizer.param_groups:
                group["lr"] = scale * self.hparams.lr


class SecondOrder(Regression):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)


class ByHand(Regression):
    """Manual optimization, with a scheduler by hand, clipping by hand and accumulation of two."""

    def __init__(self, lr=0.05):
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss / 2)
        if (batch_idx + 1) % 2 == 0:
            self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
            optimizer.step()
            optimizer.zero_grad()
        if self.trainer.is_last_batch:
            scheduler.step()

    def configure_optimizers(self):
        sgd = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return [sgd], [torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)]


class Gan(LightningModule):
    """Two optimizers by hand, each with its scheduler, toggled in turn."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6))
        self.discriminator = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.Linear(16, 1))
        self.losses = []

    def training_step(self, batch, batch_idx):
        real, _ = batch
        for_g, for_d = self.optimizers()
        noise = self.noise(real)
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

        self.toggle_optimizer(for_g)
        loss_g = self._cross_entropy(self.discriminator(self.generator(noise)), ones)
        for_g.zero_grad()
        self.manual_backward(loss_g)
        for_g.step()
        self.untoggle_optimizer(for_g)

        with for_d.toggle_model():
            fake = self.generator(noise).detach()
            loss_d = self._cross_entropy(self.discriminator(real), ones)
            loss_d = loss_d + self._cross_entropy(self.discriminator(fake), zeros)
            for_d.zero_grad()
            self.manual_backward(loss_d)
            for_d.step()

        for scheduler in self.lr_schedulers():
            scheduler.step()
        self.losses += [loss_g.item(), loss_d.item()]
        self.log_dict({"g_loss": loss_g, "d_loss": loss_d}, prog_bar=True)

    def noise(self, real):
        return torch.randn(len(real), 4)

    @staticmethod
    def _cross_entropy(logits, target):
        return F.binary_cross_entropy_with_logits(logits, target)

    def configure_optimizers(self):
        for_g = torch.optim.Adam(self.generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
        for_d = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
        return (
            {"optimizer": for_g, "lr_scheduler": torch.optim.lr_scheduler.StepLR(for_g, 7)},
            {"optimizer": for_d, "lr_scheduler": torch.optim.lr_scheduler.StepLR(for_d, 5)},
        )
