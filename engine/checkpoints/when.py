"""When a run is saved."""

from __future__ import annotations

import math
import signal
from dataclasses import KW_ONLY, dataclass
from numbers import Real

from ..events import Event, EventList, Events, as_events

__all__ = ["When"]


@dataclass(frozen=True)
class When:
    """When a save is due. It happens at the next SAFE_POINT, whatever asked for it.

    Args:
        events: on these events, filtered or not; ``None`` for none.
        minutes: besides, when so many minutes have gone by since the last save or the start.
        at_end: whether to save at the last safe point of the run, too.
        on_error: whether an error leaves a checkpoint for inspection, which is marked as not exact
            and is never gone on from by itself.
        signals: signals of the operating system on which to save and stop, besides Ctrl-C.

    Raises:
        TypeError: for what is no event, and minutes that are no number.
        ValueError: for minutes that are not above 0.

    Example:
        >>> every_other = When(Events.EPOCH_COMPLETED(every=2), minutes=30)
        >>> every_other.at_end, every_other.minutes
        (True, 30)
    """

    events: Event | EventList | None = Events.EPOCH_COMPLETED
    _: KW_ONLY
    minutes: float | None = None
    at_end: bool = True
    on_error: bool = True
    signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGUSR1)

    def __post_init__(self) -> None:
        """Refuse what is none of these."""
        if self.events is not None:
            as_events(self.events)
        minutes = self.minutes
        if minutes is not None:
            if isinstance(minutes, bool) or not isinstance(minutes, Real):
                raise TypeError(f"minutes is a number or None, given {minutes!r}.")
            if not 0 < minutes < math.inf:
                raise ValueError(f"minutes is a finite number above 0, given {minutes!r}.")
