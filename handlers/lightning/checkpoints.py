"""Checkpoints: what Lightning's callbacks and hooks keep in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ...engine.step.lightning.calling import call_module
from ...engine.step.lightning.checkpoint import checkpoint_of, described
from ...engine.step.lightning.overridden import overridden
from .hooks import LightningHooks

__all__ = ["KeptLightningHooks"]


class KeptLightningHooks(LightningHooks):
    """Hooks that are saved: the states of callbacks, and what they put into a checkpoint.

    That has where the run stands, ``epoch`` and ``global_step``, and the weights as ``state_dict``,
    which the run saves and loads itself. What hooks add or replace is there again when it goes on.

    Args:
        trainer: has the module and the callbacks.
    """

    name = "lightning_hooks"

    def state_dict(self) -> dict[str, Any]:
        """The callbacks' states by their keys, and what was put into the checkpoint."""
        told = described(self.trainer)
        checkpoint = checkpoint_of(self.trainer, dict(told))
        states = checkpoint.pop("callbacks")
        added = {key: one for key, one in checkpoint.items() if told.get(key, self) is not one}
        return {"callbacks": states, "added": added}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give all of it back, in Lightning's order: the module, callbacks, and their states."""
        trainer = self.trainer
        module = trainer.lightning_module
        states = dict(state["callbacks"])
        added = deepcopy(dict(state["added"]))
        checkpoint = {**described(trainer), "callbacks": states, **added}
        if overridden(module, "on_load_checkpoint"):
            call_module(module, "on_load_checkpoint", checkpoint)
        for one in trainer.callbacks:
            if overridden(one, "on_load_checkpoint"):
                one.on_load_checkpoint(trainer, module, checkpoint)
        for one in trainer.callbacks:
            if found := states.get(one.state_key):
                one.load_state_dict(deepcopy(found))
