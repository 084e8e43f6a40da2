"""Early stopping: end a run whose metric no longer improves."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority

__all__ = ["EarlyStopping"]


class EarlyStopping(Handler):
    """Terminates the run when a metric has not improved for a while.

    The decision is taken behind evaluation; what is due to be saved at the same point still is.

    Args:
        metric: an entry of ``engine.state.metrics``.
        patience: how many looks in a row without improvement end the run.
        mode: whether ``"max"`` or ``"min"`` is better.
        min_delta: by how much a value must be better than the best to count as an improvement.
        when: when to look.

    Raises:
        KeyError: when it looks and the metric is not there.

    Example:
        >>> from footplate import Engine, Events
        >>> accuracies = iter([0.5, 0.8, 0.7, 0.8, 0.9])
        >>> trainer = Engine(lambda engine, batch: None)
        >>> @trainer.on(Events.EPOCH_COMPLETED, priority="HIGH")
        ... def measure(engine):
        ...     engine.state.metrics["accuracy"] = next(accuracies)
        >>> stopping = trainer.attach(EarlyStopping("accuracy", patience=2))
        >>> state = trainer.run([0], max_epochs=10)
        >>> state.epoch, str(state.reason), stopping.best
        (4, 'terminated', 0.8)
    """

    priority = Priority.BELOW_NORMAL
    for_one_engine = True

    def __init__(
        self,
        metric: str,
        patience: int,
        *,
        mode: Literal["max", "min"] = "max",
        min_delta: float = 0.0,
        when: Event | EventList = Events.EPOCH_COMPLETED,
    ) -> None:
        if mode not in ("max", "min"):
            raise ValueError(f"mode is 'max' or 'min', given {mode!r}.")
        if patience < 1:
            raise ValueError(f"patience is at least 1, given {patience}.")
        if min_delta < 0:
            raise ValueError(f"min_delta is not negative, given {min_delta}.")
        self.metric = metric
        self.patience = patience
        self.sign = 1.0 if mode == "max" else -1.0
        self.min_delta = min_delta
        self.when = when
        self.best: float | None = None
        self.waited = 0

    def on_register(self, engine: Engine) -> None:
        """Look on the event asked for."""
        engine.add_event_handler(self.when, self._look, priority=self.priority)

    def started(self, engine: Engine) -> None:
        """Have patience anew; and forget the best, unless the run goes on from the one before."""
        self.waited = 0
        if engine.state.iteration == 0:
            self.best = None

    def _look(self, engine: Engine) -> None:
        metrics = engine.state.metrics
        if self.metric not in metrics:
            raise KeyError(
                f"early stopping needs metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics)) or 'none'}.{nearest(self.metric, metrics)}"
            )
        value = float(metrics[self.metric])
        better = self.best is None or self.sign * (value - self.best) > self.min_delta
        if better and not math.isnan(value):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            engine.terminate()

    def state_dict(self) -> dict[str, Any]:
        """The best value, and how long ago it was."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the best value, and how long ago it was."""
        self.best, self.waited = state["best"], state["waited"]
