"""What a run says of itself.

:class:`State` is what people read; :class:`Progress` tells exactly where the run stands, so that
it can go on from there.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import EventError, nearest
from .events import as_event
from .source import NOTHING

__all__ = ["Next", "Progress", "Reason", "State", "Status", "Stopwatch"]


class Status(enum.StrEnum):
    """Whether an engine has run, is running, or how it stands; compares with strings.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: engine.state.status)
        >>> engine.state.status == "initializing", engine.run([1]).output, engine.state.status
        (True, <Status.RUNNING: 'running'>, <Status.FINISHED: 'finished'>)
    """

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class Reason(enum.StrEnum):
    """Why a run ended; compares with strings.

    One that reached ``max_epochs`` or ``max_iters`` has completed, within an epoch, too.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: batch == 2 and engine.terminate())
        >>> engine.run([1, 2, 3]).reason == "terminated"
        True
    """

    COMPLETED = "completed"
    TERMINATED = "terminated"
    INTERRUPTED = "interrupted"
    SIGNALLED = "signalled"
    ERROR = "error"


class State:
    """What people and handlers read of a run, and some of what they may write.

    An attribute lives as long as its engine unless said otherwise. Handlers may add attributes
    of their own; they survive new runs.

    Args:
        attributes: values of these, and further ones, by name.

    Attributes:
        iteration: iterations begun, the current one included; 1 in the first. Written by the
            engine; zero again in a new run.
        epoch: epochs begun, the current one included. Written by the engine, as above.
        epoch_length: iterations in an epoch; ``None`` until it is known.
        max_epochs, max_iters: where the run ends; one of them is ``None``. Written by ``run()``,
            and by handlers that want another end. Both ``None`` before a run starts it anew.
        batch: the batch at hand; handlers of ITERATION_STARTED may replace it. The last one stays
            until the next is fetched.
        output: what the step returned; ``None`` from the next fetch to the next step.
        metrics: results by name, written by metrics and evaluations.
        measured: at which iteration an evaluation wrote each of its metrics here; until a run
            starts anew.
        times: seconds by ``"EPOCH_COMPLETED"`` and ``"COMPLETED"``, set before these fire.
        dataloader: the data; handlers of DATALOADER_STOP_ITERATION may replace it.
        seed: the run's seed, if somebody set one.
        reason: why the last run ended, a :class:`Reason`; ``None`` while one runs.
        status: a :class:`Status`.
        call: what was asked for at the outermost engine: its name, ``"train"`` or ``"test"`` say.
        stage: what runs within it: this engine's name, unless somebody says better, as a sanity
            check of the validation does.
        event_to_attr: which attribute counts an event, for this engine.
        counts: how often the events fired that no attribute counts.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: 2 * batch, name="train")
        >>> state = engine.run([1, 2, 3], max_epochs=2)
        >>> state.epoch, state.iteration, state.epoch_length, state.output
        (2, 6, 3, 6)
        >>> state.get_event_attrib_value("SAFE_POINT")
        6
        >>> state.best = 0.5   # an attribute of your own
    """

    def __init__(self, **attributes: Any) -> None:
        self.iteration = 0
        self.epoch = 0
        self.epoch_length: int | None = None
        self.max_epochs: float | None = None
        self.max_iters: float | None = None
        self.batch: Any = None
        self.output: Any = None
        self.metrics: dict[str, Any] = {}
        self.measured: dict[str, int] = {}
        self.times: dict[str, float | None] = {"EPOCH_COMPLETED": None, "COMPLETED": None}
        self.dataloader: Any = None
        self.seed: int | None = None
        self.reason: str | None = None
        self.status: str = Status.INITIALIZING
        self.call: str | None = None
        self.stage: str | None = None
        self.event_to_attr: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for name, value in attributes.items():
            setattr(self, name, value)

    if TYPE_CHECKING:  # handlers add attributes of their own

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def get_event_attrib_value(self, event: object) -> int:
        """The count of an event, filtered or not.

        Raises:
            EventError: if this engine does not know the event.
        """
        name = as_event(event).name
        if name in self.event_to_attr:
            return int(getattr(self, self.event_to_attr[name], 0))
        if name in self.counts:
            return self.counts[name]
        known = [*self.event_to_attr, *self.counts]
        raise EventError(f"event {name!r} has no count on this engine.{nearest(name, known)}")

    def __repr__(self) -> str:
        plain = (int, float, str, type(None))
        shown = {
            name: value if isinstance(value, plain) else type(value).__name__
            for name, value in vars(self).items()
            if not name.startswith("_")
        }
        return "State:\n" + "".join(f"\t{name}: {value}\n" for name, value in shown.items())


class Next(enum.StrEnum):
    """What a run does next when it goes on: fire one of these, or fetch, or nothing."""

    STARTED = "STARTED"
    EPOCH_STARTED = "EPOCH_STARTED"
    ITERATION = "ITERATION"
    ITERATION_COMPLETED = "ITERATION_COMPLETED"
    EPOCH_COMPLETED = "EPOCH_COMPLETED"
    TERMINATE = "TERMINATE"
    COMPLETED = "COMPLETED"
    NOTHING = "NOTHING"


class Stopwatch:
    """Seconds spent running, over pauses and resumptions.

    Example:
        >>> watch = Stopwatch(seconds=2.0)
        >>> watch.start()
        >>> watch.stop() >= 2.0
        True
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds spent so far."""
        now = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._before + now

    def start(self) -> None:
        """Go on; does nothing if it goes already."""
        if self._since is None:
            self._since = time.perf_counter()

    def stop(self) -> float:
        """Pause, and return the seconds so far."""
        self._before, self._since = self.seconds, None
        return self._before

    def restart(self) -> None:
        """Begin at zero."""
        self._before, self._since = 0.0, time.perf_counter()


@dataclass
class Progress:
    """Exactly where a run stands. The engine alone writes it.

    Attributes:
        next: what comes next.
        reason: why the run ends, where it comes to its end.
        iteration, epoch: the state's, as of the last completed iteration; an error returns there.
        epoch_iteration: iterations completed in the current epoch.
        delivered: how many receivers of ``next`` have run, where a signal cut in between them.
        counts: how often the events fired that no attribute of the state counts.
        recent: those of them that fired since the run last moved on, as behind an iteration;
            an error takes them back.
        run_time, epoch_time: seconds.
        batch, output: those of an iteration that a signal cut, for the receivers that still wait
            for them; the batch is not fetched again, as it might be augmented otherwise then.
        loaded: whether it comes from a state dict and has not run since.
        began: the iteration at which ``run()`` took it up last: 0 of a run that starts anew.

    Example:
        >>> from footplate import Engine
        >>> engine = Engine(lambda engine, batch: batch == 2 and engine.interrupt())
        >>> state = engine.run([1, 2, 3], max_epochs=2)
        >>> progress = engine.progress
        >>> progress.iteration, progress.epoch_iteration, progress.next == "ITERATION"
        (2, 2, True)
    """

    next: Next = Next.STARTED
    reason: Reason = Reason.COMPLETED
    iteration: int = 0
    epoch: int = 0
    epoch_iteration: int = 0
    delivered: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    run_time: Stopwatch = field(default_factory=Stopwatch)
    epoch_time: Stopwatch = field(default_factory=Stopwatch)
    batch: Any = NOTHING
    output: Any = None
    loaded: bool = False
    began: int = 0

    def stand(self, state: State) -> None:
        """Take the state's numbers, which a handler may have set, and all counts as final."""
        self.epoch, self.iteration = state.epoch, state.iteration
        self.recent.clear()

    def end(self, reason: Reason) -> None:
        """Come to an end within the run, for which TERMINATE is fired."""
        self.next, self.reason = Next.TERMINATE, reason

    def count(self, event: str) -> None:
        """Count a firing of an event that has its own count."""
        self.counts[event] = self.counts.get(event, 0) + 1
        self.recent.append(event)
