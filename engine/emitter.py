"""An emitter: fires named events to the handlers that people add."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .bus import Bus
from .channel import Channel, Sender, Subscription
from .errors import EventError, HandlerError, nearest
from .events import Event, Events, as_event, as_events, payload_names
from .handler import Handler, connections, key_of
from .plan import Plan
from .priority import Priority
from .signature import compile_call, label

__all__ = ["Emitter", "Handle"]

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=Handler)


class Handle:
    """Takes away what ``add_event_handler`` added: by :meth:`remove`, or as a context manager.

    Example:
        >>> from footplate import Engine, Events
        >>> engine = Engine(lambda engine, batch: None)
        >>> with engine.add_event_handler(Events.STARTED, lambda: print("started")):
        ...     _ = engine.run([1])
        started
        >>> _ = engine.run([1])
    """

    __slots__ = ("__weakref__", "_subscriptions")

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._subscriptions = tuple(subscriptions)

    def remove(self) -> None:
        """Take the handler away from all its events. Doing so again does nothing."""
        for subscription in self._subscriptions:
            subscription.remove()

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Emitter(Sender):
    """Fires events on a bus, and keeps what was attached to it.

    Args:
        bus: the bus to fire on; one of its own by default.
        name: what it is called in errors and plans; also its role for class handlers.
    """

    def __init__(self, *, bus: Bus | None = None, name: str | None = None) -> None:
        super().__init__()
        self.bus = Bus() if bus is None else bus
        self.name = name
        self.handlers: dict[str, Handler] = {}
        self.bus.join(self)
        self.register_events(*Events)

    # ------------------------------------------------------------------ events

    def register_events(
        self,
        *events: object,
        event_to_attr: Mapping[Any, str] | None = None,
        payload: Sequence[str] | None = None,
        behind: object = None,
    ) -> None:
        """Make custom events known, so that they can be handled and fired.

        Args:
            events: names, :class:`~footplate.engine.events.Event` objects, or events of
                pytorch-ignite.
            event_to_attr: which attribute of the state counts an event; an event that is not in
                it has a count of its own. An event that is registered again keeps its count.
            payload: names of the values that each firing hands over, for events that don't say so
                themselves; undeclared by default.
            behind: the event behind which :meth:`describe` shows them; the last by default.

        Raises:
            EventError: if the bus knows an event of this name with other values.
            TypeError: if ``event_to_attr`` is no mapping, or an event no event.
        """
        if event_to_attr is not None and not isinstance(event_to_attr, Mapping):
            raise TypeError(f"event_to_attr maps events to attributes, given {event_to_attr!r}.")
        counters = {as_event(key).name: attr for key, attr in (event_to_attr or {}).items()}
        first = len(self.fires)
        for given in events:
            for event in as_events(given):
                names = payload_names(payload) if event.payload is None else event.payload
                signal = self.bus.signal(event, event.doc)
                signal.declare(names)
                self.fires[event.name] = event
                channel = signal.channel(self)
                channel.counter = counters.get(event.name) or event.counter or channel.counter
        if behind is not None:
            known = list(self.fires)
            place = known.index(self._channel(as_event(behind)).event) + 1
            ordered = [*known[:place], *known[first:], *known[place:first]]
            self.fires = {name: self.fires[name] for name in ordered}

    def has_registered_events(self, event: object) -> bool:
        """Whether an event can be handled and fired here."""
        return as_event(event) in self.fires

    def fire_event(self, event: object, /, **payload: Any) -> None:
        """Run the handlers of an event.

        Args:
            event: a registered event.
            payload: the values that it hands over, by name.

        Raises:
            EventError: if the event is not registered, or declared with other values.
        """
        channel = self._channel(as_event(event))
        if channel.payload is not None and payload.keys() != set(channel.payload):
            raise EventError(
                f"{channel.event} hands over {', '.join(channel.payload) or 'no values'}, "
                f"but was fired with {', '.join(payload) or 'none'}."
            )
        self.emit(channel, payload)

    def emit(self, channel: Channel, payload: Mapping[str, Any] | None = None) -> None:
        """Deliver an event to its receivers; the one way by which anything is fired."""
        channel.deliver(self, payload)

    # ------------------------------------------------------------------ handlers

    def add_event_handler(
        self,
        event: object,
        handler: Callable[..., Any],
        *args: Any,
        priority: int | str = Priority.NORMAL,
        **kwargs: Any,
    ) -> Handle:
        """Run ``handler(engine, *args, **kwargs)`` whenever an event fires.

        A handler that can't take the engine is called without it. Of the values that the event
        hands over it gets those that its signature names. What it returns is not looked at. A
        handler that is added twice runs twice.

        Args:
            event: an event, filtered or not, or several joined by ``|``.
            handler: what to call; checked here, not when the event fires.
            args: its positional arguments.
            priority: its place in the order.
            kwargs: its keyword arguments.

        Returns:
            a handle that takes the handler away again.

        Raises:
            EventError: if an event is not registered.
            HandlerError: if the handler can't be called as the event would call it.
        """
        events = as_events(event)
        for one in events:
            self._channel(one)
        added: list[Subscription] = []
        try:
            for one in events:
                added.append(self._subscribe(one, handler, args, kwargs, priority))
        except BaseException:
            Handle(added).remove()
            raise
        return Handle(added)

    def on(
        self, event: object, *args: Any, priority: int | str = Priority.NORMAL, **kwargs: Any
    ) -> Callable[[F], F]:
        """A decorator that adds a handler; see :meth:`add_event_handler`.

        Example:
            >>> from footplate import Engine, Events
            >>> engine = Engine(lambda engine, batch: batch)
            >>> @engine.on(Events.ITERATION_COMPLETED(every=2))
            ... def show(engine):
            ...     print(engine.state.iteration, engine.state.output)
            >>> _ = engine.run("abcd")
            2 b
            4 d
        """

        def decorate(handler: F) -> F:
            self.add_event_handler(event, handler, *args, priority=priority, **kwargs)
            return handler

        return decorate

    def has_event_handler(self, handler: Callable[..., Any], event: object = None) -> bool:
        """Whether a handler is added to an event, whatever its filter, or to any event."""
        names = self.channels if event is None else as_events(event)
        channels = [self.channels[name] for name in names if name in self.channels]
        return any(one.receiver == handler for c in channels for one in c.subscriptions)

    def remove_event_handler(self, handler: Callable[..., Any], event: object) -> None:
        """Take a handler away from an event, as often as it was added.

        Raises:
            EventError: if the event is not registered.
            HandlerError: if the handler is not there.
        """
        channels = [self._channel(one) for one in as_events(event)]
        for channel in channels:
            there = [one.receiver for one in channel.subscriptions]
            if handler not in there:
                raise HandlerError(
                    f"{label(handler)} is no handler of {channel.event}; these are: "
                    f"{', '.join(map(label, there)) or 'none'}."
                )
        for channel in channels:
            channel.drop(lambda one: one.receiver == handler)

    # ------------------------------------------------------------------ class handlers

    def attach(
        self, handler: H, *, name: str | None = None, priority: int | str | None = None
    ) -> H:
        """Connect the methods of a class handler, and save its state with this engine's.

        Args:
            handler: an instance of a :class:`~footplate.engine.handler.Handler`.
            name: its key here and in the state dict, in place of the handler's own.
            priority: its place in the order, in place of the handler's own.

        Returns:
            the handler.

        Raises:
            TypeError: if it is no handler, or a class in place of an instance.
            HandlerError: if it is attached already, if its name is taken, if one of its methods
                can't be called, or if there is nothing to connect.
        """
        self._check(handler)
        key = self._key_for(handler, name)
        if priority is not None:
            handler.priority = Priority.of(priority)
        found = list(connections(handler, self.name, self.fires))
        if not found and type(handler).on_register is Handler.on_register:
            raise HandlerError(
                f"{type(handler).__name__} has no method named after an event of {self!r}: "
                f"{', '.join(name.lower() for name in self.fires)}, or after a life-cycle point."
            )
        self.handlers[key] = handler
        if handler.for_one_engine:
            handler._owner = weakref.ref(self)
        try:
            for event, method, prepare in found:
                signal = self.bus.signal(event)
                signal.subscribe(method, prepare, sender=self, priority=handler.priority)
            handler.on_register(self)  # type: ignore[arg-type]
        except BaseException:
            self.detach(handler)
            raise
        return handler

    def detach(self, handler: Handler) -> None:
        """Take a class handler away, with all of its methods that handle events here."""
        attached = any(one is handler for one in self.handlers.values())
        self.handlers = {key: one for key, one in self.handlers.items() if one is not handler}
        if handler._owner() is self:
            del handler._owner
        for channel in self.channels.values():
            channel.drop(lambda one: getattr(one.receiver, "__self__", None) is handler)
        if attached:
            handler.on_unregister(self)  # type: ignore[arg-type]

    def _check(self, handler: Handler) -> None:
        if isinstance(handler, type) and issubclass(handler, Handler):
            raise TypeError(f"attach() takes an instance; write attach({handler.__name__}(…)).")
        if not isinstance(handler, Handler):
            raise TypeError(
                f"attach() takes a Handler, given {handler!r}. Functions go to "
                f"add_event_handler(event, function); objects with an attach() of their own, such "
                f"as metrics of pytorch-ignite, are attached by that."
            )
        if any(one is handler for one in self.handlers.values()):
            raise HandlerError(f"{handler!r} is attached to {self!r} already.")
        if (owner := handler._owner()) is not None:
            raise HandlerError(
                f"this {type(handler).__name__} is attached to {owner!r} and keeps values of it; "
                f"make another one for {self!r}."
            )

    def _key_for(self, handler: Handler, name: str | None) -> str:
        key = key_of(handler) if name is None else name
        if key in self.handlers:
            raise HandlerError(
                f"{self!r} has another handler named {key!r}; give one of them another name: "
                f"attach({type(handler).__name__}(…), name=…)."
            )
        return key

    # ------------------------------------------------------------------ looking

    def describe(self) -> Plan:
        """Who runs on which event, in which order and under which filter.

        Returns:
            a plan that prints as a table and gives the same as data.
        """
        return Plan.of(self)

    # ------------------------------------------------------------------ parts

    def _subscribe(
        self,
        event: Event,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        priority: int | str,
    ) -> Subscription:
        return self.bus.signal(event).subscribe(
            handler,
            lambda payload: compile_call(handler, event.name, payload, args, kwargs),
            sender=self,
            event=event,
            priority=priority,
        )

    def _channel(self, event: Event) -> Channel:
        if event.name not in self.fires:
            raise EventError(
                f"{event.name!r} is not an event of {self!r}, which fires "
                f"{', '.join(self.fires)}.{nearest(event, self.fires)} "
                f"Make custom events known with register_events()."
            )
        return self.channels[event.name]
