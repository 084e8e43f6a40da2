"""The console: one readable line at each point where something is to be said."""

from __future__ import annotations

import math
from typing import TextIO

from torch.optim import Optimizer

from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.scalars import readable

__all__ = ["Console"]


class Console(Handler):
    """Prints where the run stands and its metrics, in one line.

    Args:
        when: when to print; at each epoch's end by default.
        optimizer: whose learning rates to print.
        stream: where to print; standard output by default.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> @trainer.on(Events.EPOCH_COMPLETED)
        ... def measure(engine):
        ...     engine.state.metrics["loss"] = 0.5 / engine.state.epoch
        >>> console = trainer.attach(Console(Events.EPOCH_COMPLETED(every=2)))
        >>> state = trainer.run([0, 1], max_epochs=4)
        train  epoch 2/4  iteration 4  loss 0.2500
        train  epoch 4/4  iteration 8  loss 0.1250
    """

    priority = Priority.BELOW_NORMAL

    def __init__(
        self,
        when: Event | EventList = Events.EPOCH_COMPLETED,
        *,
        optimizer: Optimizer | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.when = when
        self.optimizer = optimizer
        self.stream = stream

    def on_register(self, engine: Engine) -> None:
        """Print on the event asked for."""
        engine.add_event_handler(self.when, self._print, priority=self.priority)

    def _print(self, engine: Engine) -> None:
        state = engine.state
        epochs = "" if state.max_epochs in (None, math.inf) else f"/{state.max_epochs}"
        iterations = "" if state.max_iters in (None, math.inf) else f"/{state.max_iters}"
        parts = [
            engine.name or "engine",
            f"epoch {state.epoch}{epochs}",
            f"iteration {state.iteration}{iterations}",
        ]
        if self.optimizer is not None:
            rates = sorted({group["lr"] for group in self.optimizer.param_groups})
            parts.append("lr " + ", ".join(f"{float(rate):.2e}" for rate in rates))
        parts.extend(f"{name} {readable(value)}" for name, value in state.metrics.items())
        print("  ".join(parts), file=self.stream, flush=True)
