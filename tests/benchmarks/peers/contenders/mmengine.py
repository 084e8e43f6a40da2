"""MMEngine: a Runner, and hooks."""

import logging
import os
import tempfile

from ..tasks import SEED

IMPORTS = """
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
import torch.utils.tensorboard
"""
PACKAGES = ("mmengine",)
LEAST = dict.fromkeys(
    ["runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"]
)


def model_of(net, loss_of):
    """The model that it asks for."""
    from mmengine.model import BaseModel

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, y, mode):
            scores = self.net(x)
            return {"loss": loss_of(scores, y)} if mode == "loss" else (scores, y)

    return Model()


def runner_of(model, loader, folder, **options):
    from mmengine.runner import Runner

    logging.disable(logging.CRITICAL)
    options = {"randomness": {"seed": SEED}, **options}
    return Runner(model, str(folder), train_dataloader=loader, **options)


def empty(loader, step):
    from mmengine.model import BaseModel

    class Idle(BaseModel):
        def forward(self, *args, **kwargs):
            raise NotImplementedError

        def train_step(self, data, optim_wrapper):
            step()
            return {}

    import torch

    runner = runner_of(
        Idle(),
        loader,
        tempfile.mkdtemp(),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)},
        default_hooks=LEAST,
    )
    return runner.train


def train(task):
    runner = runner_of(
        model_of(task.model, task.loss_of),
        task.loader(),
        tempfile.mkdtemp(),
        train_cfg={"by_epoch": True, "max_epochs": task.epochs},
        optim_wrapper={"optimizer": task.optimizer},
        default_hooks=LEAST,
    )
    return runner.train


def stack(task, folder):
    """A Runner with its default hooks, and its TensorBoard backend."""
    from mmengine.evaluator import BaseMetric

    class Right(BaseMetric):
        def process(self, data_batch, data_samples):
            scores, y = data_samples
            self.results.append(((scores.argmax(1) == y).sum().item(), len(y)))

        def compute_metrics(self, results):
            return {"accuracy": sum(one for one, _ in results) / sum(n for _, n in results)}

    cosine = {"type": "CosineAnnealingLR", "T_max": task.epochs, "convert_to_iter_based": True}
    runner = runner_of(
        model_of(task.model, task.loss_of),
        task.loader(),
        folder,
        val_dataloader=task.validation_loader(),
        val_evaluator=[Right()],
        val_cfg={},
        optim_wrapper={"optimizer": task.optimizer},
        param_scheduler=cosine,
        train_cfg={"by_epoch": True, "max_epochs": task.epochs},
        default_hooks={"logger": {"type": "LoggerHook", "interval": 50}},
        visualizer={"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}]},
    )
    logging.disable(logging.NOTSET)
    return runner.train


def resumable(task, folder, every):
    """By iterations, as checkpoints within an epoch ask for.

    Its checkpoints can't be read with ``weights_only``, which torch takes for granted since 2.6.
    """
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    loader = task.loader()
    checkpoint = {"type": "CheckpointHook", "interval": every, "by_epoch": False}
    hooks = {"checkpoint": {**checkpoint, "max_keep_ckpts": 2}}
    if task.batch_size is None:
        hooks["sampler_seed"] = None  # it asks for a batch sampler
    runner = runner_of(
        model_of(task.model, task.loss_of),
        loader,
        folder,
        optim_wrapper={"optimizer": task.optimizer},
        train_cfg={"by_epoch": False, "max_iters": task.epochs * len(loader)},
        default_hooks=hooks,
        log_processor={"by_epoch": False},
        resume=True,
    )
    return runner.train
