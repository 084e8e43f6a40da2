"""Older hooks: those that Lightning 1.x had, and 2.x refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...engine.events import Events
from ...engine.handler import Handler
from ...engine.priority import Priority
from ...engine.step.lightning.calling import tell, within

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...engine.step.lightning.trainer import LightningTrainer

__all__ = ["LightningOutputs", "LightningPretrain"]

_EPOCH_ENDS = {
    "train": ("training_epoch_end", "on_train_epoch_end"),
    "val": ("validation_epoch_end", "on_validation_epoch_end"),
    "test": ("test_epoch_end", "on_test_epoch_end"),
}
"""By engine, the method, and the hook that it may log like."""

_PRIORITIES = {"train": 41}  # behind validation; all before on_…_epoch_end


class LightningOutputs(Handler):
    """Gathers what the steps of an epoch have returned, for a module's ``…_epoch_end(outputs)``.

    Of several loaders that are evaluated, the outputs are a list for each. What training has
    gathered is saved with the run, so that one that goes on amid an epoch has all of it.

    Args:
        trainer: has the module.
        role: the name of the engine.
    """

    name = "lightning_outputs"
    for_one_engine = True
    begins_anew = True

    def __init__(self, trainer: LightningTrainer, role: str) -> None:
        self.trainer = trainer
        self.priority = _PRIORITIES.get(role, Priority.NORMAL - 1)
        self._outputs: dict[int, list[Any]] = {}

    @staticmethod
    def wanted(module: Any, role: str | None) -> bool:
        """Whether a module has the method for an engine of this name."""
        return role in _EPOCH_ENDS and callable(getattr(module, _EPOCH_ENDS[role][0], None))

    def epoch_started(self, engine: Engine) -> None:
        """Begin anew."""
        self._outputs = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Keep what the step has returned, if anything."""
        left_out = engine.name == "train" and self.trainer.passes_over
        if engine.state.output is not None and not left_out:
            which = self.trainer.dataloader_idx or 0
            self._outputs.setdefault(which, []).append(engine.state.output)

    def epoch_completed(self, engine: Engine) -> None:
        """Hand it over."""
        outputs, self._outputs = self._outputs, {}
        several = self.trainer.dataloader_idx is not None
        given = list(outputs.values()) if several else outputs.get(0, [])
        module, (name, within_hook) = self.trainer.lightning_module, _EPOCH_ENDS[str(engine.name)]
        with within(module, within_hook):
            getattr(module, name)(given)

    def terminate(self, engine: Engine) -> None:
        """Hand over what there is of an epoch that a limit of steps or of time has cut."""
        if engine.name == "train" and self.trainer.within_epoch:
            self.epoch_completed(engine)

    def state_dict(self) -> dict[str, Any]:
        """What was gathered of an epoch that is under way."""
        return {
            "outputs": [[which, [*map(_plain, found)]] for which, found in self._outputs.items()]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it."""
        self._outputs = {which: list(found) for which, found in state["outputs"]}


class LightningPretrain(Handler):
    """Calls ``on_pretrain_routine_start`` and ``on_pretrain_routine_end``, behind on_fit_start.

    Args:
        trainer: has the module and the callbacks.
    """

    name = "lightning_pretrain"
    for_one_engine = True

    def __init__(self, trainer: LightningTrainer) -> None:
        self.trainer = trainer

    def on_register(self, engine: Engine) -> None:
        """Connect it behind on_fit_start."""
        engine.add_event_handler(Events.OPENED, self._tell, priority=Priority.VERY_HIGH + 1)

    def _tell(self, engine: Engine) -> None:
        for point in ("start", "end"):
            tell(self.trainer, f"on_pretrain_routine_{point}")


def _plain(output: Any) -> Any:
    """What a step has returned, as a checkpoint takes it."""
    return dict(output) if isinstance(output, dict) else output
