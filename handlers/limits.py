"""Limits of a run besides epochs and iterations: the time it takes, the steps of its optimizers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from numbers import Real
from typing import Any

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.minimum import Minimum, optimizer_steps
from ..engine.placement.agreement import agreed, agreement_of, anywhere
from ..engine.placement.ranks import world_size
from ..engine.priority import Priority
from ..engine.state import Next, Stopwatch
from ..engine.whole import whole

__all__ = ["MaxSteps", "MaxTime"]

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d)")


class MaxTime(Handler):
    """Terminates the run when it has taken so much time.

    The run ends between two iterations; in the last one of an epoch, behind EPOCH_COMPLETED. What
    counts is all that happens within ``run()``, evaluation included. Pauses don't count, and a
    run that goes on, in another process too, has only what is left; with nothing left it ends
    before its next iteration. Give ``max_epochs=math.inf`` to a run that time alone should end.
    Several processes end behind the same iteration, within about a second of the first one's time.

    Args:
        limit: ``"DD:HH:MM:SS"``, a ``timedelta``, its keywords as a dict, or seconds.
        minimum: what the run does in any case, however long that takes.

    Attributes:
        reason: why the run was ended; ``None`` if it was not.

    Raises:
        TypeError: for a limit of another kind.
        ValueError: for a limit that is not positive, or a text that says none.

    Example:
        >>> import math, time
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: time.sleep(0.01))
        >>> limit = trainer.attach(MaxTime({"milliseconds": 50}))
        >>> state = trainer.run([0], max_epochs=math.inf)
        >>> str(state.reason), state.iteration <= 5, limit.left
        ('terminated', True, 0.0)
    """

    priority = Priority.LOW
    for_one_engine = True
    replicated = True  # the clock of the first process goes for all when a run goes on

    def __init__(
        self,
        limit: str | timedelta | Mapping[str, float] | float,
        *,
        minimum: Minimum | None = None,
    ) -> None:
        self.limit = _seconds(limit)
        self.minimum = minimum or Minimum()
        self.reason: str | None = None
        self._spent = Stopwatch()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self.limit - self._spent.seconds, 0.0)

    def on_register(self, engine: Engine) -> None:
        """Make sure that the minimum can be told, and that several processes can agree."""
        self.minimum.check(engine)
        if world_size() > 1:
            agreement_of(engine)

    def opened(self, engine: Engine) -> None:
        """Start the clock, at zero if the run starts anew."""
        if engine.progress.next is Next.STARTED and engine.state.iteration == 0:
            self._spent = Stopwatch()
        self._spent.start()
        self.reason = None
        if anywhere(self._is_up(engine)):
            self._end(engine)

    def safe_point(self, engine: Engine) -> None:
        """End the run if its time is up."""
        if agreed(engine, "max_time", self._is_up(engine)):
            self._end(engine)

    def _end(self, engine: Engine) -> None:
        self.reason = f"{timedelta(seconds=self.limit)} have passed"
        engine.terminate()

    def _is_up(self, engine: Engine) -> bool:
        return not self.left and self.minimum.reached(engine)

    def closed(self, engine: Engine) -> None:
        """Stop the clock."""
        self._spent.stop()

    def state_dict(self) -> dict[str, Any]:
        """How many seconds were spent."""
        return {"seconds": self._spent.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set how many seconds were spent."""
        self._spent = Stopwatch(state["seconds"])


class MaxSteps(Handler):
    """Terminates the run when its optimizers have made so many steps.

    Steps are counted over all optimizers by OPTIMIZER_STEPPED, so that iterations which only
    accumulate gradients, and steps left out, don't count. The run ends between two iterations; in
    the last one of an epoch, behind EPOCH_COMPLETED. A run that has made its steps and goes on
    ends before its next iteration. Give ``max_epochs=math.inf`` to a run that steps alone should
    end.

    Args:
        steps: how many steps; an iteration that makes several is finished.

    Attributes:
        reason: why the run was ended; ``None`` if it was not.

    Raises:
        ValueError: for a number that is not positive and whole.
        EventError: if it is attached to an engine that counts no steps.

    Example:
        >>> import math
        >>> from footplate import Engine
        >>> from footplate.engine.step.events import StepEvents
        >>> def step(engine, batch):
        ...     if engine.state.iteration % 2 == 0:
        ...         engine.fire_event(StepEvents.OPTIMIZER_STEPPED, optimization=None)
        >>> trainer = Engine(step)
        >>> trainer.register_events(*StepEvents)
        >>> limit = trainer.attach(MaxSteps(3))
        >>> trainer.run(range(10), max_epochs=math.inf).iteration
        6
    """

    priority = Priority.LOW

    def __init__(self, steps: int) -> None:
        self.steps = whole("steps", steps)
        self.reason: str | None = None

    def on_register(self, engine: Engine) -> None:
        """Make sure that the engine counts steps."""
        optimizer_steps(engine)

    def opened(self, engine: Engine) -> None:
        """End a run that goes on with its steps made."""
        self.reason = None
        self.safe_point(engine)

    def safe_point(self, engine: Engine) -> None:
        """End the run if its steps are made."""
        if (made := optimizer_steps(engine)) >= self.steps:
            self.reason = f"{made} steps have been made"
            engine.terminate()


def _seconds(limit: Any) -> float:
    if isinstance(limit, str):
        limit = _clock(limit)
    elif isinstance(limit, Mapping):
        limit = _from_keywords(limit)
    if isinstance(limit, timedelta):
        seconds = limit.total_seconds()
    elif isinstance(limit, Real) and not isinstance(limit, bool):
        seconds = float(limit)
    else:
        raise TypeError(
            f"a limit of time is 'DD:HH:MM:SS', a timedelta, its keywords as a dict, or seconds; "
            f"given {limit!r}."
        )
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a limit of time is positive and finite, given {limit!r}.")
    return seconds


def _clock(text: str) -> timedelta:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no time as 'DD:HH:MM:SS'; twelve hours are '00:12:00:00', or "
            f"{{'hours': 12}}."
        )
    days, hours, minutes, seconds = map(int, found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _from_keywords(keywords: Mapping[str, float]) -> timedelta:
    try:
        return timedelta(**keywords)
    except TypeError as error:
        raise TypeError(
            f"{dict(keywords)!r} are no keywords of timedelta, which are weeks, days, hours, "
            f"minutes, seconds, milliseconds and microseconds: {error}."
        ) from None
