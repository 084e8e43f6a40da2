"""A project of MMEngine in files: its modules, and configurations in both of MMEngine's styles."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["write", "write_child"]

MODULES = """
import torch
from torch import nn
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS


@MODELS.register_module()
class ProjectHead(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.line = nn.Linear(inner, outer)

    def forward(self, x):
        return self.line(x)


@MODELS.register_module()
class ProjectNet(BaseModel):
    def __init__(self, head, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.head = MODELS.build(head)
        self.head_width = head.outer

    def forward(self, inputs, label, mode="tensor", **_):
        scores = self.head(torch.stack(list(inputs)))
        labels = torch.as_tensor(label)
        if mode == "loss":
            return dict(loss=nn.functional.cross_entropy(scores, labels))
        return [dict(scores=one, label=label) for one, label in zip(scores, labels)]


@TRANSFORMS.register_module()
class ProjectToTensor:
    def __call__(self, sample):
        sample["inputs"] = torch.tensor(sample.pop("numbers"))
        return sample


@DATASETS.register_module()
class ProjectSet(BaseDataset):
    METAINFO = dict(classes=("even", "odd"))

    def load_data_list(self):
        return [dict(numbers=[float(i % 2), 1.0], label=i % 2) for i in range(20)]


@METRICS.register_module()
class ProjectAccuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        assert self.dataset_meta["classes"] == ("even", "odd")
        self.results += [int(one["scores"].argmax() == one["label"]) for one in data_samples]

    def compute_metrics(self, results):
        return dict(right=sum(results) / len(results))


@HOOKS.register_module()
class ProjectHook(Hook):
    seen = []

    def after_train_epoch(self, runner):
        self.seen.append((runner.epoch, runner.cfg.data_root))
"""

VALUES = """
default_scope = 'mmengine'
data_root = 'here'
pipeline = [dict(type='ProjectToTensor')]
model = dict(
    type='ProjectNet',
    head=dict(type='ProjectHead', inner=2, outer=2),
    data_preprocessor=dict(type='BaseDataPreprocessor'),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ProjectSet', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ProjectSet', pipeline=pipeline, test_mode=True),
)
val_evaluator = dict(type='ProjectAccuracy')
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, begin=1, end=3),
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=5, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='right', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='ProjectHook', priority='LOW'),
    dict(type='EMAHook', momentum=0.9),
]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(opencv_num_threads=0),
    dist_cfg=dict(backend='gloo'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=5, by_epoch=True, num_digits=4)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=3, deterministic=False)
auto_scale_lr = dict(enable=False, base_batch_size=16)
launcher = 'none'
"""

OPTIMIZER = "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))\n"

IMPORTS = """
from mmengine.config import read_base

with read_base():
    from .newer_base import *

from mmengine.dataset import DefaultSampler
from mmengine.hooks import (CheckpointHook, DistSamplerSeedHook, EMAHook, IterTimerHook,
                            LoggerHook, ParamSchedulerHook)
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend, Visualizer
from mmengine_project import (ProjectAccuracy, ProjectHead, ProjectHook, ProjectNet, ProjectSet,
                              ProjectToTensor)
"""


def write(folder: Path) -> None:
    """Write ``mmengine_project.py``, ``older.py`` and ``newer.py``, and what these build on."""
    custom = "custom_imports = dict(imports=['mmengine_project'])\n"
    files = {
        "mmengine_project.py": MODULES,
        "older_base.py": custom + VALUES,
        "older.py": f"_base_ = ['./older_base.py']\nwork_dir = r'{folder}/older'\n{OPTIMIZER}",
        "newer_base.py": "from mmengine.optim import OptimWrapper\nfrom torch.optim import SGD\n"
        + _by_class(OPTIMIZER),
        "newer.py": f"{IMPORTS}work_dir = r'{folder}/newer'\n{_by_class(VALUES)}",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _by_class(text: str) -> str:
    """The same with classes in the place of their names."""
    return re.sub(r"type='(\w+)'", r"type=\1", text)


REGISTRIES = """
import mmengine.registry as roots
from mmengine.registry import Registry

OF_PARTS = dict(scope='child_project', locations=['child_project.parts'])
MODELS = Registry('model', parent=roots.MODELS, **OF_PARTS)
DATASETS = Registry('dataset', parent=roots.DATASETS, **OF_PARTS)
METRICS = Registry('metric', parent=roots.METRICS, **OF_PARTS)
DATA_SAMPLERS = Registry('data sampler', parent=roots.DATA_SAMPLERS, **OF_PARTS)
HOOKS = Registry('hook', parent=roots.HOOKS, **OF_PARTS)
"""

PARTS = """
import torch
from torch import nn
from torch.utils.data import BatchSampler
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel

from .registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS


@MODELS.register_module()
class ChildHead(nn.Sequential):
    def __init__(self, inner, outer):
        super().__init__(nn.Linear(inner, 4), nn.LayerNorm(4), nn.Linear(4, outer))


@MODELS.register_module()
class ChildNet(BaseModel):
    def __init__(self, head, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.head = MODELS.build(head)

    def forward(self, inputs, label, mode='tensor', **_):
        scores = self.head(torch.stack(list(inputs)))
        labels = torch.as_tensor(label)
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(scores, labels))
        return [dict(right=one.argmax() == label) for one, label in zip(scores, labels)]


@DATASETS.register_module()
class ChildSet(BaseDataset):
    def load_data_list(self):
        return [dict(inputs=torch.tensor([i % 2, 1.0]), label=i % 2) for i in range(22)]


@DATA_SAMPLERS.register_module()
class PairedBatchSampler(BatchSampler):
    made = []

    def __init__(self, sampler, batch_size, drop_last=False):
        super().__init__(sampler, batch_size, drop_last)
        self.made.append((batch_size, drop_last))


@METRICS.register_module()
class Accuracy(BaseMetric):
    default_prefix = 'child'

    def process(self, data_batch, data_samples):
        self.results += [float(one['right']) for one in data_samples]

    def compute_metrics(self, results):
        return dict(text='none', acc=sum(results) / len(results), size=len(results))


@HOOKS.register_module()
class ChildHook(Hook):
    seen = []

    def after_train(self, runner):
        self.seen.append(runner.iter)
"""

CHILD = """
default_scope = 'child_project'
model = dict(type='ChildNet', head=dict(type='ChildHead', inner=2, outer=2))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='PairedBatchSampler'),
    dataset=dict(type='ChildSet'),
)
val_dataloader = dict(batch_size=4, dataset=dict(type='ChildSet', test_mode=True))
val_evaluator = dict(type='Accuracy')
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(checkpoint=dict(interval=1, save_best='auto'))
custom_hooks = [dict(type='ChildHook')]
randomness = dict(seed=3)
"""


def write_child(folder: Path) -> None:
    """Write ``child.py`` and the package ``child_project``, which has a scope of its own.

    Nothing but the scope says that the package is to be imported, as in projects like MMDetection.
    """
    package = folder / "child_project"
    package.mkdir()
    for name, text in {"__init__": "", "registry": REGISTRIES, "parts": PARTS}.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    text = f"{CHILD}work_dir = r'{folder}/child'\n"
    (folder / "child.py").write_text(text, encoding="utf-8")
