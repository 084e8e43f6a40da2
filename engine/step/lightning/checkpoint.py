"""Checkpoint: what Lightning's hooks take for one, and a file of Lightning's format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...placement.ranks import barrier, is_first
from .calling import call_module, library
from .overridden import overridden

if TYPE_CHECKING:
    from .trainer import LightningTrainer

__all__ = ["checkpoint_of", "described", "remove", "write"]


def described(trainer: LightningTrainer) -> dict[str, Any]:
    """Where a run stands, its weights and hyper-parameters, under Lightning's keys.

    Args:
        trainer: what the module has for its trainer.
    """
    module = trainer.lightning_module
    found = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": library(module, "core.module").pl.__version__,
        "state_dict": module.state_dict(),
    }
    if module.hparams:
        found["hparams_name"] = module._hparams_name
        found["hyper_parameters"] = dict(module.hparams)
    return found


def checkpoint_of(trainer: LightningTrainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What is described, with the states of the callbacks, and what hooks make of that.

    Args:
        trainer: has the module and the callbacks.
        checkpoint: what :func:`described` has given, which is filled.
    """
    module = trainer.lightning_module
    states = {one.state_key: one.state_dict() for one in trainer.callbacks}
    checkpoint["callbacks"] = {key: one for key, one in states.items() if one}
    for one in trainer.callbacks:
        if overridden(one, "on_save_checkpoint"):
            one.on_save_checkpoint(trainer, module, checkpoint)
    if overridden(module, "on_save_checkpoint"):
        call_module(module, "on_save_checkpoint", checkpoint)
    return checkpoint


def write(trainer: LightningTrainer, path: str | os.PathLike[str], *, weights_only: bool) -> None:
    """Write a file that the module's ``load_from_checkpoint`` reads; it appears whole.

    It has weights, hyper-parameters and states, but not what a run goes on with to the bit: that
    is in the run's own checkpoints. The first process writes, and the others wait.

    Args:
        trainer: what the module has for its trainer.
        path: of the file, on this machine.
        weights_only: whether the optimizers' states are left out.

    Raises:
        ValueError: for a path elsewhere, and for weights that are spread over processes.
    """
    if "://" in str(path):
        raise ValueError(
            f"a file of Lightning's format is written to this machine's disk, given {str(path)!r}; "
            f"the run's own checkpoints go anywhere: default_hooks=dict(checkpoint=dict(out_dir=…))"
        )
    checkpoint = checkpoint_of(trainer, described(trainer))
    if any(hasattr(one, "to_local") for one in checkpoint["state_dict"].values()):
        raise ValueError(
            "the weights are spread over the processes, so that no process could write a file of "
            "Lightning's format; the run's own checkpoints have them all."
        )
    if not weights_only:
        checkpoint["optimizer_states"] = [one.state_dict() for one in trainer.optimizers]
        schedulers = [one.scheduler.state_dict() for one in trainer.lr_scheduler_configs]
        checkpoint["lr_schedulers"] = schedulers
    if is_first():
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            torch.save(checkpoint, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    barrier()


def remove(path: str | os.PathLike[str]) -> None:
    """Remove such a file, if it is there; the first process does."""
    if is_first():
        Path(path).unlink(missing_ok=True)
