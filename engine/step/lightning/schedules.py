"""Schedules: a LightningModule's schedulers, moved at the places where Lightning moves them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import StateError, nearest
from ...events import Events
from ...handler import Handler
from ...priority import Priority
from .calling import call_module
from .configuration import Scheduled

if TYPE_CHECKING:
    from ...engine import Engine
    from .trainer import LightningTrainer

__all__ = ["LightningSchedules"]


class LightningSchedules(Handler):
    """Moves the schedulers that ``configure_optimizers`` has returned, by ``lr_scheduler_step``.

    Those that go by steps move with each step of the optimizer, those that go by epochs with the
    last batch of one, both before the batch counts as done. Those that look at a metric move
    behind the validation. A step that was left out, as fp16 overflowed, moves none. Where the
    module optimizes by hand, it moves them all itself, and here they are saved only.

    Args:
        trainer: has the module.
        schedulers: the schedulers.

    Raises:
        KeyError: if nobody has logged the metric that one looks at, and it is ``strict``.
    """

    name = "lightning_schedules"
    priority = Priority.LOW
    for_one_engine = True
    replicated = True

    def __init__(self, trainer: LightningTrainer, schedulers: Sequence[Scheduled]) -> None:
        self.schedulers = list(schedulers)
        self._trainer = trainer
        self._stepped = False  # whether the batch at hand came to a step
        self._in_epoch = 0  # the epoch whose end has moved those that go by epochs
        trainer.lr_scheduler_configs = self.schedulers

    @property
    def _automatic(self) -> bool:
        automatic: bool = self._trainer.lightning_module.automatic_optimization
        return automatic and bool(self.schedulers)

    def on_register(self, engine: Engine) -> None:
        """Move those that look at metrics behind the validation."""
        if any(one.reduce_on_plateau for one in self.schedulers):
            add = engine.add_event_handler
            add(Events.ITERATION_COMPLETED, self._look_by_step, priority=self.priority)
            add(Events.EPOCH_COMPLETED, self._look_by_epoch, priority=self.priority)

    def batch_done(self, *, stepped: bool, last: bool) -> None:
        """Move those that look at no metric.

        Args:
            stepped: whether a step of the optimizer was due, and not refused.
            last: whether the batch is known to be the last of its epoch.
        """
        self._stepped = stepped
        if not self._automatic:
            return
        if stepped:
            self._move("step", plateau=False)
        if last:
            self._move("epoch", plateau=False)
            self._in_epoch = self._trainer.current_epoch + 1

    def epoch_completed(self, engine: Engine) -> None:
        """Move those that go by epochs, if the end of one came without warning."""
        if self._automatic and self._in_epoch != engine.state.epoch:
            self._in_epoch = engine.state.epoch
            self._move("epoch", plateau=False)

    def _look_by_step(self, engine: Engine) -> None:
        if self._automatic and self._stepped:
            self._move("step", plateau=True)

    def _look_by_epoch(self, engine: Engine) -> None:
        if self._automatic:
            self._move("epoch", plateau=True)

    def _move(self, interval: str, *, plateau: bool) -> None:
        trainer = self._trainer
        count = (trainer.batch_idx if interval == "step" else trainer.current_epoch) + 1
        for one in self.schedulers:
            due = one.interval == interval and count % one.frequency == 0
            if due and one.reduce_on_plateau == plateau:
                value = None
                if plateau and (value := self._measured(one)) is None:
                    continue
                call_module(trainer.lightning_module, "lr_scheduler_step", one.scheduler, value)

    def _measured(self, one: Scheduled) -> Any:
        metrics = self._trainer.callback_metrics
        if one.monitor in metrics:
            return metrics[one.monitor]
        missing = (
            f"{type(one.scheduler).__name__} looks at {one.monitor!r}, but the module has logged "
            f"only {', '.join(map(repr, metrics)) or 'nothing'}."
            f"{nearest(str(one.monitor), metrics)}"
        )
        if one.strict:
            raise KeyError(missing)
        warnings.warn(f"{missing} It does not move.", RuntimeWarning, stacklevel=2)
        return None

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Where each of them stands."""
        return {
            "schedulers": [copy.deepcopy(one.scheduler.state_dict()) for one in self.schedulers],
            "stepped": self._stepped,
            "in_epoch": self._in_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            StateError: if it is that of other schedulers.
        """
        saved = state["schedulers"]
        if len(saved) != len(self.schedulers):
            raise StateError(
                f"the state has {len(saved)} schedulers, and the module {len(self.schedulers)}; go "
                f"on with the configure_optimizers() that the run was begun with."
            )
        for one, its_own in zip(self.schedulers, saved, strict=True):
            one.scheduler.load_state_dict(copy.deepcopy(its_own))
        self._stepped, self._in_epoch = state["stepped"], state["in_epoch"]
