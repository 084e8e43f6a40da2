"""Announcer: fires the events of a step on the engine that the step belongs to."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ..channel import Channel
from ..events import Events
from .events import StepEvents

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Announcer", "register"]


def register(engine: Engine) -> None:
    """Make the step events known to an engine; it may know them already."""
    if StepEvents.FORWARD_STARTED not in engine.fires:
        engine.register_events(*StepEvents, behind=Events.ITERATION_STARTED)


class _Silence:
    """The channel of an event that nobody can hear."""

    calls = ()


class Announcer:
    """One channel for each step event, as an attribute named after it in lower case.

    What is heard by nobody costs one look::

        if announce.backward_started.calls:
            announce(announce.backward_started, loss=loss, optimization=self)

    Without an engine, as in a plain loop, it is silent. It holds its engine weakly.

    Args:
        engine: where to fire; the events are registered there.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = None if engine is None else weakref.ref(engine)
        if engine is not None:
            register(engine)
        for event in StepEvents:
            channel = _Silence if engine is None else engine.channels[event]
            setattr(self, event.lower(), channel)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Channel: ...

    @property
    def engine(self) -> Engine | None:
        """The engine, while it lives."""
        return None if self._engine is None else self._engine()

    @property
    def epoch(self) -> int:
        """The engine's epoch; 1 without an engine."""
        engine = self.engine
        return 1 if engine is None else engine.state.epoch

    def __call__(self, channel: Channel, **payload: Any) -> None:
        """Fire an event."""
        engine = self.engine
        if engine is not None:
            engine.emit(channel, payload)

    def count(self, channel: Channel) -> None:
        """Count an event that nobody hears."""
        engine = self.engine
        if engine is not None:
            engine.progress.count(channel.event)
