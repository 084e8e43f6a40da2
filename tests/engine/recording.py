"""An engine that notes what it fires and which batches its step is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from footplate import Engine, Events
from tests.golden.scenarios import Line

__all__ = ["RecordingEngine", "same"]

Step = Callable[[Engine, Any], Any]


class RecordingEngine(Engine):
    """Notes events in ``lines`` and batches in ``batches``."""

    def __init__(self, step: Step = lambda engine, batch: batch, **keywords: Any) -> None:
        self.lines: list[Line] = []
        self.batches: list[Any] = []

        def noting(engine: Engine, batch: Any) -> Any:
            self.batches.append(batch)
            return step(engine, batch)

        super().__init__(noting, **keywords)
        for event in Events:
            self.add_event_handler(event, self._write_down, name=str(event), priority="HIGHEST")

    @property
    def events(self) -> list[str]:
        """The names of what was fired."""
        return [line.event for line in self.lines]

    @property
    def order(self) -> list[Line]:
        """What was fired, but for OPENED and CLOSED, which belong to calls of ``run()``."""
        return [line for line in self.lines if line.event not in ("OPENED", "CLOSED")]

    def _write_down(self, engine: Engine, *, name: str, **_: object) -> None:
        self.lines.append(Line(name, self.state.epoch, self.state.iteration))


def same(one, other) -> bool:
    """Whether two states hold the same values, tensors included."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
