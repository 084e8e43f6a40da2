"""A LightningModule, trained by Lightning's trainer and by a runner.

The same network learns the same digits by batches of a stock loader, with Adam, a schedule by
step, clipping, and a loss that is logged. Both have their progress bars and models' summaries left
out, and no checkpoints; ``lean_peer`` has no logger either, and ``lean`` none of the default hooks.
"""

import logging
import tempfile
import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32
CLIP = 1.0


def task():
    """The module and its loader."""
    from lightning.pytorch import LightningModule

    from footplate.recipes.image_classification import digits

    class Net(LightningModule):
        """The network."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

        def training_step(self, batch, batch_idx):
            """A loss, which is logged."""
            x, y = batch
            loss = F.cross_entropy(self.layers(x), y)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self):
            """Adam, with a rate that falls in each step."""
            adam = torch.optim.Adam(self.parameters(), 3e-3)
            falling = torch.optim.lr_scheduler.ExponentialLR(adam, 0.9999)
            return [adam], [{"scheduler": falling, "interval": "step"}]

    torch.set_num_threads(1)
    torch.manual_seed(0)
    (images, labels), *_ = digits(0)
    samples = TensorDataset(images.flatten(1), labels)
    return Net(), DataLoader(samples, BATCH, shuffle=True)


def _by_lightning(iterations, **options):
    from lightning.pytorch import Trainer

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, loader = task()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=iterations,
        gradient_clip_val=CLIP,
        default_root_dir=tempfile.mkdtemp(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, loader)


def _by_ours(iterations, hooks, **options):
    from footplate import Runner

    module, loader = task()
    runner = Runner(
        module,
        tempfile.mkdtemp(),
        train_dataloader=loader,
        train_cfg={"max_iters": iterations},
        optim_wrapper={"clip_grad": CLIP},
        default_hooks=hooks,
        **options,
    )
    runner.train()


def peer(iterations):
    """By Lightning, with the logger that it brings."""
    _by_lightning(iterations)


def lean_peer(iterations):
    """By Lightning, with as little as it can."""
    _by_lightning(iterations, logger=False)


def ours(iterations):
    """By ours, with TensorBoard's files, JSON lines and lines of text."""
    _by_ours(iterations, {"logger": {"progress_bar": False}, "report": None, "checkpoint": None})


def lean(iterations):
    """By ours, with as little as it can."""
    from footplate.recipes.composition.bundles import DEFAULT_HOOKS

    _by_ours(iterations, dict.fromkeys(DEFAULT_HOOKS), visualizer=False)


def bare(iterations):
    """By nobody."""
    module, loader = task()
    module.log = lambda *_, **__: None
    (adam,), ((schedule),) = module.configure_optimizers()
    iteration = 0
    while True:
        for batch in loader:
            loss = module.training_step(batch, iteration)
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            adam.step()
            schedule["scheduler"].step()
            iteration += 1
            if iteration == iterations:
                return
