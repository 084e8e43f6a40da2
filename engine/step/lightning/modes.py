"""Modes: how a LightningModule goes from training to evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .calling import call_module

if TYPE_CHECKING:
    from ...engine import Engine
    from .trainer import LightningTrainer

__all__ = ["to_evaluation"]

_WORDS = {"val": "validation"}


def to_evaluation(trainer: LightningTrainer, engine: Engine, *, accumulating: bool) -> None:
    """Have the module let go of its gradients, and set itself to evaluation mode, by its hooks.

    Args:
        trainer: has the module.
        engine: what evaluates it.
        accumulating: whether gradients are kept for batches to come.
    """
    module: Any = trainer.lightning_module
    word = _WORDS.get(engine.name or "", engine.name)
    within = engine.watch is not None and engine.watch.engine is not engine
    if word == "validation" and within and not accumulating and not trainer.sanity_checking:
        call_module(module, "on_validation_model_zero_grad")
    call_module(module, f"on_{word}_model_eval")
