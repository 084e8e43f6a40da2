"""Runners, hooks, policies and builders of MMCV 1.7's kind, on Footplate's engines.

The names are those of ``mmcv.runner``; docs/migrating/mmcv.md says what differs.
"""

from ...engine.iter_loader import IterLoader
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
from .ema import EMAHook
from .evaluation import EvalHook
from .hook import HOOKS, Hook
from .log_buffer import LogBuffer
from .logger_hook import LoggerHook
from .lr_updaters import (
    CosineAnnealingLrUpdaterHook,
    CosineRestartLrUpdaterHook,
    CyclicLrUpdaterHook,
    ExpLrUpdaterHook,
    FixedLrUpdaterHook,
    FlatCosineAnnealingLrUpdaterHook,
    InvLrUpdaterHook,
    LinearAnnealingLrUpdaterHook,
    LrUpdaterHook,
    OneCycleLrUpdaterHook,
    PolyLrUpdaterHook,
    StepLrUpdaterHook,
)
from .momentum_updaters import (
    CosineAnnealingMomentumUpdaterHook,
    CyclicMomentumUpdaterHook,
    LinearAnnealingMomentumUpdaterHook,
    MomentumUpdaterHook,
    OneCycleMomentumUpdaterHook,
    StepMomentumUpdaterHook,
)
from .optimizing import (
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    OptimizerHook,
)
from .processes import get_dist_info, master_only
from .registry import Registry, build_from_cfg
from .runners import RUNNERS, EpochBasedRunner, IterBasedRunner, Runner
from .saving import load_checkpoint, save_checkpoint
from .sinks import TensorboardLoggerHook, TextLoggerHook
from .small_hooks import ClosureHook, DistSamplerSeedHook, IterTimerHook
from .unsupported import missing as _missing

__all__ = [
    "HOOKS",
    "OPTIMIZERS",
    "OPTIMIZER_BUILDERS",
    "RUNNERS",
    "RUNNER_BUILDERS",
    "BaseRunner",
    "CheckpointHook",
    "ClosureHook",
    "CosineAnnealingLrUpdaterHook",
    "CosineAnnealingMomentumUpdaterHook",
    "CosineRestartLrUpdaterHook",
    "CyclicLrUpdaterHook",
    "CyclicMomentumUpdaterHook",
    "DefaultOptimizerConstructor",
    "DefaultRunnerConstructor",
    "DistSamplerSeedHook",
    "EMAHook",
    "EpochBasedRunner",
    "EvalHook",
    "ExpLrUpdaterHook",
    "FixedLrUpdaterHook",
    "FlatCosineAnnealingLrUpdaterHook",
    "Fp16OptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "Hook",
    "InvLrUpdaterHook",
    "IterBasedRunner",
    "IterLoader",
    "IterTimerHook",
    "LinearAnnealingLrUpdaterHook",
    "LinearAnnealingMomentumUpdaterHook",
    "LogBuffer",
    "LoggerHook",
    "LrUpdaterHook",
    "MomentumUpdaterHook",
    "OneCycleLrUpdaterHook",
    "OneCycleMomentumUpdaterHook",
    "OptimizerHook",
    "PolyLrUpdaterHook",
    "Priority",
    "Registry",
    "Runner",
    "StepLrUpdaterHook",
    "StepMomentumUpdaterHook",
    "TensorboardLoggerHook",
    "TextLoggerHook",
    "build_dataloader",
    "build_from_cfg",
    "build_optimizer",
    "build_runner",
    "get_dist_info",
    "get_priority",
    "load_checkpoint",
    "master_only",
    "save_checkpoint",
    "set_random_seed",
]

get_priority = Priority.of
"""The number of a priority given by number or name."""


def __getattr__(name: str) -> object:
    """Say of MMCV's other names what to take in their place, where they are imported."""
    raise _missing(name, __all__)
