"""The bus: one blinker signal per event name, with one total order and a compiled dispatch.

    >>> bus = Bus()
    >>> @bus.signal("EPOCH_COMPLETED").connect
    ... def hear(sender):
    ...     print("an epoch of", sender)
    >>> results = bus.signal("EPOCH_COMPLETED").send("any object")
    an epoch of any object

Who owns what decides how long things live. A :class:`~footplate.engine.channel.Channel` is what
one sender fires on one signal: it belongs to its sender and holds the subscriptions bound to that
sender. The signal holds channels weakly, and strongly only the one whose subscriptions hear every
sender. So an engine that is gone leaves nothing behind on its bus.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar, cast

from blinker import ANY, NamedSignal, Namespace

from .channel import Channel, Prepare, Receiver, Sender, Subscription
from .errors import EventError, nearest
from .events import Event, Events
from .priority import Priority
from .signature import Call, compile_call, label
from .trace.tracing import trace_channel

__all__ = ["Bus", "EventSignal"]

F = TypeVar("F", bound=Receiver)


class EventSignal(NamedSignal):
    """A blinker signal whose receivers run in one total order: priority, then attachment.

    It is used as blinker documents it, with two deliberate differences: receivers are held
    strongly unless ``weak=True`` is asked for, and leaving ``connected_to(…, sender)`` takes away
    that one connection. A firing works on a snapshot: a receiver that is connected or
    disconnected meanwhile counts from the next one.

    Args:
        name: the event's name.
        doc: when the event fires.
        payload: names of the values that a firing brings; ``None`` if nobody declared them.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: None, name="train")
        >>> ended = engine.bus.signal("EPOCH_COMPLETED")
        >>> @ended.connect
        ... def tell(sender):
        ...     print(sender.name, "ended epoch", sender.state.epoch)
        >>> state = engine.run([1, 2])
        train ended epoch 1
        >>> with ended.connected_to(print, sender=engine):
        ...     [receiver.__name__ for receiver in ended.receivers_for(engine)]
        ['tell', 'print']
    """

    def __init__(
        self, name: str, doc: str | None = None, payload: tuple[str, ...] | None = None
    ) -> None:
        # not super().__init__: it makes bookkeeping that the channels replace
        self.name = name
        if doc:
            self.__doc__ = doc
        self.payload = payload
        self.lock = threading.RLock()
        self._everyone = Channel(self)
        self._channels: weakref.WeakValueDictionary[Hashable, Channel]
        self._channels = weakref.WeakValueDictionary()
        self._kept: dict[Hashable, Channel] = {}  # of senders that don't own their channels
        self._sequence = itertools.count()
        self._muted = False

    # ------------------------------------------------------------------ connections

    def connect(
        self,
        receiver: F,
        sender: Any = ANY,
        weak: bool = False,
        *,
        priority: int | str = Priority.NORMAL,
    ) -> F:
        """Call ``receiver(sender, **payload)`` whenever ``sender`` fires this event.

        Connecting the same receiver to the same sender again keeps its place. A receiver that is
        connected to a sender and to :data:`blinker.ANY` runs once, at its earlier place. Of the
        payload it gets what its signature names.

        Args:
            receiver: what to call; it is checked against the event here, not when it fires.
            sender: whom to hear; everybody by default.
            weak: whether the receiver is forgotten when nobody else holds it.
            priority: its place in the order; see :class:`~footplate.engine.priority.Priority`.

        Returns:
            the receiver, so that this serves as a decorator.

        Raises:
            HandlerError: if the receiver can't be called with ``(sender, **payload)``.
        """
        key = _identity(receiver)
        compile_call(receiver, self.name, self.payload, needs_sender=True)  # refuse it early
        called, held = _weakly(receiver, self, key) if weak else (receiver, receiver)

        name = self.name  # not self in the closure: a signal that holds itself outlives its bus

        def prepare(payload: tuple[str, ...] | None) -> Call:
            return compile_call(called, name, payload, needs_sender=True)

        with self.lock:
            known = [s for s in self.channel(sender).subscriptions if s.key == key]
            made = self.subscribe(held, prepare, sender=sender, priority=priority, key=key)
            for subscription in known:
                made.order = subscription.order
                subscription.remove()
        if "receiver_connected" in self.__dict__ and self.receiver_connected.receivers:
            try:
                self.receiver_connected.send(self, receiver=receiver, sender=sender, weak=weak)
            except TypeError:
                self.disconnect(receiver, sender)
                raise
        return receiver

    def connect_via(
        self, sender: Any, weak: bool = False, *, priority: int | str = Priority.NORMAL
    ) -> Callable[[F], F]:
        """A decorator that connects a function to one sender."""
        return lambda receiver: self.connect(receiver, sender, weak, priority=priority)

    @contextmanager
    def connected_to(self, receiver: Receiver, sender: Any = ANY) -> Generator[None, None, None]:
        """Connect ``receiver`` for the length of a ``with`` block.

        Leaving takes away this connection only: not those to other senders, and not one that
        stood before.
        """
        key = _identity(receiver)
        stood = any(one.key == key for one in self.channel(sender).subscriptions)
        self.connect(receiver, sender)
        try:
            yield None
        finally:
            if not stood:
                self.channel(sender).drop(lambda one: one.key == key)
                self._tell_disconnected(receiver, sender)

    def disconnect(self, receiver: Receiver, sender: Any = ANY) -> None:
        """Take ``receiver`` away from one sender or, without one, from all of them.

        A receiver that is not connected is no error.
        """
        gone = _identity(receiver)
        for channel in self._all_channels() if sender is ANY else [self.channel(sender)]:
            channel.drop(lambda one: _identity(one.receiver) == gone)
        self._tell_disconnected(receiver, sender)

    def subscribe(
        self,
        receiver: Receiver | weakref.ref[Any],
        prepare: Prepare,
        *,
        sender: Any = ANY,
        event: Event | None = None,
        priority: int | str = Priority.NORMAL,
        key: Hashable = None,
    ) -> Subscription:
        """Make a new subscription, which is what every connection and handler comes down to.

        Args:
            receiver: what is listed, compared and removed.
            prepare: makes what is called from the names of the event's payload.
            sender: whom to hear; everybody by default.
            event: this signal's event with the filter that the receiver asks for.
            priority: its place in the order.
            key: the receiver's identity, where it must run once however often it is connected.
        """
        number = Priority.of(priority)
        with self.lock:
            channel = self.channel(sender)
            order = (number, next(self._sequence))
            wanted = Event(self.name) if event is None else event
            subscription = Subscription(channel, wanted, receiver, order, prepare, key)
            channel.add(subscription)
        return subscription

    # ------------------------------------------------------------------ sending

    def send(
        self,
        sender: Any | None = None,
        /,
        *,
        _async_wrapper: Any = None,
        **payload: Any,
    ) -> list[tuple[Receiver, Any]]:
        """Call the receivers of ``sender``, and those of everybody, in order.

        Engines fire by a shorter way; this is blinker's. It moves no counters.

        Returns:
            pairs of receiver and what it returned.

        Raises:
            EventError: if the event was declared with other values than ``payload``.
        """
        return [
            (receiver, call(sender, *values))
            for receiver, call, values in self._steps(sender, payload)
        ]

    async def send_async(
        self,
        sender: Any | None = None,
        /,
        *,
        _sync_wrapper: Any = None,
        **payload: Any,
    ) -> list[tuple[Receiver, Any]]:
        """Await the receivers. They are plain functions, so ``_sync_wrapper`` must adapt them."""
        results = []
        for receiver, call, values in self._steps(sender, payload):
            if _sync_wrapper is None:
                raise RuntimeError("Cannot send to a non-coroutine function.")
            results.append((receiver, await _sync_wrapper(call)(sender, *values)))
        return results

    def _steps(
        self, sender: Any, payload: dict[str, Any]
    ) -> Iterator[tuple[Receiver, Call, tuple[dict[str, Any], ...]]]:
        if self.payload is not None and payload.keys() != set(self.payload):
            raise EventError(
                f"{self.name} hands over {', '.join(self.payload) or 'no values'}, "
                f"but was sent with {', '.join(payload) or 'none'}."
            )
        channel = self._heard(sender)
        for test, call, one in channel.calls:
            receiver = one.receiver
            if receiver is not None and (test is None or test(sender, channel.count(sender))):
                yield receiver, call, () if self.payload == () else (payload,)

    # ------------------------------------------------------------------ looking

    @property
    def receivers(self) -> Mapping[Hashable, Receiver]:  # type: ignore[override]
        """A read-only view of who is connected, by identity, to any sender or all."""
        return MappingProxyType(
            {
                _identity(one.receiver): one.receiver
                for channel in self._all_channels()
                for one in channel.subscriptions
                if one.receiver is not None
            }
        )

    def has_receivers_for(self, sender: Any) -> bool:
        """Whether anything runs when ``sender`` fires this event."""
        return bool(self._heard(sender).plan)

    def receivers_for(self, sender: Any) -> Generator[Receiver, None, None]:
        """The receivers of ``sender`` and of everybody, in the order in which they run."""
        for one in self._heard(sender).plan:
            if one.receiver is not None:
                yield one.receiver

    @property
    def is_muted(self) -> bool:
        """Whether firings run nothing. Counters and times move all the same."""
        return self._muted

    @is_muted.setter
    def is_muted(self, muted: bool) -> None:
        with self.lock:
            self._muted = muted
            self.refresh(self._everyone)

    # ------------------------------------------------------------------ channels

    def channel(self, sender: Any) -> Channel:
        """The channel of a sender, made if need be; that of everybody for :data:`blinker.ANY`."""
        if sender is ANY:
            return self._everyone
        with self.lock:
            key = _identity(sender)
            channel = self._channels.get(key)
            if channel is None:
                channel = self._channels[key] = Channel(self)
                self._give(channel, sender, key)
                self.refresh(channel)
            return channel

    def refresh(self, changed: Channel) -> None:
        """Compile a channel anew; all of them, where the one that hears everybody changed."""
        others = self._everyone.subscriptions
        for channel in self._all_channels() if changed is self._everyone else [changed]:
            channel.compile(others, muted=self._muted)

    def declare(self, payload: tuple[str, ...] | None) -> None:
        """Settle the names of the payload; receivers connected before are checked against them.

        Raises:
            EventError: if other names were declared before.
        """
        if payload is None or payload == self.payload:
            return
        if self.payload is not None:
            raise EventError(
                f"{self.name} hands over {self.payload} on this bus and can't be registered with "
                f"{payload}; choose another name or the same payload."
            )
        with self.lock:
            channels = self._all_channels()
            everyone = [one for channel in channels for one in channel.subscriptions]
            calls = [one.prepare(payload) for one in everyone]  # all or, refused, none
            self.payload = payload
            for channel in channels:
                channel.payload = payload
            for one, call in zip(everyone, calls, strict=True):
                one.call = call
            self.refresh(self._everyone)

    def _heard(self, sender: Any) -> Channel:
        return self._channels.get(_identity(sender), self._everyone)

    def _all_channels(self) -> list[Channel]:
        with self.lock:
            return [self._everyone, *self._channels.values()]

    def _tell_disconnected(self, receiver: Receiver, sender: Any) -> None:
        if "receiver_disconnected" in self.__dict__ and self.receiver_disconnected.receivers:
            self.receiver_disconnected.send(self, receiver=receiver, sender=sender)

    def _give(self, channel: Channel, sender: Any, key: Hashable) -> None:
        """Hand the channel to its sender, or keep it for as long as the sender lives."""
        if isinstance(sender, Sender):
            sender.channels[self.name] = channel
            if sender.tracer is not None:  # the event is registered while its engine is traced
                trace_channel(channel, sender.tracer)
            return
        self._kept[key] = channel
        if not isinstance(sender, (str, int)):
            with suppress(TypeError):  # a sender that can't be weakly referenced stays
                weakref.finalize(sender, self._kept.pop, key, None).atexit = False


class Bus(Namespace):
    """The signals of one engine, or of several that share it.

    A receiver that is connected to one of its signals without a sender hears all of its engines.

    Example:
        >>> from footplate import Engine
        >>> bus = Bus()
        >>> trainer = Engine(lambda engine, batch: None, bus=bus, name="train")
        >>> evaluator = Engine(lambda engine, batch: None, bus=bus, name="val")
        >>> heard = bus.signal("COMPLETED").connect(lambda sender: print(sender.name))
        >>> _ = trainer.run([1]), evaluator.run([1])
        train
        val
    """

    def __init__(self) -> None:
        super().__init__()
        self._senders: weakref.WeakSet[Sender] = weakref.WeakSet()

    def signal(self, name: str, doc: str | None = None) -> EventSignal:
        """The signal of an event, made if there is none yet."""
        if name not in self:
            known = next((event for event in Events if event == name), None)
            payload = None if known is None else known.payload
            made = EventSignal(str(name), doc or (known and known.doc), payload)
            self.setdefault(str(name), made)  # another thread may have been faster
        return cast("EventSignal", self[name])

    def join(self, sender: Sender) -> None:
        """Note a sender, weakly, as one that fires on this bus."""
        self._senders.add(sender)

    def unfired(self) -> list[tuple[str, str]]:
        """Signals that have receivers though no sender on the bus can fire them.

        Returns:
            pairs of the signal's name and a hint at the nearest right one.
        """
        fired = {name for sender in self._senders for name in sender.fires}
        return [
            (name, nearest(name, fired))
            for name, signal in self.items()
            if name not in fired and signal.receivers
        ]


def _identity(thing: object) -> Hashable:
    """What makes two receivers or senders the same: bound methods are fresh objects each time."""
    if inspect.ismethod(thing):
        return id(thing.__func__), id(thing.__self__)
    return ("value", thing) if isinstance(thing, (str, int)) else id(thing)


def _weakly(
    receiver: Receiver, signal: EventSignal, key: Hashable
) -> tuple[Receiver, weakref.ref[Any]]:
    """A stand-in that calls the receiver while it lives, and the reference that it uses."""
    its_signal = weakref.ref(signal)

    def forget(_: weakref.ref[Any]) -> None:
        signal = its_signal()
        if signal is not None and not sys.is_finalizing():
            for channel in signal._all_channels():
                channel.drop(lambda one: one.key == key and one.receiver is None)

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        alive = reference()
        return None if alive is None else alive(*args, **kwargs)

    make = weakref.WeakMethod if inspect.ismethod(receiver) else weakref.ref
    reference = make(receiver, forget)
    stand_in.__qualname__ = label(receiver)
    stand_in.__signature__ = inspect.signature(receiver)  # type: ignore[attr-defined]
    return stand_in, reference
