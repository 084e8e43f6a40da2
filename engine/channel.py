"""A channel: what one sender fires on one signal, compiled so that silence costs nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Mapping
from operator import length_hint
from typing import TYPE_CHECKING, Any

from .errors import EventError
from .events import Event
from .filters import Test
from .signature import Call, label

if TYPE_CHECKING:
    from .bus import EventSignal
    from .trace.tracing import Tracer

__all__ = ["Channel", "Receiver", "Sender", "Subscription", "Suspended"]

Receiver = Callable[..., Any]
Prepare = Callable[["tuple[str, ...] | None"], Call]
Step = tuple["Test | None", Call, "Subscription"]


class Suspended(BaseException):
    """A nested run gave way to a signal; on its way to the engine that serves it.

    Attributes:
        delivered: how many receivers of the event on the way had returned.
    """

    delivered = 0


class Sender:
    """Something that owns its channels, so that what is bound to it lives and dies with it.

    Attributes:
        fires: the events that it can fire, by name.
        channels: the channels of these, and of events that others wait for in vain.
        state: whose attributes count events.
        tracer: whom its channels tell of what they run; ``None`` unless it is traced.
    """

    state: Any = None
    tracer: Tracer | None = None

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.fires: dict[str, Event] = {}

    def count_of(self, event: str) -> int:
        """How often an event has happened that no attribute of the state counts."""
        raise EventError(f"{self!r} keeps no count of {event}.")


class Subscription:
    """One receiver on one channel: its place, its filter, and how it is called.

    It is the handle of what it stands for: :meth:`remove` takes it away, and so does leaving
    a ``with`` block.

    Args:
        channel: where it runs.
        receiver: what runs, or a weak reference to it.
        event, order, prepare, key: as the attributes say.

    Attributes:
        event: the event, with the filter that the receiver asked for.
        order: priority and sequence of attachment; receivers run in this order.
        key: the receiver's identity if it was connected the blinker way, else ``None``.
        prepare: makes the receiver ready for the names of a payload, or refuses it.
        call: the receiver made ready.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> bus = engine.bus
        >>> one = bus.signal("STARTED").subscribe(print, lambda payload: print, sender=engine)
        >>> one, engine.channels["STARTED"].plan == (one,)
        (<Subscription of print to STARTED>, True)
        >>> one.remove()
        >>> engine.channels["STARTED"].plan
        ()
    """

    __slots__ = (
        "__weakref__", "_channel", "_receiver", "call", "event", "key", "order", "prepare"
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        event: Event,
        receiver: Receiver | weakref.ref[Any],
        order: tuple[int, int],
        prepare: Prepare,
        key: Hashable = None,
    ) -> None:
        self._channel = weakref.ref(channel)
        self._receiver = receiver
        self.prepare = prepare
        self.event = event
        self.order = order
        self.key = key
        self.call = prepare(channel.payload)

    @property
    def receiver(self) -> Receiver | None:
        """What runs; ``None`` if it was held weakly and is gone."""
        return self._receiver() if isinstance(self._receiver, weakref.ref) else self._receiver

    def remove(self) -> None:
        """Take the receiver away. Doing so again does nothing."""
        channel = self._channel()
        if channel is not None:
            channel.drop(lambda one: one is self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Subscription of {label(self.receiver)} to {self.event!r}>"


class Channel:
    """What one sender fires on one signal.

    Args:
        signal: the event's signal, which makes a channel for each sender.

    Attributes:
        event: the event's name.
        payload: names of the values that a firing brings; ``None`` if undeclared.
        subscriptions: those bound to this sender, in order of attachment.
        counter: the attribute of the sender's state that counts the event; ``None`` where the
            sender counts it apart.
        plan: all that this sender's firing runs, in order.
        calls: the same made ready: filter, call and subscription; empty while the signal is
            muted. A loop that finds it empty need do no more.
        silent: whether this sender alone is muted.
        tracer: whom a :class:`~footplate.engine.trace.tracing.TracedChannel` tells of what it runs.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None)
        >>> channel = engine.channels["STARTED"]
        >>> channel.event, channel.counter, channel.plan
        ('STARTED', 'epoch', ())
        >>> _ = engine.add_event_handler("STARTED", print)
        >>> channel.plan
        (<Subscription of print to STARTED>,)
    """

    __slots__ = (
        "__weakref__",
        "_program",
        "_signal",
        "calls",
        "counter",
        "event",
        "payload",
        "plan",
        "silent",
        "subscriptions",
        "tracer",
    )

    tracer: Tracer

    def __init__(self, signal: EventSignal) -> None:
        self._signal = weakref.ref(signal)
        self.event = signal.name
        self.payload = signal.payload
        self.counter: str | None = None
        self.subscriptions: tuple[Subscription, ...] = ()
        self.plan: tuple[Subscription, ...] = ()
        self.calls: tuple[Step, ...] = ()
        self.silent = False
        self._program: tuple[tuple[Step, ...], bool, bool] = ((), False, True)

    def add(self, subscription: Subscription) -> None:
        """Take a subscription in; it counts from the next firing."""
        self._replace(lambda: (*self.subscriptions, subscription))

    def drop(self, unwanted: Callable[[Subscription], bool]) -> None:
        """Let go of the subscriptions that ``unwanted`` is true of."""
        self._replace(lambda: tuple(one for one in self.subscriptions if not unwanted(one)))

    def silence(self, silent: bool) -> None:
        """Have this sender be heard by nobody, or by its receivers again."""
        self.silent = silent
        self.refresh()

    def refresh(self) -> None:
        """Compile anew what a firing runs."""
        self._replace(lambda: self.subscriptions)

    def compile(self, others: tuple[Subscription, ...], *, muted: bool) -> None:
        """Settle what a firing runs: own subscriptions and those that hear every sender."""
        ordered = sorted({*self.subscriptions, *others}, key=lambda one: one.order)
        seen: set[Hashable] = set()
        plan = []
        for one in ordered:
            if one.key is None or one.key not in seen:
                plan.append(one)
                seen.add(one.key)
        self.plan = tuple(plan)
        steps = () if muted or self.silent else self.plan
        self.calls = tuple(
            (None if s.event.filter is None else s.event.filter.test, s.call, s) for s in steps
        )
        filtered = any(test is not None for test, _, _ in self.calls)
        # one tuple, so that a firing in another thread sees all of it change or nothing
        self._program = (self.calls, filtered, self.payload == ())

    def deliver(
        self, sender: Sender, payload: Mapping[str, Any] | None = None, start: int = 0
    ) -> None:
        """Run the receivers in order; the first error ends the firing and names its receiver."""
        calls, filtered, bare = self._program
        count = self.count(sender) if filtered else 0
        pending = iter(calls[start:] if start else calls)
        try:
            if bare:
                for test, call, one in pending:  # noqa: B007 - blamed below
                    if test is None or test(sender, count):
                        call(sender)
            else:
                for test, call, one in pending:  # noqa: B007
                    if test is None or test(sender, count):
                        call(sender, payload or {})
        except Suspended as suspended:
            suspended.delivered = len(calls) - length_hint(pending) - 1
            raise
        except BaseException as error:
            self._blame(error, one, sender)
            raise

    def count(self, sender: Sender) -> int:
        """How often the event has happened, for the filters that ask."""
        if self.counter is None:
            return sender.count_of(self.event)
        return getattr(sender.state, self.counter)  # type: ignore[no-any-return]

    def deliver_all(
        self, sender: Sender, payload: Mapping[str, Any] | None = None
    ) -> list[BaseException]:
        """Run every receiver, whatever the others raise; return what they raised."""
        errors: list[BaseException] = []
        calls, filtered, bare = self._program
        count = self.count(sender) if filtered else 0
        for test, call, one in calls:
            try:
                if test is None or test(sender, count):
                    call(sender) if bare else call(sender, payload or {})
            except BaseException as error:
                self._blame(error, one, sender)
                errors.append(error)
        return errors

    def _blame(self, error: BaseException, one: Subscription, sender: Sender) -> None:
        error.add_note(f"raised by {label(one.receiver)}, handling {one.event!r} of {sender!r}")

    def _replace(self, changed: Callable[[], tuple[Subscription, ...]]) -> None:
        signal = self._signal()
        if signal is None:  # its bus is gone, and nobody can fire it
            return
        with signal.lock:
            self.subscriptions = changed()
            signal.refresh(self)
