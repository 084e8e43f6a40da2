"""Tracing: channels that tell a timeline of each firing, and of each receiver's call.

A traced channel is of another class than one that nobody traces, so that the latter need not even
look. An engine is traced from the moment that a :class:`Tracer` is set on it; engines that run
within it are traced, too, each for the length of its run.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import PurePath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ..channel import Channel, Sender, Subscription
from ..signature import Call, label, source
from .timeline import NEVER, Kind, Row, Timeline

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..handler import Handler
    from ..loop import Loop
    from ..stopping import SignalWatch

__all__ = ["TracedChannel", "Tracer", "follow", "trace", "trace_channel"]

_OUTSIDE_EPOCHS, _IN_AN_EPOCH = 0, 1  # which spans an event of the loop is the end of
_ENDS = {
    "STARTED": _OUTSIDE_EPOCHS,
    "EPOCH_STARTED": _OUTSIDE_EPOCHS,
    "GET_BATCH_STARTED": _IN_AN_EPOCH,
    "GET_BATCH_COMPLETED": _IN_AN_EPOCH,
    "ITERATION_STARTED": _IN_AN_EPOCH,
    "ITERATION_COMPLETED": _IN_AN_EPOCH,
    "TERMINATE_SINGLE_EPOCH": _IN_AN_EPOCH,
    "EPOCH_COMPLETED": _IN_AN_EPOCH,
    "SAFE_POINT": _IN_AN_EPOCH,
    "INTERRUPT": _IN_AN_EPOCH,
    "TERMINATE": _OUTSIDE_EPOCHS,
    "COMPLETED": _OUTSIDE_EPOCHS,
    "EXCEPTION_RAISED": _OUTSIDE_EPOCHS,
    "CLOSED": _OUTSIDE_EPOCHS,
}
_PHASES = {  # of an iteration, and of the step: between which events they lie
    "GET_BATCH_STARTED": (Kind.DATA, "data wait", ("GET_BATCH_COMPLETED",)),
    "ITERATION_STARTED": (Kind.STEP, "step", ("ITERATION_COMPLETED",)),
    "TRANSFER_STARTED": (Kind.PART, "transfer", ("TRANSFER_COMPLETED",)),
    "FORWARD_STARTED": (Kind.PART, "forward", ("FORWARD_COMPLETED",)),
    "LOSS_STARTED": (Kind.PART, "loss", ("LOSS_COMPLETED",)),
    "BACKWARD_STARTED": (Kind.PART, "backward", ("BACKWARD_COMPLETED",)),
    "CLIPPING_STARTED": (Kind.PART, "clipping", ("CLIPPING_COMPLETED",)),
    "OPTIMIZER_STEP_STARTED": (
        Kind.PART,
        "optimizer step",
        ("OPTIMIZER_STEPPED", "OPTIMIZER_STEP_SKIPPED"),
    ),
    "ZERO_GRAD_STARTED": (Kind.PART, "zero_grad", ("ZERO_GRAD_COMPLETED",)),
}
# A listener keeps a device loader from sending batches ahead, so nobody is made to listen there.
_HEARD = {*_PHASES, *(end for *_, ends in _PHASES.values() for end in ends)} - {
    "TRANSFER_STARTED",
    "TRANSFER_COMPLETED",
}
_NOBODY = cast("Subscription", SimpleNamespace(receiver=None))
_UNHEARD = ((None, lambda *_: None, _NOBODY),)

_tracers: weakref.WeakKeyDictionary[SignalWatch, Tracer] = weakref.WeakKeyDictionary()
"""Who traces the innermost engine, by the watch that all engines of one outermost run share."""


class TracedChannel(Channel):
    """A channel that tells its tracer when it begins and ends a firing and each call in it."""

    __slots__ = ()

    def compile(self, others: tuple[Subscription, ...], *, muted: bool) -> None:
        """Settle what a firing runs, each call with a clock around it."""
        super().compile(others, muted=muted)
        calls, filtered, bare = self._program
        timed = tuple((test, self.tracer.timed(call, one), one) for test, call, one in calls)
        # one for one, so that a firing that was cut goes on with the same receiver
        self._program = (timed, filtered, bare)
        silent = muted or self.silent
        self.calls = timed or (_UNHEARD if self.event in _HEARD and not silent else ())

    def deliver(
        self, sender: Sender, payload: Mapping[str, Any] | None = None, start: int = 0
    ) -> None:
        """Run the receivers in order; see :meth:`.Channel.deliver`."""
        tracer = self.tracer
        depth = tracer.enter(self.event, sender, bool(self._program[0]))
        try:
            super().deliver(sender, payload, start)
        finally:
            tracer.leave(self.event, sender, depth)

    def deliver_all(
        self, sender: Sender, payload: Mapping[str, Any] | None = None
    ) -> list[BaseException]:
        """Run every receiver, whatever the others raise; return what they raised."""
        tracer = self.tracer
        depth = tracer.enter(self.event, sender, bool(self._program[0]))
        try:
            return super().deliver_all(sender, payload)
        finally:
            tracer.leave(self.event, sender, depth)


class Tracer:
    """Writes what one engine does on a timeline.

    Args:
        timeline: where to write; of the engines nested in this one, too.
        engines: the engine's name, behind those of the engines that it is nested in.
        handler: whom it works for, whose own calls are left out; ``None`` for a nested engine,
            which is traced for one run.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None, name="train")
        >>> timeline = Timeline()
        >>> timeline.begin()
        >>> trace(engine, Tracer(timeline, ("train",)))
        >>> state = engine.run([1, 2])
        >>> timeline.finish()
        >>> sorted((row.what, row.calls) for row in timeline.rows())
        [('data wait', 2), ('epoch', 1), ('step', 2), ('train', 1)]
    """

    def __init__(
        self, timeline: Timeline, engines: tuple[str, ...], handler: Handler | None = None
    ) -> None:
        self.timeline = timeline
        self.engines = engines
        self.handler = handler
        self._depth = NEVER
        self._outer: Tracer | None = None
        self._events: dict[str, Row] = {}  # by event: the row of its firings,
        self._begun: dict[str, Row] = {}  # of the phase that begins behind it,
        self._ended: dict[str, Row] = {}  # and of the part of a step that ends before it
        for event, (kind, what, ends) in _PHASES.items():
            row = self._begun[event] = self._row(kind, what)
            if kind is Kind.PART:
                self._ended.update(dict.fromkeys(ends, row))

    def begin(self, engine: Loop) -> None:
        """A run begins, or is joined."""
        if self.handler is not None:
            self.timeline.begin()
        self._depth = self.timeline.open(self._row(Kind.ENGINE, self.engines[-1]))
        watch = cast("SignalWatch", engine.watch)
        self._outer = _tracers.get(watch)
        _tracers[watch] = self

    def end(self, engine: Loop) -> None:
        """A run is over; so is the tracing of a nested engine."""
        if self.handler is None:
            self.timeline.close(self._depth)
        else:
            self.timeline.finish()
        outer, self._outer, self._depth = self._outer, None, NEVER
        watch = cast("SignalWatch", engine.watch)
        if _tracers.get(watch) is self:
            if outer is None:
                del _tracers[watch]
            else:
                _tracers[watch] = outer
        if self.handler is None:
            trace(engine, None)

    def part(self, engine: Emitter) -> None:
        """Its handler was detached; if that was in the midst of a run, the trace ends there."""
        trace(engine, None)
        if self._depth != NEVER:
            self.handler.closed(engine)  # type: ignore[union-attr]
            self.end(cast("Loop", engine))

    def nested(self, engine: Loop) -> Tracer:
        """A tracer of an engine that runs within this one's."""
        return Tracer(self.timeline, (*self.engines, name_of(engine)))

    def enter(self, event: str, sender: Sender, heard: bool) -> int:
        """A firing begins, and with it ends what the event says is over.

        Returns:
            where it stands on the timeline.
        """
        timeline = self.timeline
        if event == "OPENED":
            self.begin(cast("Loop", sender))
        if not timeline.here:
            return NEVER
        if (level := _ENDS.get(event)) is not None:
            timeline.end_phases(self.engines, level)
            if event == "EPOCH_STARTED":
                timeline.open(self._row(Kind.EPOCH, "epoch"), sender.state.epoch)
        elif event in self._ended:
            timeline.end_phase(self._ended[event])
        if not heard:
            return NEVER
        row = self._events.get(event)
        if row is None:
            row = self._events[event] = self._row(Kind.EVENT, event)
        return timeline.open(row)

    def leave(self, event: str, sender: Sender, depth: int) -> None:
        """A firing is over, and with it begins what the event says begins."""
        timeline = self.timeline
        if depth != NEVER:
            timeline.close(depth)
        if event == "CLOSED":
            self.end(cast("Loop", sender))
        row = self._begun.get(event)
        if row is not None and timeline.here:
            timeline.end_phase(row)  # an error may have kept the last one from its end
            timeline.open(row, sender.state.iteration + (event == "GET_BATCH_STARTED"))
        elif event == "EPOCH_COMPLETED" and timeline.here:
            timeline.end_phases(self.engines, _OUTSIDE_EPOCHS)

    def timed(self, call: Call, one: Subscription) -> Call:
        """A receiver's call with a clock around it."""
        if self.handler is not None and getattr(one.receiver, "__self__", None) is self.handler:
            return call
        row = self._row(Kind.HANDLER, _named(one.receiver), one.event.name)
        begin, end = self.timeline.open, self.timeline.close

        def traced(*given: Any) -> Any:
            depth = begin(row)
            try:
                return call(*given)
            finally:
                end(depth)

        return traced

    def _row(self, kind: Kind, what: str, event: str = "") -> Row:
        return self.timeline.row(self.engines, kind, what, event)


