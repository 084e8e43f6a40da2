"""Events: names that an engine fires, each with an optional filter.

>>> Events.EPOCH_COMPLETED == "EPOCH_COMPLETED"
True
>>> Events.EPOCH_COMPLETED(every=2)
EPOCH_COMPLETED(every=2)
>>> Events.STARTED | Events.COMPLETED
STARTED | COMPLETED
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from .filters import Filter, Test, from_keywords, where

__all__ = ["Event", "EventList", "EventTable", "Events", "as_event", "as_events", "payload_names"]


def payload_names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of a payload; ``None`` where they are undeclared.

    Raises:
        TypeError: for one bare name, which would be taken apart into its letters.
    """
    if isinstance(given, str):
        raise TypeError(f"payload= takes several names; write payload=({given!r},).")
    return None if given is None else tuple(given)


class Event(str):
    """The name of something that happens, with an optional filter on its count.

    An event is a ``str`` and compares and hashes by its name alone, so never use a filtered event
    as a key. Call it to say when a handler wants it, with the algebra of
    :mod:`footplate.engine.filters` or with pytorch-ignite's keywords:

        >>> from footplate.engine.filters import after, every
        >>> Events.ITERATION_COMPLETED(every(10) & after(100))   # at 110, 120, 130, …
        ITERATION_COMPLETED(every(10) & after(100))
        >>> Events.ITERATION_COMPLETED(every=10, after=100)      # at 101, 111, 121, …
        ITERATION_COMPLETED(every=10, after=100)

    Args:
        name: the event's name, by custom in upper case.
        payload: names of the values that a firing hands to handlers, in order; ``None`` leaves
            them undeclared, so that each firing may bring what it likes.
        counter: the attribute of ``engine.state`` that counts the event; ``None`` for a count of
            the event's own, which moves by one with each firing.
        doc: when the event fires.
    """

    __slots__ = ("counter", "doc", "filter", "payload")

    payload: tuple[str, ...] | None
    counter: str | None
    doc: str
    filter: Filter | None

    def __new__(
        cls,
        name: str,
        *,
        payload: Sequence[str] | None = None,
        counter: str | None = None,
        doc: str = "",
    ) -> Event:
        """Make an event without a filter."""
        event = super().__new__(cls, name)
        event.payload = payload_names(payload)
        event.counter = counter
        event.doc = doc
        event.filter = None
        return event

    @property
    def name(self) -> str:
        """The bare name, without the filter."""
        return str(self)

    value = name

    def __call__(
        self,
        event_filter: Filter | Test | None = None,
        every: int | None = None,
        once: int | Sequence[int] | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> Event:
        """This event at some counts only.

        Args:
            event_filter: a filter of the algebra, or a function ``(engine, count) -> bool``; it
                excludes the other arguments.
            every: each n-th count; with bounds, each n-th from behind ``after``.
            once: one count, or several.
            before: counts less than this.
            after: counts greater than this.

        Raises:
            ValueError: for nonsense, or where the event has a filter already.
            TypeError: for a filter that can't be called.
        """
        if self.filter is not None:
            raise ValueError(
                f"{self!r} has a filter already; say all of it at once: "
                f"{self}(every(10) & after(100))."
            )
        if not isinstance(event_filter, Filter):
            return self._with(from_keywords(event_filter, every, once, before, after))
        if (every, once, before, after) != (None,) * 4:
            raise ValueError(
                f"{self}({event_filter!r}, …): a filter excludes the keywords; "
                f"write all of it in the algebra, as in every(10) & after(100)."
            )
        return self._with(event_filter)

    def __or__(self, other: object) -> EventList:
        return EventList([self]) | other

    def __and__(self, other: object) -> NoReturn:
        raise TypeError(
            f"{self} & {other!r}: events don't combine with &; a filter goes into the event's "
            f"brackets: {self}(every(10) & after(100))."
        )

    __rand__ = __and__

    def __ror__(self, other: object) -> EventList:
        return EventList([self]).__ror__(other)

    def __repr__(self) -> str:
        return str(self) if self.filter is None else f"{self}({self.filter!r})"

    def _with(self, chosen: Filter | None) -> Event:
        event = Event(str(self), payload=self.payload, counter=self.counter, doc=self.doc)
        event.filter = chosen
        return event


class EventList(tuple[Event, ...]):
    """Several events for one handler: what ``A | B`` makes. Its operands stay as they were.

    Example:
        >>> both = Events.STARTED | Events.EPOCH_COMPLETED(every=2)
        >>> len(both), both | "COMPLETED"
        (2, STARTED | EPOCH_COMPLETED(every=2) | COMPLETED)
    """

    __slots__ = ()

    def __or__(self, other: object) -> EventList:
        return EventList([*self, *self._joined(other)])

    def __ror__(self, other: object) -> EventList:
        return EventList([*self._joined(other), *self])

    def _joined(self, other: object) -> EventList:
        if isinstance(other, Filter):
            raise TypeError(
                f"| joins events to events and filters to filters, not {other!r} to {self!r}; "
                f"a filter goes into an event's brackets: {self[-1]}({other!r})."
            )
        return as_events(other)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self))


