"""Builders: optimizers, loaders and runners of configurations."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from .base_runner import BaseRunner
from .facts import unwrapped
from .parameter_groups import parameter_groups
from .registry import Registry, build_from_cfg
from .runners import RUNNERS

__all__ = [
    "OPTIMIZERS",
    "OPTIMIZER_BUILDERS",
    "RUNNER_BUILDERS",
    "DefaultOptimizerConstructor",
    "DefaultRunnerConstructor",
    "build_dataloader",
    "build_optimizer",
    "build_runner",
    "set_random_seed",
]

OPTIMIZERS = Registry("optimizer", modules=("torch.optim",))
"""Optimizers by name; those of torch are there."""

OPTIMIZER_BUILDERS = Registry("optimizer builder")
"""What builds optimizers, by name."""

RUNNER_BUILDERS = Registry("runner builder")
"""What builds runners, by name."""


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor:
    """Builds an optimizer of a model's parameters.

    Args:
        optimizer_cfg: ``dict(type="SGD", lr=0.1, …)``.
        paramwise_cfg: what parameters have of their own; see :func:`.parameter_groups`.

    Example:
        >>> make = DefaultOptimizerConstructor(dict(type="SGD", lr=0.1), dict(bias_lr_mult=2.0))
        >>> [group["lr"] for group in make(nn.Linear(2, 1)).param_groups]
        [0.1, 0.2]
    """

    def __init__(
        self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        self.optimizer_cfg, self.paramwise_cfg = dict(optimizer_cfg), dict(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> Optimizer:
        """The optimizer."""
        inner = unwrapped(model)
        lr, decay = self.optimizer_cfg.get("lr"), self.optimizer_cfg.get("weight_decay")
        if self.paramwise_cfg:
            parameters: Any = parameter_groups(inner, self.paramwise_cfg, lr, decay)
        else:
            parameters = inner.parameters()
        made: Optimizer = build_from_cfg({**self.optimizer_cfg, "params": parameters}, OPTIMIZERS)
        return made


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    """Build an optimizer of a model's parameters.

    Args:
        model: the model.
        cfg: ``dict(type=…, **arguments)``; with ``paramwise_cfg``, see :func:`.parameter_groups`;
            with ``constructor``, the name of what builds it in :data:`OPTIMIZER_BUILDERS`.

    Raises:
        KeyError: for unknown names.

    Example:
        >>> cfg = dict(type="SGD", lr=0.1, paramwise_cfg=dict(bias_lr_mult=2.0))
        >>> [group["lr"] for group in build_optimizer(nn.Linear(2, 1), cfg).param_groups]
        [0.1, 0.2]
    """
    options = dict(cfg)
    constructor = options.pop("constructor", "DefaultOptimizerConstructor")
    paramwise = options.pop("paramwise_cfg", None)
    how = {"type": constructor, "optimizer_cfg": options, "paramwise_cfg": paramwise}
    made: Optimizer = OPTIMIZER_BUILDERS.build(how)(model)
    return made


@RUNNER_BUILDERS.register_module()
class DefaultRunnerConstructor:
    """Builds a runner.

    Args:
        runner_cfg: ``dict(type="EpochBasedRunner", max_epochs=12)``.
        default_args: its other arguments.

    Example:
        >>> class Line(nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         return {"loss": self(data).square().mean()}
        >>> make = DefaultRunnerConstructor(
        ...     dict(type="EpochBasedRunner", max_epochs=12), dict(model=Line(1, 1))
        ... )
        >>> make().max_epochs
        12
    """

    def __init__(
        self, runner_cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None
    ) -> None:
        self.runner_cfg, self.default_args = runner_cfg, default_args

    def __call__(self) -> BaseRunner:
        """The runner."""
        made: BaseRunner = RUNNERS.build(self.runner_cfg, default_args=self.default_args)
        return made


def build_runner(
    cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None
) -> BaseRunner:
    """Build a runner.

    Args:
        cfg: ``dict(type="EpochBasedRunner", max_epochs=12)``; with ``constructor``, the name of
            what builds it in :data:`RUNNER_BUILDERS`.
        default_args: its other arguments, such as ``model``.

    Raises:
        KeyError: for unknown names.

    Example:
        >>> class Line(nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         return {"loss": self(data).square().mean()}
        >>> cfg = dict(type="IterBasedRunner", max_iters=100)
        >>> runner = build_runner(cfg, dict(model=Line(1, 1)))
        >>> type(runner).__name__, runner.max_iters
        ('IterBasedRunner', 100)
    """
    options = dict(cfg)
    constructor = options.pop("constructor", "DefaultRunnerConstructor")
    how = {"type": constructor, "runner_cfg": options, "default_args": default_args}
    made: BaseRunner = RUNNER_BUILDERS.build(how)()
    return made


def build_dataloader(
    dataset: Any,
    samples_per_gpu: int,
    workers_per_gpu: int,
    num_gpus: int = 1,
    dist: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    **kwargs: Any,
) -> DataLoader[Any]:
    """A loader, by the names that the libraries on top of MMCV give the arguments.

    Args:
        dataset: the data.
        samples_per_gpu: samples in a batch.
        workers_per_gpu: processes that load; 0 for none.
        num_gpus: 1, or 0 for the CPU.
        dist: accepted, and nothing else: there is one process.
        shuffle: whether each pass has another order.
        seed: of that order, and of what workers draw; by default they follow torch's seed.
        kwargs: for ``torch.utils.data.DataLoader``.

    Raises:
        NotImplementedError: for several devices.

    Example:
        >>> len(build_dataloader(list(range(10)), samples_per_gpu=4, workers_per_gpu=0))
        3
    """
    if num_gpus > 1:
        raise NotImplementedError(
            f"num_gpus={num_gpus} is not here: a runner of MMCV's kind trains on one device; take "
            f"footplate.Runner for several."
        )
    if seed is not None:
        kwargs.setdefault("generator", torch.Generator().manual_seed(seed))
        kwargs.setdefault("worker_init_fn", partial(_seed_worker, workers_per_gpu, seed))
    return DataLoader(
        dataset, samples_per_gpu, shuffle=shuffle, num_workers=workers_per_gpu, **kwargs
    )


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python's, numpy's and torch's random numbers.

    Args:
        seed: the seed.
        deterministic: whether cuDNN takes deterministic algorithms.

    Example:
        >>> set_random_seed(0)
        >>> first = torch.rand(1), random.random()
        >>> set_random_seed(0)
        >>> first == (torch.rand(1), random.random())
        True
    """
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def _seed_worker(workers: int, seed: int, worker: int) -> None:
    set_random_seed(seed + worker)
