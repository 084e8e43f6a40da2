"""Learning-rate schedules: torch's schedulers, stepped by epoch or by iteration."""

from __future__ import annotations

from typing import Any, Literal

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.priority import Priority

__all__ = ["LRSchedule"]

_EVENTS = {"epoch": Events.EPOCH_COMPLETED, "iteration": Events.ITERATION_COMPLETED}


class LRSchedule(Handler):
    """Steps a scheduler of ``torch.optim.lr_scheduler`` after each epoch or iteration.

    It runs behind what logs on the same event, which so sees the rate that was used.

    Args:
        scheduler: the scheduler, bound to its optimizer.
        unit: what one step of the schedule is, ``"epoch"`` or ``"iteration"``.
        metric: the entry of ``engine.state.metrics`` that ``ReduceLROnPlateau`` looks at.

    Raises:
        ValueError: for an unknown unit, or a metric where the scheduler takes none.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> trainer = Engine(lambda engine, batch: optimizer.step())
        >>> halving = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        >>> schedule = trainer.attach(LRSchedule(halving))
        >>> state = trainer.run([0, 1], max_epochs=3)
        >>> optimizer.param_groups[0]["lr"]
        0.125
    """

    priority = Priority.LOW
    for_one_engine = True

    def __init__(
        self,
        scheduler: LRScheduler | ReduceLROnPlateau,
        unit: Literal["epoch", "iteration"] = "epoch",
        *,
        metric: str | None = None,
    ) -> None:
        if unit not in _EVENTS:
            raise ValueError(f"unit is 'epoch' or 'iteration', given {unit!r}.")
        if (metric is not None) != isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"metric={metric!r} with {type(scheduler).__name__}: a metric is needed for "
                f"ReduceLROnPlateau, and for no other scheduler."
            )
        self.scheduler = scheduler
        self.event = _EVENTS[unit]
        self.metric = metric

    def on_register(self, engine: Engine) -> None:
        """Step on the unit's event."""
        engine.add_event_handler(self.event, self._step, priority=self.priority)

    def _step(self, engine: Engine) -> None:
        if self.metric is None:
            self.scheduler.step()  # type: ignore[call-arg]
            return
        metrics = engine.state.metrics
        if self.metric not in metrics:
            raise KeyError(
                f"the schedule needs metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics)) or 'none'}.{nearest(self.metric, metrics)}"
            )
        self.scheduler.step(metrics[self.metric])

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state."""
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the scheduler's state."""
        self.scheduler.load_state_dict(state)
