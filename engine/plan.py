"""The event plan: who runs on which event, in which order, under which filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .priority import Priority
from .signature import label, source

if TYPE_CHECKING:
    from .emitter import Emitter

__all__ = ["Plan", "PlanRow"]


@dataclass(frozen=True)
class PlanRow:
    """One receiver of one event.

    Attributes:
        event: the event's name.
        order: 1 for the receiver that runs first.
        handler: the receiver's qualified name.
        filter: when it runs; empty for always.
        priority: its priority's name, or number.
        sender: ``"this"``, or ``"any"`` for a receiver that hears all engines on the bus.
        source: ``file:line`` where it is written.
        note: anything odd.

    Example:
        >>> from footplate import Engine, Events
        >>> engine = Engine(lambda engine, batch: None)
        >>> _ = engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), print)
        >>> (row,) = engine.describe()
        >>> row.event, row.order, row.handler, row.filter, row.sender
        ('EPOCH_COMPLETED', 1, 'print', 'every=2', 'this')
    """

    event: str
    order: int
    handler: str
    filter: str
    priority: str
    sender: str
    source: str
    note: str = ""


class Plan(tuple[PlanRow, ...]):
    """The rows of an event plan; prints as a table.

    Example:
        >>> from footplate import Engine, Events
        >>> engine = Engine(lambda engine, batch: None)
        >>> _ = engine.add_event_handler(Events.STARTED, print, priority="HIGH")
        >>> [(row.event, row.handler, row.priority) for row in engine.describe()]
        [('STARTED', 'print', 'HIGH')]
    """

    __slots__ = ()

    @classmethod
    def of(cls, emitter: Emitter) -> Plan:
        """The plan of an engine, with signals on its bus that nothing can fire at the end."""
        return cls([*cls._rows(emitter), *cls._unfired(emitter)])

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain dicts, for JSON and the like."""
        return [asdict(row) for row in self]

    def __str__(self) -> str:
        if not self:
            return "no handlers"
        head = tuple(field.name for field in fields(PlanRow))
        rows = [tuple(map(str, astuple(replace(row, source=_short(row.source))))) for row in self]
        shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
        table = [[row[i] for i in shown] for row in (head, *rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    @staticmethod
    def _rows(emitter: Emitter) -> Iterable[PlanRow]:
        for name in emitter.fires:
            channel = emitter.channels[name]
            muted = "muted" if emitter.bus.signal(name).is_muted else ""
            for order, one in enumerate(channel.plan, 1):
                yield PlanRow(
                    event=name,
                    order=order,
                    handler=label(one.receiver),
                    filter="" if one.event.filter is None else repr(one.event.filter),
                    priority=Priority.label(one.order[0]),
                    sender="this" if one in channel.subscriptions else "any",
                    source=source(one.receiver),
                    note=muted,
                )

    @staticmethod
    def _unfired(emitter: Emitter) -> Iterable[PlanRow]:
        for name, hint in emitter.bus.unfired():
            for order, receiver in enumerate(emitter.bus.signal(name).receivers.values(), 1):
                yield PlanRow(
                    event=name,
                    order=order,
                    handler=label(receiver),
                    filter="",
                    priority="",
                    sender="",
                    source=source(receiver),
                    note=f"no engine on this bus fires it.{hint}",
                )


def _short(where: str) -> str:
    """A source as seen from the working directory, where it lies below it."""
    path, _, line = where.rpartition(":")
    if not path:
        return where
    file = Path(path)
    return f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{line}"
