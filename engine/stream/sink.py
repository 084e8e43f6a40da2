"""Sinks: where scalars and pictures of a run are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ..events import Events
from ..handler import Handler, key_of
from ..outermost import outermost
from ..placement.ranks import is_first
from ..priority import Priority
from ..state import Reason, State, Status
from .scalars import MEDIA_LOGGED, SCALARS_LOGGED

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["LogPoint", "Sink"]


@dataclass(frozen=True)
class LogPoint:
    """What a sink is handed at a log point.

    Attributes:
        engine: the engine's name.
        run: the name of the outermost engine, within whose run that one runs; its own otherwise.
        on: ``"iteration"``, ``"epoch"``, or ``"run"`` for what was left at a run's end.
        step, epoch: iteration and epoch of the outermost engine that runs: an evaluator's
            numbers have a place in the trainer's run.
        scalars: floats by name, NaN and infinities included.

    Example:
        >>> point = LogPoint("val", "train", "epoch", 500, 2, {"accuracy": 0.975})
        >>> point.engine, point.step, point.scalars["accuracy"]
        ('val', 500, 0.975)
    """

    engine: str
    run: str
    on: str
    step: int
    epoch: int
    scalars: Mapping[str, float]


class Sink(Handler):
    """Base of what writes scalars somewhere.

    One may be attached to several engines: it is opened with the first of them that runs, and
    closed with the outermost engine, so that an evaluator within a trainer's run opens it once. A
    subclass has :meth:`begin`, :meth:`write` and :meth:`end`, :meth:`start_anew` and :meth:`place`
    if it keeps what it writes from run to run, and for each kind of media that it has a place for
    a method ``write_image(engine, name, value, step)``, ``write_histogram``, ``write_text``,
    ``write_figure`` or ``write_table``. Of several processes the first alone writes.

    Attributes:
        goes_on_from: the :meth:`place` up to which what was written stands, set ahead of
            :meth:`begin`: where it stood when the run that goes on was saved, or when an
            evaluation began that a signal cut; what came later comes again. ``None`` where that
            is not known, or where all of it stands.

    Args:
        names: shell patterns of the names of scalars and media that it takes.
        every: which log points of iterations it takes: each n-th. It takes all of an epoch's, and
            metrics that come between two log points.

    Example:
        >>> from footplate import Engine, Events
        >>> from footplate.handlers.scalars import Scalars
        >>> class Shout(Sink):
        ...     def write(self, engine, point):
        ...         print(point.step, dict(point.scalars))
        >>> trainer = Engine(lambda engine, batch: {"loss": batch, "n": 1}, name="train")
        >>> scalars = trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
        >>> shout = trainer.attach(Shout(names=["loss"], every=2))
        >>> state = trainer.run([4.0, 2.0, 1.0, 0.5])
        2 {'loss': 2.0}
        4 {'loss': 0.5}
    """

    priority = Priority.BELOW_NORMAL

    def __init__(self, *, names: str | Sequence[str] = "*", every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"every= is a number of log points from 1, given {every!r}.")
        self.names = (names,) if isinstance(names, str) else tuple(names)
        self.every = every
        self._until: int | None = None  # the engine with which it closes, by identity
        self._run: str | None = None  # the engine whose runs it serves, by name
        self._key = ""  # of its note
        self._nested: dict[int, Any] = {}  # its place when nested engines began, by identity
        self.goes_on_from: Any = None

    def on_register(self, engine: Engine) -> None:
        """Hear scalars and media."""
        engine.register_events(SCALARS_LOGGED, MEDIA_LOGGED, behind=Events.ITERATION_COMPLETED)
        engine.add_event_handler(SCALARS_LOGGED, self._hear, priority=self.priority)
        engine.add_event_handler(MEDIA_LOGGED, self._show, priority=self.priority)

    # ------------------------------------------------------------------ for subclasses

    def start_anew(self, *, again: bool) -> None:
        """Make room for a new run, ahead of :meth:`begin`.

        It is called when the outermost engine starts anew, but not for another engine that runs
        later with the same object, as a tester does behind a trainer: that adds to what is there.

        Args:
            again: whether this object has served a run of this engine before.
        """

    def begin(self, engine: Engine) -> None:
        """Open what is written to; given is the outermost engine, whose run may go on."""

    def place(self) -> Any:
        """How much it has written, in plain values; it is saved with the outermost engine."""
        return None

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Write the scalars of a log point."""

    def end(self, engine: Engine, status: str) -> None:
        """Close it; the status tells how the run ended, ``"completed"`` or ``"error"`` say.

        Given is the engine of :meth:`begin`.
        """

    # ------------------------------------------------------------------ the run

    def opened(self, engine: Engine) -> None:
        """Open with the first engine that runs; note where it stands when nested ones begin."""
        run = outermost(engine)
        if self._until is None and run.state.status == Status.RUNNING:  # else it is being closed
            if is_first():
                self._begin(run, engine)
            self._until = id(run)
            if not any(one is self for one in run.handlers.values()):
                run.add_event_handler(Events.CLOSED, self._leave, priority=self.priority)
        if engine is not run and self._until is not None and is_first():
            self._nested[id(engine)] = self.place()

    def closed(self, engine: Engine) -> None:
        """Close with the outermost engine."""
        if id(engine) == self._until:
            self._until = None
            self._nested.clear()
            if is_first():
                self.end(engine, str(engine.state.reason))
            return
        place = self._nested.pop(id(engine), None)
        if place is not None and _is_cut(engine.state):  # it will run again, from its beginning
            outermost(engine).notes.leave(self._key, place)

    def _begin(self, run: Engine, engine: Engine) -> None:
        name, known = _name_of(run), self._run
        self._run = known or name
        if run.progress.began == 0 and known in (None, name):
            self.start_anew(again=known is not None)
        self._key = self.expect(run, engine)
        self.goes_on_from = run.notes.take(self._key)
        self.begin(run)

    def expect(self, run: Engine, engine: Engine) -> str:
        """Have its place saved with the outermost engine, which will run one that it serves.

        Returns:
            the key by which it is saved.
        """
        own = self._key_in(run.handlers)
        key = own or f"{_name_of(engine)}/{self._key_in(engine.handlers)}"
        if is_first() and self.place() is not None:
            run.notes.keep(key, self.place)
        return key

    def _key_in(self, handlers: Mapping[str, Handler]) -> str | None:
        return next((key for key, one in handlers.items() if one is self), None)

    def _leave(self, engine: Engine) -> None:
        engine.remove_event_handler(self._leave, Events.CLOSED)
        self.closed(engine)

    def takes(self, engine: Engine, name: str) -> bool:
        """Whether a scalar or picture of this name is for this sink."""
        mine = any(fnmatchcase(name, pattern) for pattern in self.names)
        key = self._key_in(engine.handlers) or key_of(self)
        return mine and engine.history.allowed(name, key)

    def _hear(
        self, engine: Engine, epoch: int, on: str, number: int, scalars: dict[str, float]
    ) -> None:
        if self._until is None or (on == "iteration" and number % self.every) or not is_first():
            return
        taken = {name: value for name, value in scalars.items() if self.takes(engine, name)}
        if taken:
            run = outermost(engine)
            at = run.state.iteration, epoch if run is engine else run.state.epoch
            self.write(engine, LogPoint(_name_of(engine), _name_of(run), on, *at, taken))

    def _show(self, engine: Engine, step: int, kind: str, name: str, value: Any) -> None:
        write = getattr(self, f"write_{kind}", None)
        opened = self._until is not None and is_first()
        if opened and write is not None and self.takes(engine, name):
            write(engine, name, value, step)


def _is_cut(state: State) -> bool:
    """Whether a nested run gave way to a signal, so that its next one starts anew."""
    return state.reason == Reason.SIGNALLED and state.max_epochs is state.max_iters is None


def _name_of(engine: Engine) -> str:
    return engine.name or "engine"
