"""A model with ``train_step``, trained by MMCV's ``IterBasedRunner`` and by ours.

Both set the learning rate in each iteration, clip gradients, measure times, and log lines each 50
iterations. The data are one pass that is long enough, as MMCV sleeps for two seconds between
passes. MMCV 1.7 is from before torch 2 and in no extra: tests/recipes/mmcv/make_golden.py says how
it is installed. Where it is not, there is nothing to compare with.
"""

import importlib.util
import logging
import tempfile

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

BATCH = 32
PASSES = 40


class Net(nn.Module):
    """The network."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def train_step(self, data, optimizer):
        """A loss, and what there is to log."""
        images, labels = data
        loss = F.cross_entropy(self.layers(images), labels)
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(images)}


def _trained(api, iterations):
    from footplate.recipes.image_classification import digits

    torch.set_num_threads(1)
    torch.manual_seed(0)
    (images, labels), *_ = digits(0)
    samples = ConcatDataset([TensorDataset(images.flatten(1), labels)] * PASSES)
    model = Net()
    runner = api.IterBasedRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
        work_dir=tempfile.mkdtemp(),
        logger=logging.getLogger("mmcv benchmark"),
        max_iters=iterations,
    )
    runner.register_training_hooks(
        {"policy": "poly", "power": 0.9},
        {"grad_clip": {"max_norm": 35}},
        log_config={"interval": 50, "hooks": [{"type": "TextLoggerHook"}]},
    )
    runner.run([DataLoader(samples, BATCH, shuffle=True)], [("train", 1)])


def ours(iterations):
    """By ours."""
    from footplate.recipes import mmcv

    _trained(mmcv, iterations)


if importlib.util.find_spec("mmcv"):

    def peer(iterations):
        """By MMCV."""
        from mmcv import runner

        _trained(runner, iterations)
