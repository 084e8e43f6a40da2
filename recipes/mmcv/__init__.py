"""Runners, hooks, policies and builders of MMCV 1.7's kind, on Footplate's engines.

The names are those of ``mmcv.runner``; docs/migrating/mmcv.md says what differs.
"""

from ...engine.iter_loader import IterLoader
from ...engine.placement.ranks import rank as _rank
from ...engine.placement.ranks import world_size as _world_size
from ...engine.priority import Priority
from .base_runner import BaseRunner
from .builders import (
    OPTIMIZER_BUILDERS,
    OPTIMIZERS,
    RUNNER_BUILDERS,
    DefaultOptimizerConstructor,
    DefaultRunnerConstructor,
    build_dataloader,
    build_optimizer,
    build_runner,
    set_random_seed,
)
from .checkpoint_hook import CheckpointHook
from .closure import ClosureHook
from .ema import EMAHook
from .evaluation import EvalHook
from .hook import HOOKS, Hook
from .iter_timer import IterTimerHook
from .log_buffer import LogBuffer
from .logger_hook import LoggerHook
from .lr_updaters import LrUpdaterHook
from .momentum_updaters import MomentumUpdaterHook
from .optimizing import (
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    OptimizerHook,
)
from .registry import Registry, build_from_cfg
from .runners import RUNNERS, EpochBasedRunner, IterBasedRunner
from .sampler_seed import DistSamplerSeedHook
from .saving import load_checkpoint, save_checkpoint
from .sinks import TensorboardLoggerHook, TextLoggerHook

__all__ = [
    "HOOKS",
    "OPTIMIZERS",
    "OPTIMIZER_BUILDERS",
    "RUNNERS",
    "RUNNER_BUILDERS",
    "BaseRunner",
    "CheckpointHook",
    "ClosureHook",
    "DefaultOptimizerConstructor",
    "DefaultRunnerConstructor",
    "DistSamplerSeedHook",
    "EMAHook",
    "EpochBasedRunner",
    "EvalHook",
    "Fp16OptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "Hook",
    "IterBasedRunner",
    "IterLoader",
    "IterTimerHook",
    "LogBuffer",
    "LoggerHook",
    "LrUpdaterHook",
    "MomentumUpdaterHook",
    "OptimizerHook",
    "Priority",
    "Registry",
    "TensorboardLoggerHook",
    "TextLoggerHook",
    "build_dataloader",
    "build_from_cfg",
    "build_optimizer",
    "build_runner",
    "get_dist_info",
    "get_priority",
    "load_checkpoint",
    "save_checkpoint",
    "set_random_seed",
]

get_priority = Priority.of
"""The number of a priority given by number or name."""


def get_dist_info() -> tuple[int, int]:
    """The number of this process, and how many there are.

    Example:
        >>> get_dist_info()
        (0, 1)
    """
    return _rank(), _world_size()
