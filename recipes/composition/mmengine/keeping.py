"""What hooks of MMEngine put into checkpoints, and how it comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ....engine.engine import Engine
from ....engine.handler import Handler
from .runner import MMEngineRunner

__all__ = ["MMEngineKept"]


class MMEngineKept(Handler):
    """Keeps in checkpoints what a hook puts there: new entries, and others' that it replaced.

    Args:
        hook: the hook.
        name: its key in the engine's state.
        view: the runner as the hook sees it.
    """

    for_one_engine = True

    def __init__(self, hook: Any, name: str, view: MMEngineRunner) -> None:
        self.name = name
        self._hook = hook
        self._view = view

    def on_register(self, engine: Engine) -> None:
        """Nothing more: an engine saves whatever has a state."""

    def state_dict(self) -> dict[str, Any]:
        """What the hook adds to a checkpoint, and the weights that it puts in others' places."""
        weights = self._view.model.state_dict()
        checkpoint = self._checkpoint(weights)
        known = set(checkpoint)
        self._hook.before_save_checkpoint(self._view, checkpoint=checkpoint)
        after = checkpoint.get("state_dict", {})
        changed = {name: one for name, one in after.items() if weights.get(name) is not one}
        added = {name: one for name, one in checkpoint.items() if name not in known}
        return {"added": added, "weights": changed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back."""
        self.give_back(state)

    def give_back(self, state: Mapping[str, Any]) -> None:
        """Show the hook a checkpoint, and load what it makes of the weights in it.

        Args:
            state: what :meth:`state_dict` gave; empty if the hook had not kept anything.
        """
        model = self._view.model
        weights = model.state_dict()
        checkpoint = self._checkpoint({**weights, **state.get("weights", {})})
        checkpoint.update(state.get("added", {}))
        self._hook.after_load_checkpoint(self._view, checkpoint=checkpoint)
        after = checkpoint["state_dict"]
        changed = {name: one for name, one in after.items() if weights.get(name) is not one}
        if changed:
            model.load_state_dict(changed, strict=False)

    def _checkpoint(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """What MMEngine would save, but for where optimizers and schedulers stand."""
        view = self._view
        told = {"epoch": view.epoch, "iter": view.iter, "seed": view.seed}
        meta = {**told, "experiment_name": view.experiment_name, "time": time.strftime("%Y%m%d")}
        return {"meta": meta, "state_dict": dict(weights)}
