"""Agreement: what one process knows alone, all come to know at the same safe point."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..beginning import is_spent
from ..errors import HandlerError
from ..handler import Handler
from ..priority import Priority
from ..state import Next
from .ranks import gathered, largest, rank, world_size

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Agreement", "agreed", "agreement_of", "anywhere"]

_SIGNAL = "a signal"
_EVALUATIONS = ("val", "test", "predict")  # whose data are not cut to equal shares


def agreed(engine: Engine, topic: str, wanted: bool) -> bool:
    """Whether the processes have agreed on something that one of them wants.

    Ask in a handler of SAFE_POINT, and do what is due there when the answer is true: all
    processes get it at the same iteration. Processes talk about once a second, so that the answer
    may come so much later. Where there is one process alone, it is what is wanted.

    What is true of all processes alike, as a number of iterations, needs no agreement.

    Args:
        engine: the engine that trains; its iterations are the same ones on all processes.
        topic: what it is about; each asker has one of its own.
        wanted: whether this process wants it now.

    Raises:
        HandlerError: for an engine that evaluates, among several processes.

    Example:
        >>> import time
        >>> from footplate import Engine, Events
        >>> trainer, begun = Engine(lambda engine, batch: time.sleep(0.01)), time.monotonic()
        >>> @trainer.on(Events.SAFE_POINT)
        ... def stop(engine):
        ...     if agreed(engine, "tired", time.monotonic() - begun > 0.05):
        ...         engine.terminate()
        >>> trainer.run(range(1000)).iteration < 10
        True
    """
    if world_size() == 1:
        return wanted
    return agreement_of(engine).hears(topic, wanted)


def anywhere(wanted: bool) -> bool:
    """Whether any process wants something; all have to ask at this very point.

    It is for points that come rarely, such as OPENED; see :func:`agreed` for SAFE_POINT.

    Example:
        >>> anywhere(False), anywhere(True)
        (False, True)
    """
    return bool(largest([wanted])[0])


def agreement_of(engine: Engine) -> Agreement:
    """The agreement of an engine, which it gets when it is asked for first.

    Ask when a handler is attached, in ``on_register``, so that signals wait for it, too.

    Raises:
        HandlerError: for an engine that evaluates: its shares of the data may differ in length.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None)
        >>> agreement_of(trainer) is agreement_of(trainer)
        True
    """
    for handler in engine.handlers.values():
        if isinstance(handler, Agreement):
            return handler
    if engine.name in _EVALUATIONS:
        raise HandlerError(
            f"processes can't agree on an iteration of {engine!r}, since each may have another "
            f"number of them; leave limits of time and the like to the engine that trains."
        )
    return engine.attach(Agreement())


class Agreement(Handler):
    """Has the processes of a run agree, at safe points that all of them reach alike.

    Each process notes what it wants. At some safe points one small reduction tells whether any
    wants anything, and only then another exchange tells what. These points are the ends of epochs
    and of the run, and such iterations between them that processes talk about once a second: they
    are counted from the slowest one's seconds an iteration, which travel along; at first 1, 2, 4, …
    of them go by. So an iteration costs a comparison of two numbers.

    A signal that one process hears is held until all have agreed on it: handlers of this safe
    point save, and then all raise it. It does not cut nested evaluations, in which the other
    processes wait for this one.

    Use :func:`agreement_of`, which attaches it once; nothing is exchanged in one process alone.

    Args:
        seconds: how often processes talk, roughly.

    Attributes:
        granted: what was agreed upon at the safe point at hand, the largest that was asked for.
        meetings: how often the processes have talked in this run.
    """

    name = "agreement"
    priority = Priority.HIGHEST
    for_one_engine = True

    def __init__(self, *, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.granted: dict[str, float] = {}
        self.meetings = 0
        self._wanted: dict[str, float] = {}
        self._begin()

    def hears(self, topic: str, wanted: bool) -> bool:
        """Note whether this process wants something; return whether it was agreed upon just now."""
        if wanted:
            self._wanted[topic] = 1.0
        else:
            self._wanted.pop(topic, None)
        return topic in self.granted

    def on_register(self, engine: Engine) -> None:
        """Begin at once if the engine runs already."""
        self._hold(engine)

    def opened(self, engine: Engine) -> None:
        """Begin to count, and hold signals until the processes have agreed."""
        self._wanted.clear()
        self._begin()
        self._hold(engine)

    def safe_point(self, engine: Engine) -> None:
        """Talk to the others if it is time."""
        if self.granted:
            self.granted = {}
        self._passed += 1
        if self._passed < self._gap and not _ends(engine):
            return
        watch = engine.watch
        if watch is not None and (watch.held or watch.engine is not engine):
            self._meet(engine)

    def _hold(self, engine: Engine) -> None:
        if world_size() > 1 and engine.watch is not None and engine.watch.engine is engine:
            engine.watch.held = True

    def _begin(self) -> None:
        self.granted, self.meetings = {}, 0
        self._gap, self._passed, self._since = 1, 0, time.monotonic()

    def _meet(self, engine: Engine) -> None:
        watch: Any = engine.watch
        if watch.signum is not None and watch.engine is engine:
            self._wanted[_SIGNAL] = float(watch.signum)
        each = (time.monotonic() - self._since) / self._passed
        iteration = engine.state.iteration
        each, asked, last, first = self._exchanged(
            [each, bool(self._wanted), iteration, -iteration], engine
        )
        if last != -first:
            raise RuntimeError(
                f"process {rank()} stands at iteration {iteration}, others between {-first:.0f} "
                f"and {last:.0f}; give each as many batches, and call terminate(), interrupt() and "
                f"terminate_epoch() in all of them or by agreed()."
            )
        self.meetings += 1
        if asked:
            self._grant()
        if _SIGNAL in self.granted:
            watch.serve(int(self.granted[_SIGNAL]))
        self._gap = max(1, min(int(self.seconds / max(each, 1e-9)), 2 * self._gap))
        self._passed, self._since = 0, time.monotonic()

    def _exchanged(self, numbers: list[float], engine: Engine) -> list[float]:
        try:
            return largest(numbers)
        except RuntimeError as error:
            error.add_note(
                f"the processes were to agree behind iteration {engine.state.iteration}; one that "
                f"has ended, or called terminate() alone, does not come there."
            )
            raise

    def _grant(self) -> None:
        for theirs in gathered(self._wanted):
            for topic, value in theirs.items():
                self.granted[topic] = max(value, self.granted.get(topic, value))
        self._wanted.clear()


def _ends(engine: Engine) -> bool:
    """Whether an epoch or the run ends here."""
    return engine.progress.next is not Next.ITERATION or is_spent(engine.state)
