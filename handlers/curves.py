"""Curves: what the metrics were over time, and a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from ..engine.data.charts import chart
from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.stream.scalars import scalars_of

__all__ = ["Curves"]


class Curves(Handler):
    """Keeps scalar metrics and the learning rate over time, and draws them as a PNG.

    Args:
        path: where the picture goes; drawn anew at the end of every ``run()`` call, on an error,
            too. Nothing is drawn if ``None``.
        panels: titles of panels, and the metrics that each one shows; by default one panel a
            metric.
        optimizer: whose learning rate to keep, as ``lr``.
        when: when to note values.

    Attributes:
        values: pairs of iteration and value, by name.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None)
        >>> @trainer.on(Events.EPOCH_COMPLETED)
        ... def measure(engine):
        ...     engine.state.metrics["loss"] = 1 / engine.state.epoch
        >>> curves = trainer.attach(Curves())
        >>> state = trainer.run([0, 1], max_epochs=2)
        >>> curves.values
        {'loss': [(2, 1.0), (4, 0.5)]}
    """

    priority = Priority.BELOW_NORMAL
    for_one_engine = True

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        panels: Mapping[str, list[str]] | None = None,
        optimizer: Optimizer | None = None,
        when: Event | EventList = Events.EPOCH_COMPLETED,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.panels = panels
        self.optimizer = optimizer
        self.when = when
        self.values: dict[str, list[tuple[int, float]]] = {}

    def on_register(self, engine: Engine) -> None:
        """Note values when asked for."""
        engine.add_event_handler(self.when, self._note, priority=self.priority)

    def started(self, engine: Engine) -> None:
        """Forget the run before, unless this one goes on from it."""
        if engine.state.iteration == 0:
            self.values.clear()

    def closed(self, engine: Engine) -> None:
        """Draw the picture."""
        if self.path is not None and self.values:
            self.draw(self.path)

    def draw(self, path: str | Path) -> None:
        """Draw the curves, one panel below the other.

        Args:
            path: where the PNG goes; its folder is made if need be.
        """
        panels = self.panels or {name: [name] for name in self.values}
        with chart(path, len(panels)) as axes:
            for axis, (title, names) in zip(axes, panels.items(), strict=True):
                for name in names:
                    if name in self.values:
                        label = name if len(names) > 1 else None
                        axis.plot(*zip(*self.values[name], strict=True), label=label, marker=".")
                if _spans_decades([v for name in names for _, v in self.values.get(name, [])]):
                    axis.set_yscale("log")
                axis.set_title(title, loc="left", fontsize=10)
            axes[-1].set_xlabel("iteration")

    def _note(self, engine: Engine) -> None:
        scalars = scalars_of(engine.state.metrics)
        if self.optimizer is not None:
            scalars["lr"] = float(self.optimizer.param_groups[0]["lr"])
        for name, value in scalars.items():
            self.values.setdefault(name, []).append((engine.state.iteration, value))

    def state_dict(self) -> dict[str, Any]:
        """The curves so far."""
        return {"values": {name: list(points) for name, points in self.values.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the curves."""
        self.values = {name: list(points) for name, points in state["values"].items()}


def _spans_decades(values: list[float]) -> bool:
    """Whether a logarithmic axis shows more of them."""
    return bool(values) and min(values) > 0 and max(values) > 50 * min(values)
