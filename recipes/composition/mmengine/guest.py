"""What a model of MMEngine brings to a runner: the hub that its parts read and write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....engine.engine import Engine
from ....engine.handler import Handler
from ....engine.priority import Priority
from ....engine.step.mmengine.driven import DrivenOptimization
from ..guests import Guest
from .runner import MMEngineRunner, as_mmengine

__all__ = ["MMEngineFacts", "MMEngineGuest"]


class MMEngineGuest(Guest):
    """A model that derives from MMEngine's ``BaseModel``.

    ``MessageHub.get_current_instance()`` is a hub of the run, which knows ``epoch``, ``iter``,
    ``max_epochs``, ``max_iters`` and ``loop_stage``.
    """

    def loader_options(self) -> dict[str, Any]:
        """MMEngine's way to gather samples: in lists, which the model's preprocessor stacks."""
        return {"collate_fn": {"type": "mmengine.dataset.pseudo_collate"}}

    def handlers(self, engine: Engine) -> Iterator[Handler]:
        """What tells the hub where the run stands."""
        yield MMEngineFacts(as_mmengine(self.runner))


class MMEngineFacts(Handler):
    """Tells MMEngine's hub where a run stands.

    Args:
        view: the runner as MMEngine's parts see it.
    """

    priority = Priority.VERY_HIGH

    def __init__(self, view: MMEngineRunner) -> None:
        self._view = view

    def opened(self, engine: Engine) -> None:
        """The length of the run, and where in it a wrapper begins that counts by itself."""
        view = self._view
        tell = view.message_hub.update_info
        tell("loop_stage", "test" if engine.name == "predict" else engine.name)
        if engine.name == "train":
            for name in ("epoch", "iter", "max_epochs", "max_iters"):
                tell(name, getattr(view, name))
            for one in view.optimizations.values():
                if isinstance(one, DrivenOptimization) and view.max_iters is not None:
                    one.wrapper.initialize_count_status(view.model, view.iter, view.max_iters)

    def epoch_started(self, engine: Engine) -> None:
        """Which epoch it is."""
        if engine.name == "train":
            self._view.message_hub.update_info("epoch", self._view.epoch)

    def iteration_started(self, engine: Engine) -> None:
        """Which iteration."""
        if engine.name == "train":
            self._view.message_hub.update_info("iter", engine.progress.iteration)

    def closed(self, engine: Engine) -> None:
        """What goes on behind an evaluation."""
        self._view.message_hub.update_info("loop_stage", "train")
