"""What pytorch-ignite's profilers see of an engine's handlers, and change of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ignite.engine import Events as IgniteEvents

from ...engine.channel import Channel, Subscription
from ...engine.engine import Engine
from ...engine.events import Event, as_event
from ...engine.priority import Priority
from ...engine.signature import label
from .received import Settled

__all__ = ["Entry", "Row", "Tables", "theirs"]

Entry = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
"""A handler, and what it is called with."""


def theirs(event: Event) -> Any:
    """An event as pytorch-ignite has it; one that it does not have as it is.

    Example:
        >>> from ignite.engine import Events
        >>> theirs(Event("STARTED")) is Events.STARTED, theirs(Event("SAFE_POINT"))
        (True, SAFE_POINT)
    """
    return IgniteEvents.__members__.get(event.name, event)


class Tables(Mapping[Any, "Row"]):
    """The handlers of an engine by event, as pytorch-ignite's engine keeps them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getitem__(self, event: Any) -> Row:
        return Row(self._engine, as_event(event).name)

    def __iter__(self) -> Iterator[Any]:
        return map(theirs, self._engine.fires.values())

    def __len__(self) -> int:
        return len(self._engine.fires)


class Row:
    """The handlers of one event, in the order in which they run.

    What is put in front runs at the priority HIGHEST, what is put at the end at LOWEST. What is
    put into a handler's place is called in its stead, where and when the handler would be.
    """

    def __init__(self, engine: Engine, event: str) -> None:
        self._engine, self._event = engine, event

    def __len__(self) -> int:
        return len(self._there)

    def __iter__(self) -> Iterator[Entry]:
        return (_entry(one) for one in self._there)

    def __getitem__(self, index: int) -> Entry:
        return _entry(self._there[index])

    def __setitem__(self, index: int, entry: Entry) -> None:
        one, stead = self._there[index], entry[0]
        one.prepare = stead.prepare if isinstance(stead, _Standing) else _InStead(stead)
        one.call = one.prepare(self._channel.payload)
        self._channel.refresh()

    def insert(self, index: int, entry: Entry) -> None:
        """Put a handler in front of all others.

        Raises:
            IndexError: for another place, which the order of priorities does not have.
        """
        if index:
            raise IndexError(f"a handler of {self._event} goes to place 0 or the end, not {index}.")
        self._add(entry, Priority.HIGHEST)

    def append(self, entry: Entry) -> None:
        """Put a handler behind all others."""
        self._add(entry, Priority.LOWEST)

    def _add(self, entry: Entry, priority: Priority) -> None:
        self._engine.add_event_handler(self._event, Settled(*entry), priority=priority)

    @property
    def _channel(self) -> Channel:
        return self._engine.channels[self._event]

    @property
    def _there(self) -> list[Subscription]:
        return sorted(self._channel.subscriptions, key=lambda one: one.order)


class _Standing:
    """What a subscription calls, under the name of its receiver."""

    def __init__(self, one: Subscription) -> None:
        self.prepare = one.prepare
        self._call, self._receiver = one.call, one.receiver
        self.__qualname__ = label(one.receiver)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __repr__(self) -> str:
        return repr(self._receiver)


class _InStead:
    """Makes a subscription call something else than its receiver."""

    def __init__(self, stead: Callable[..., Any]) -> None:
        self.stead = stead

    def __call__(self, payload: tuple[str, ...] | None) -> Callable[..., Any]:
        return self.stead


def _entry(one: Subscription) -> Entry:
    call = one.prepare.stead if isinstance(one.prepare, _InStead) else _Standing(one)
    return call, (), {}
