"""Evaluation: run one engine on another's event."""

from __future__ import annotations

from typing import Any

from ..engine.engine import Engine
from ..engine.evaluating import evaluate
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.source import Source

__all__ = ["Evaluation"]


class Evaluation(Handler):
    """Runs an evaluator over its data, and takes over its metrics.

    It runs before logging, schedules, early stopping and the decision to save, so that all of
    them see fresh metrics. Each evaluation is a new run of the evaluator.

    Args:
        evaluator: the engine to run.
        data: what it runs over, once each time.
        when: the event of the engine that this is attached to.
        prefix: what the metrics' names begin with there, before an underscore; none if empty.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> evaluator = Engine(lambda engine, batch: batch, name="val")
        >>> @evaluator.on(Events.EPOCH_COMPLETED)
        ... def last(engine):
        ...     engine.state.metrics["last"] = engine.state.output
        >>> evaluation = trainer.attach(Evaluation(evaluator, [1, 2, 3]))
        >>> trainer.run([0]).metrics
        {'val_last': 3}
    """

    priority = Priority.ABOVE_NORMAL

    def __init__(
        self,
        evaluator: Engine,
        data: Any,
        when: Event | EventList = Events.EPOCH_COMPLETED,
        *,
        prefix: str = "val",
    ) -> None:
        self.evaluator = evaluator
        self.data = data
        self.when = when
        self.prefix = f"{prefix}_" if prefix else ""
        self.name = f"evaluation_{prefix}".rstrip("_")

    def on_register(self, engine: Engine) -> None:
        """Evaluate on the event asked for."""
        if engine is self.evaluator:
            raise ValueError(f"{engine!r} can't evaluate itself; attach this to the trainer.")
        engine.add_event_handler(self.when, self._evaluate, priority=self.priority)

    def state_dict(self) -> dict[str, Any]:
        """What the evaluator's data keep between passes: an order of their own, a generator."""
        return {"data": self.evaluator.source.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the evaluator's data go on from there."""
        self.evaluator.source = Source(state=state["data"])

    def _evaluate(self, engine: Engine) -> None:
        evaluate(engine, self.evaluator, self.data, prefix=self.prefix)
