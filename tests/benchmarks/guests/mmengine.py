"""A model that derives from MMEngine's ``BaseModel``, trained by its Runner and by ours.

Both measure times and learning rates, log lines each 50 iterations, move a schedule by iterations
with a warm-up, and call one hook of the user's in each. Neither saves, and neither validates.
"""

import tempfile

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32


def _trained(kind, iterations, hooks):
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel

    from footplate.recipes.image_classification import digits

    class Net(BaseModel):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

        def forward(self, images, labels, mode="tensor"):
            return {"loss": F.cross_entropy(self.layers(images), labels)}

    class Longest(Hook):
        most = 0.0

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.most = max(self.most, float(runner.iter))

    torch.set_num_threads(1)
    torch.manual_seed(0)
    (images, labels), *_ = digits(0)
    warm_up = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 50}
    poly = {"type": "PolyLR", "by_epoch": False, "begin": 50, "end": iterations}
    runner = kind(
        model=Net(),
        work_dir=tempfile.mkdtemp(),
        train_dataloader=DataLoader(TensorDataset(images.flatten(1), labels), BATCH, shuffle=True),
        # as its loop by iterations sleeps for two seconds between passes
        train_cfg={"by_epoch": True, "max_epochs": -(-iterations * BATCH // len(images))},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        param_scheduler=[warm_up, poly],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 50}, **hooks},
        custom_hooks=[Longest()],
        experiment_name="benchmark",
    )
    runner.train()


def peer(iterations):
    """By MMEngine."""
    from mmengine.runner import Runner

    _trained(Runner, iterations, {"checkpoint": None})


def ours(iterations):
    """By ours."""
    from footplate import Runner

    _trained(Runner, iterations, {"checkpoint": None, "report": None})