class _Listing(type):
    """Makes a class of events iterable, in the order in which they are written."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **keywords: Any
    ) -> _Listing:
        for attribute, event in body.items():
            if isinstance(event, Event) and attribute != event:
                raise ValueError(f"{name}.{attribute} is named {event!r}; use one name for both.")
        return super().__new__(mcs, name, bases, body, **keywords)

    def __iter__(cls) -> Iterator[Event]:
        return (value for value in vars(cls).values() if isinstance(value, Event))

    def __len__(cls) -> int:
        return sum(1 for _ in cls)

    def __contains__(cls, name: object) -> bool:
        return any(event == name for event in cls)


class EventTable(metaclass=_Listing):
    """Base of a class whose attributes are events; iterating over the class lists them.

    Example:
        >>> class BackpropEvents(EventTable):
        ...     BACKWARD_STARTED = Event("BACKWARD_STARTED", payload=("loss",))
        ...     BACKWARD_COMPLETED = Event("BACKWARD_COMPLETED", payload=())
        >>> list(BackpropEvents)
        [BACKWARD_STARTED, BACKWARD_COMPLETED]
    """


def _event(name: str, counter: str | None, doc: str, payload: Sequence[str] = ()) -> Event:
    return Event(name, payload=payload, counter=counter, doc=doc)


class Events(EventTable):
    """The events of every engine, in the order of the loop.

    Example:
        >>> [str(event) for event in Events if event.counter == "epoch"]
        ['STARTED', 'EPOCH_STARTED', 'EPOCH_COMPLETED', 'COMPLETED']
        >>> Events.EXCEPTION_RAISED.payload
        ('exception',)
    """

    OPENED = _event("OPENED", None, "first in every `run()` call; resources are opened here")
    STARTED = _event("STARTED", "epoch", "a run begins: anew, or beyond an end that it had reached")
    EPOCH_STARTED = _event("EPOCH_STARTED", "epoch", "an epoch begins")
    GET_BATCH_STARTED = _event(
        "GET_BATCH_STARTED", "iteration", "before a batch is fetched; counts batches so far"
    )
    DATALOADER_STOP_ITERATION = _event(
        "DATALOADER_STOP_ITERATION", None, "the data ended though more is needed"
    )
    GET_BATCH_COMPLETED = _event(
        "GET_BATCH_COMPLETED", "iteration", "a batch was fetched; counts batches before it"
    )
    ITERATION_STARTED = _event(
        "ITERATION_STARTED", "iteration", "before the step; handlers may replace `state.batch`"
    )
    ITERATION_COMPLETED = _event(
        "ITERATION_COMPLETED", "iteration", "the step is done; its result is `state.output`"
    )
    TERMINATE_SINGLE_EPOCH = _event(
        "TERMINATE_SINGLE_EPOCH", None, "`terminate_epoch()` was heard", ("iter_counter",)
    )
    EPOCH_COMPLETED = _event("EPOCH_COMPLETED", "epoch", "an epoch is done")
    SAFE_POINT = _event(
        "SAFE_POINT", "iteration", "between iterations, all handlers done; state is saved here"
    )
    INTERRUPT = _event("INTERRUPT", None, "`interrupt()` was heard; the next `run()` goes on")
    TERMINATE = _event("TERMINATE", None, "`terminate()` was heard, or `max_iters` cut an epoch")
    COMPLETED = _event("COMPLETED", "epoch", "the run is done")
    EXCEPTION_RAISED = _event(
        "EXCEPTION_RAISED", None, "an exception is on its way to the caller", ("exception",)
    )
    CLOSED = _event("CLOSED", None, "last in every `run()` call, whatever happened")


def as_events(given: object) -> EventList:
    """The events that ``given`` names: a name, an event, several of them, ours or pytorch-ignite's.

    Raises:
        TypeError: for anything else, and for none at all.

    Example:
        >>> as_events("EPOCH_COMPLETED")
        EPOCH_COMPLETED
    """
    if isinstance(given, Event):
        return EventList([given])
    if isinstance(given, str):
        return EventList([Event(given)])
    if isinstance(given, Filter):
        raise TypeError(f"{given!r} is a filter, not an event; write Events.X({given!r}).")
    if isinstance(name := getattr(given, "name", None), str):
        test = getattr(given, "filter", None)
        return EventList([Event(name)._with(None if test is None else where(test))])
    if isinstance(given, Iterable) and (events := [e for one in given for e in as_events(one)]):
        return EventList(events)
    raise TypeError(
        f"{given!r} is not an event; give Events.X, Events.X(every=2), Events.X | Events.Y "
        f"or the name of a registered event."
    )


def as_event(given: object) -> Event:
    """The event that ``given`` names, where only one will do.

    Raises:
        TypeError: for several, and for anything else.

    Example:
        >>> as_event("COMPLETED")
        COMPLETED
        >>> as_event(Events.STARTED | Events.COMPLETED)
        Traceback (most recent call last):
        TypeError: STARTED | COMPLETED are several events; give one.
    """
    first, *more = as_events(given)
    if more:
        raise TypeError(f"{given!r} are several events; give one.")
    return first
