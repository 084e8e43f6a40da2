"""Checkpoints in files of MMEngine's form, which its own tools read; weights are loaded of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ....engine.placement.ranks import is_first
from ....engine.step.guests import descends_from

if TYPE_CHECKING:
    from .runner import MMEngineRunner

__all__ = ["saved"]


def saved(
    view: MMEngineRunner,
    path: Path,
    parts: Mapping[str, bool],
    meta: Mapping[str, Any],
    by_epoch: bool,
) -> Path:
    """Write a file; hooks may add to it in ``before_save_checkpoint``.

    Args:
        view: the runner.
        path: the file; its folder is made if need be.
        parts: which of ``"optimizer"`` and ``"param_schedulers"`` it has.
        meta: what its ``meta`` holds besides.
        by_epoch: whether an epoch ends here, or an iteration.

    Returns:
        the file.
    """
    from mmengine.runner.checkpoint import weights_to_cpu

    checkpoint: dict[str, Any] = {
        "meta": {**_stand(view, by_epoch), **meta},
        "state_dict": weights_to_cpu(view.model.state_dict()),
        "message_hub": view.message_hub.state_dict(),
    }
    if parts["optimizer"]:
        checkpoint["optimizer"] = _states(view.optim_wrapper)
    if parts["param_schedulers"]:
        checkpoint["param_schedulers"] = _states(view.param_schedulers)
    for hook in view.hooks:
        if descends_from(hook, "Hook", "mmengine"):
            hook.before_save_checkpoint(view, checkpoint=checkpoint)
    if is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        torch.save(checkpoint, unfinished)
        unfinished.replace(path)
    return path


def _stand(view: MMEngineRunner, by_epoch: bool) -> dict[str, Any]:
    """What MMEngine's ``meta`` tells; a hook that saves is called before its epoch is over."""
    import mmengine

    stand: dict[str, Any] = {"epoch": view.epoch + by_epoch, "iter": view.iter + (not by_epoch)}
    stand |= {"cfg": view.cfg.pretty_text, "seed": view.seed}
    stand |= {"experiment_name": view.experiment_name, "time": time.strftime("%Y%m%d_%H%M%S")}
    return {**stand, "mmengine_version": mmengine.__version__}


def _states(given: Any) -> Any:
    """The states of one thing, or of several in a list or by name."""
    if isinstance(given, list):
        return [_states(one) for one in given]
    if isinstance(given, dict):
        return {name: _states(one) for name, one in given.items()}
    return given.state_dict()
