"""What of MMCV's runners and hooks is not here, and what does the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...engine.errors import nearest

__all__ = ["missing", "refuse_unsupported"]

_SINK = "a sink is a class with write(engine, point), attached by runner.trainer.attach(…)"
_HALF = "Fp16OptimizerHook, which has all of train_step in half precision"
_SEVERAL = "footplate.Runner, which trains in several processes"
_MODULE = "that of torch.nn; load weights in the constructor, by load_checkpoint(model, path)"
_FILES = "load_checkpoint(model, path), which reads paths, URLs and torchvision://…"
_CLOCK = "Python's own time and platform modules"

_HOOKS = {
    "ProfilerHook": "footplate.handlers.profiler.Profiler, attached by runner.trainer.attach(…)",
    "SyncBuffersHook": _SEVERAL,
    "DistEvalHook": "EvalHook in one process; in several footplate.Runner with val_evaluator",
    "EmptyCacheHook": "ClosureHook('after_epoch', lambda runner: torch.cuda.empty_cache())",
    "PaviLoggerHook": _SINK,
    "NeptuneLoggerHook": _SINK,
    "DvcliveLoggerHook": _SINK,
    "SegmindLoggerHook": _SINK,
    "ClearMLLoggerHook": _SINK,
    "WandbLoggerHook": "footplate.handlers.wandb.WandB, attached by runner.trainer.attach(…)",
    "MlflowLoggerHook": "footplate.handlers.mlflow.MLflow, attached by runner.trainer.attach(…)",
}
_OTHERS = {
    "BaseModule": _MODULE,
    "ModuleDict": _MODULE,
    "ModuleList": _MODULE,
    "Sequential": _MODULE,
    "CheckpointLoader": _FILES,
    "_load_checkpoint": _FILES,
    "_load_checkpoint_with_prefix": f"{_FILES}, with revise_keys=[(r'^prefix\\.', '')]",
    "load_state_dict": "model.load_state_dict(state), or load_checkpoint(model, path)",
    "weights_to_cpu": "save_checkpoint(model, path), which brings them there",
    "init_dist": _SEVERAL,
    "allreduce_grads": _SEVERAL,
    "allreduce_params": _SEVERAL,
    "LossScaler": _HALF,
    "auto_fp16": _HALF,
    "force_fp32": "torch.autocast(device, enabled=False) around what needs it",
    "wrap_fp16_model": _HALF,
    "build_optimizer_constructor": "OPTIMIZER_BUILDERS.build(cfg)",
    "obj_from_dict": "build_from_cfg(cfg, registry)",
    "get_host_info": _CLOCK,
    "get_time_str": _CLOCK,
}


def missing(name: str, known: Collection[str]) -> Exception:
    """The error for a name that a module like ``mmcv.runner`` does not have.

    Args:
        name: the name.
        known: those that it has.

    Returns:
        an ImportError for one of MMCV's, as ``from … import`` shows that as it is.

    Example:
        >>> missing("obj_from_dict", [])
        ImportError('obj_from_dict is not here; in its place: build_from_cfg(cfg, registry).')
    """
    if (instead := (_HOOKS | _OTHERS).get(name)) is not None:
        return ImportError(_refusal(name, instead), name=name)
    return AttributeError(f"there is no {name!r} here.{nearest(name, known)}")


def refuse_unsupported(kind: Any) -> None:
    """Refuse a hook of MMCV that is not here.

    Args:
        kind: its type, by name or not.

    Raises:
        NotImplementedError: naming it, and what to take in its place.

    Example:
        >>> refuse_unsupported("DistEvalHook")
        Traceback (most recent call last):
        NotImplementedError: DistEvalHook is not here; in its place: EvalHook in one process; in \
several footplate.Runner with val_evaluator.
    """
    if isinstance(kind, str) and kind in _HOOKS:
        raise NotImplementedError(_refusal(kind, _HOOKS[kind]))


def _refusal(name: str, instead: str) -> str:
    return f"{name} is not here; in its place: {instead}."