def trace(engine: Emitter, tracer: Tracer | None) -> None:
    """Have an engine traced from its next firing on, or, with ``None``, no more.

    Args:
        engine: the engine.
        tracer: who writes it down.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> trace(engine, Tracer(Timeline(), ("train",)))
        >>> type(engine.channels["STARTED"]).__name__
        'TracedChannel'
        >>> trace(engine, None)
        >>> type(engine.channels["STARTED"]).__name__
        'Channel'
    """
    engine.tracer = tracer
    for channel in engine.channels.values():
        trace_channel(channel, tracer)


def trace_channel(channel: Channel, tracer: Tracer | None) -> None:
    """Have one channel traced, or, with ``None``, no more."""
    if tracer is None:
        channel.__class__ = Channel
    else:
        channel.tracer = tracer
        channel.__class__ = TracedChannel
    channel.refresh()


def follow(engine: Loop) -> None:
    """Trace the run that begins now if the engine that runs this one is traced."""
    outer = _tracers.get(cast("SignalWatch", engine.watch))
    if outer is not None and (engine.tracer is None or engine.tracer.handler is None):
        trace(engine, outer.nested(engine))


def name_of(engine: Loop) -> str:
    """What an engine is called in a trace."""
    return engine.name or f"engine of {label(engine._process_function)}"


def _named(receiver: object) -> str:
    """A receiver's name; with the place of one that has none of its own."""
    name = label(receiver)
    return f"{name} {PurePath(source(receiver)).name}" if "<lambda>" in name else name
