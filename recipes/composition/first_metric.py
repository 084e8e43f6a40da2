"""The first metric: what the best checkpoint goes by where metrics name themselves."""

from __future__ import annotations

from ...engine.engine import Engine
from ...engine.handler import Handler
from ...engine.priority import Priority
from ...engine.stream.scalars import scalars_of
from ...handlers.checkpoint import Checkpoint
from .monitoring import Rule, monitored, rule_of

__all__ = ["ByFirstMetric"]


class ByFirstMetric(Handler):
    """Has checkpoints compared by the first number that validation measures, once there is one.

    A run that goes on has it from its checkpoint, before anything is saved.

    Args:
        checkpoint: what saves.
        best: how many of the best it is to keep.
        rule: whether ``"greater"`` or ``"less"`` is better, where the metric's name does not tell.
    """

    priority = Priority.LOW
    for_one_engine = True

    def __init__(self, checkpoint: Checkpoint, best: int, rule: Rule | None) -> None:
        self._checkpoint = checkpoint
        self._best, self._rule = best, rule

    def opened(self, engine: Engine) -> None:
        """Look at what was measured before the run that goes on."""
        self._look(engine)

    def safe_point(self, engine: Engine) -> None:
        """Look whether there was a validation."""
        if self._checkpoint.ranking.metric is None and engine.state.measured:
            self._look(engine)

    def _look(self, engine: Engine) -> None:
        measured, numbers = engine.state.measured, scalars_of(engine.state.metrics)
        first = next((one for one in measured if one in numbers and one == monitored(one)), None)
        if self._checkpoint.ranking.metric is None and first is not None:
            less = rule_of(first, self._rule) == "less"
            self._checkpoint.compare_by(first, "min" if less else "max", self._best)
