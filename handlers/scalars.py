"""Scalars: what the step reports, gathered on its device and read once at each log point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.scalars import SCALARS_LOGGED
from ..engine.step.series import Series

__all__ = ["Scalars"]

_EVERY_50 = Events.ITERATION_COMPLETED(every=50)


class Scalars(Handler):
    """Gathers the numbers in the step's output, and hands on their means at each log point.

    Until then tensors stay on their device: no operation is run on them, and nothing waits for
    the device. The read is one event, ``SCALARS_LOGGED``, and the means stand in
    ``engine.state.metrics``. At the end of an epoch or a run what is left is read, too. A tensor
    must not be written to meanwhile.

    Args:
        when: the log points.
        prefix: what the names in the metrics begin with.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> scalars = trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
        >>> @trainer.on("SCALARS_LOGGED")
        ... def show(engine, scalars):
        ...     print(engine.state.iteration, scalars)
        >>> state = trainer.run([4.0, 2.0, 7.0])
        2 {'loss': 3.0}
        3 {'loss': 7.0}
    """

    priority = Priority.ABOVE_NORMAL
    for_one_engine = True

    def __init__(self, when: Event | EventList = _EVERY_50, *, prefix: str = "") -> None:
        self.when = when
        self.prefix = prefix
        self._series: dict[str, Series] = {}

    def on_register(self, engine: Engine) -> None:
        """Gather in each iteration, and read when asked for."""
        engine.register_events(SCALARS_LOGGED, behind=Events.ITERATION_COMPLETED)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather, priority=self.priority)
        engine.add_event_handler(self.when, self._read, priority=self.priority)
        rest = Events.EPOCH_COMPLETED | Events.COMPLETED
        engine.add_event_handler(rest, self._read, priority=self.priority)

    def started(self, engine: Engine) -> None:
        """Forget what an earlier run left, unless this one goes on from it."""
        if engine.state.iteration == 0:
            self._series.clear()

    def _gather(self, engine: Engine) -> None:
        state, series = engine.state, self._series
        output = state.output
        if type(output) is not dict:
            output = output if isinstance(output, Mapping) else {"output": output}
        for name, value in output.items():
            if value.dim() == 0 if isinstance(value, Tensor) else _is_number(value):
                if name not in series:
                    series[name] = Series()
                series[name].append(state.iteration, value)

    def _read(self, engine: Engine) -> None:
        values = {name: series.read() for name, series in self._series.items() if len(series)}
        if not values:
            return
        means = {
            f"{self.prefix}{name}": math.fsum(number for _, number in pairs) / len(pairs)
            if all(math.isfinite(number) for _, number in pairs)
            else sum(number for _, number in pairs)
            for name, pairs in values.items()
        }
        engine.state.metrics.update(means)
        engine.fire_event(
            SCALARS_LOGGED,
            step=engine.state.iteration,
            epoch=engine.state.epoch,
            scalars=means,
            values=values,
        )

    def state_dict(self) -> dict[str, Any]:
        """What was gathered and not yet read."""
        return {name: series.state_dict() for name, series in self._series.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what was gathered and not yet read."""
        self._series = {}
        for name, one in state.items():
            self._series[name] = Series()
            self._series[name].load_state_dict(one)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
