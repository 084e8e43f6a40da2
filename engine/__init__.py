"""The minimal engine: events, filters, bus, state, loop. None of the names here loads torch."""

from .bus import Bus, EventSignal
from .engine import Engine
from .errors import DataError, EventError, HandlerError, Signalled, StateError
from .events import Event, EventList, Events, EventTable
from .filters import Filter, after, before, every, once, where
from .handler import Handler
from .plan import Plan, PlanRow
from .priority import Priority
from .state import Reason, State, Status
from .stopping import current_engine
from .workflow import Workflow

__all__ = [
    "Bus",
    "DataError",
    "Engine",
    "Event",
    "EventError",
    "EventList",
    "EventSignal",
    "EventTable",
    "Events",
    "Filter",
    "Handler",
    "HandlerError",
    "Plan",
    "PlanRow",
    "Priority",
    "Reason",
    "Signalled",
    "State",
    "StateError",
    "Status",
    "Workflow",
    "after",
    "before",
    "current_engine",
    "every",
    "once",
    "where",
]
