"""Stages: the events of a runner's engines on which its hooks are called.

=====================  ==========================================  =================================
stage                  event by epochs                             by iterations
=====================  ==========================================  =================================
``before_…_epoch``     EPOCH_STARTED                               none
``before_…_iter``      ITERATION_STARTED                           the same
``after_…_iter``       ITERATION_COMPLETED                         the same
``after_…_epoch``      EPOCH_COMPLETED                             none
=====================  ==========================================  =================================

All hooks of a stage are called by one receiver, in their order. In training it is behind the
phases of the workflow where something begins, and ahead of them where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ...engine.engine import Engine
from ...engine.errors import StateError
from ...engine.events import Events
from ...engine.handler import Handler
from ...engine.priority import Priority

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["EpochTraining", "EpochValidation", "IterTraining", "IterValidation"]

_BEHIND_PHASES = Priority.ABOVE_NORMAL + 1
_AHEAD_OF_PHASES = Priority.HIGH


class IterTraining(Handler):
    """The stages of training by iterations, and what is saved of a runner.

    Args:
        runner: whose hooks are called.
    """

    name = "mmcv"
    for_one_engine = True
    replicated = True

    def __init__(self, runner: BaseRunner) -> None:
        self._runner = runner

    def on_register(self, engine: Engine) -> None:
        """Connect the stages."""
        add = engine.add_event_handler
        add(Events.ITERATION_STARTED, self._begin, priority=_BEHIND_PHASES)
        add(Events.ITERATION_COMPLETED, self._end, priority=_AHEAD_OF_PHASES)

    def opened(self, engine: Engine) -> None:
        """Count from 0 where a run starts anew."""
        if engine.state.iteration == 0:
            self._runner.place.return_to(engine)

    def exception_raised(self, engine: Engine, exception: BaseException) -> None:
        """Stand where the engine returns to."""
        self._runner.place.return_to(engine)

    def _begin(self, engine: Engine) -> None:
        runner = self._runner
        runner.place.look(runner.phases, engine.state.iteration - 1)
        self._enter(engine)
        self._begin_iter(engine)

    def _enter(self, engine: Engine) -> None:
        """Have the model train on the data of the phase."""
        self._runner.mode, self._runner.data_loader = "train", engine.state.dataloader
        self._runner.model.train()

    def _begin_iter(self, engine: Engine) -> None:
        self._runner.data_batch = engine.state.batch
        self._runner.call_hook("before_train_iter")

    def _end(self, engine: Engine) -> None:
        runner = self._runner
        runner.call_hook("after_train_iter")
        runner.data_batch = None
        self._count()

    def _count(self) -> None:
        self._runner.place.iter += 1
        self._runner.place.inner_iter += 1

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, which modules evaluate, what was measured, and hooks' own."""
        runner, place = self._runner, self._runner.place
        modules = runner.model.named_modules()
        return {
            "place": [place.epoch, place.iter, place.inner_iter],
            "evaluating": [name for name, module in modules if not module.training],
            "log_buffer": runner.log_buffer.state_dict(),
            "hooks": {key: hook.state_dict() for key, hook in _stateful(runner).items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back.

        Raises:
            StateError: if the state is that of other hooks.
        """
        runner, place = self._runner, self._runner.place
        hooks = _stateful(runner)
        if hooks.keys() != state["hooks"].keys():
            raise StateError(
                f"the state has hooks {sorted(state['hooks'])}, and the runner {sorted(hooks)}; "
                f"register the same ones before it resumes."
            )
        place.epoch, place.iter, place.inner_iter = state["place"]
        for name, module in runner.model.named_modules():
            module.training = name not in state["evaluating"]
        runner.log_buffer.load_state_dict(state["log_buffer"])
        for key, hook in hooks.items():
            hook.load_state_dict(state["hooks"][key])


class EpochTraining(IterTraining):
    """The stages of training by epochs."""

    def on_register(self, engine: Engine) -> None:
        """Connect the stages."""
        super().on_register(engine)
        add = engine.add_event_handler
        add(Events.EPOCH_STARTED, self._begin_epoch, priority=_BEHIND_PHASES)
        add(Events.EPOCH_COMPLETED, self._end_epoch, priority=_AHEAD_OF_PHASES)

    def _begin_epoch(self, engine: Engine) -> None:
        self._enter(engine)
        self._runner.note_length(engine.state.dataloader)
        self._runner.call_hook("before_train_epoch")

    def _begin(self, engine: Engine) -> None:
        runner = self._runner
        runner.mode, runner.data_loader = "train", engine.state.dataloader
        runner.place.inner_iter = engine.progress.epoch_iteration
        self._begin_iter(engine)

    def _count(self) -> None:
        self._runner.place.iter += 1

    def _end_epoch(self, engine: Engine) -> None:
        self._runner.call_hook("after_train_epoch")
        self._runner.place.epoch += 1


class IterValidation(Handler):
    """The stages of validation by iterations; and means of what its steps report.

    Args:
        runner: whose hooks are called.
    """

    name = "mmcv"
    for_one_engine = True

    def __init__(self, runner: BaseRunner) -> None:
        self._runner = runner
        self._sums: dict[str, tuple[Any, float]] = {}

    def on_register(self, engine: Engine) -> None:
        """Connect the stages."""
        add = engine.add_event_handler
        add(Events.ITERATION_STARTED, self._begin)
        add(Events.ITERATION_COMPLETED, self._end)
        add(Events.EPOCH_COMPLETED, self._report, priority=Priority.HIGHEST)

    def opened(self, engine: Engine) -> None:
        """Have the model evaluate."""
        self._runner.mode, self._runner.data_loader = "val", engine.state.dataloader
        self._runner.model.eval()
        self._sums.clear()

    def _begin(self, engine: Engine) -> None:
        self._runner.place.inner_iter = engine.progress.epoch_iteration
        self._runner.data_batch = engine.state.batch
        self._call("before_val_iter")

    def _end(self, engine: Engine) -> None:
        weight = self._runner.outputs.get("num_samples", 1)
        for name, value in (engine.state.output or {}).items():
            total, weights = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = total + value * weight, weights + weight
        self._call("after_val_iter")
        self._runner.data_batch = None
        self._count()

    def _count(self) -> None:
        self._runner.place.inner_iter += 1

    def _report(self, engine: Engine) -> None:
        """Put the means into the metrics, which go to the train engine from there."""
        means = {name: total / weight for name, (total, weight) in self._sums.items()}
        engine.state.metrics.update(means)

    def _call(self, stage: str) -> None:
        with torch.no_grad():
            self._runner.call_hook(stage)


class EpochValidation(IterValidation):
    """The stages of validation by epochs."""

    def on_register(self, engine: Engine) -> None:
        """Connect the stages."""
        super().on_register(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    def _count(self) -> None:
        """Leave it at that of the last one, up to the next."""

    def _begin_epoch(self, engine: Engine) -> None:
        self._call("before_val_epoch")

    def _end_epoch(self, engine: Engine) -> None:
        self._call("after_val_epoch")


def _stateful(runner: BaseRunner) -> dict[str, Any]:
    """The hooks that have a state, by their class and number."""
    found: dict[str, Any] = {}
    for hook in runner.hooks:
        if hasattr(hook, "state_dict") and hasattr(hook, "load_state_dict"):
            name = type(hook).__name__
            number = sum(key.partition(" ")[0] == name for key in found)
            found[f"{name} {number + 1}" if number else name] = hook
    return found
