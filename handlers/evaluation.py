"""Evaluation: run engines on another's event."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engine.channel import Suspended
from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.evaluating import check_names, give_back, lasting, measured, report, taken
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.outermost import outermost
from ..engine.priority import Priority
from ..engine.samplers import loaders_in
from ..engine.serialization import is_plain
from ..engine.source import Source
from ..engine.stream.scalars import METRICS_COMPUTED
from ..engine.stream.sink import Sink

__all__ = ["Evaluation"]


class Evaluation(Handler):
    """Runs evaluators over their data, and takes over their metrics.

    It runs before logging, schedules, early stopping and the decision to save, so that all of
    them see fresh metrics; METRICS_COMPUTED fires when these are there. Each evaluation is a new
    run of the evaluator. What an earlier one measured and this one did not, as it was terminated,
    is taken out of the metrics.

    Several data sets are evaluated one after the other, each by its evaluator, if there are
    several, or all by the same; several evaluators may share the data. The metrics of all become
    known at once, when the last is done: ``val_clean_accuracy`` and ``val_noisy_accuracy``, say,
    of data ``{"clean": …, "noisy": …}``. An evaluation that a signal cuts goes on, when the run
    does, with the data that it was cut in, from their beginning.

    Class handlers of an evaluator that have a state are saved with the engine that is evaluated,
    and go on from there, but for those whose state is that of one run, as metrics.

    Args:
        evaluator: the engine to run; several by name or in a list.
        data: what it runs over, once each time; several by name in a dict, or a list whose
            entries are all loaders, which are named by their numbers.
        when: the event of the engine that this is attached to; with ``Events.STARTED | …`` before
            training, too.
        prefix: what the metrics' names begin with there, before an underscore; none if empty.

    Attributes:
        data: what is run over from the next evaluation on.
        measures: the names of the last metrics, and the engine that each is of.

    Raises:
        ValueError: when it runs, if there are not as many evaluators as data, or by other names;
            if two metrics come by the same name.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> evaluator = Engine(lambda engine, batch: batch, name="val")
        >>> @evaluator.on(Events.EPOCH_COMPLETED)
        ... def last(engine):
        ...     engine.state.metrics["last"] = engine.state.output
        >>> evaluation = trainer.attach(Evaluation(evaluator, [1, 2, 3]))
        >>> trainer.run([0]).metrics
        {'val_last': 3}
        >>> evaluation.data = {"few": [1], "many": [1, 2, 3, 4]}
        >>> trainer.run([0]).metrics
        {'val_few_last': 1, 'val_many_last': 4}
    """

    priority = Priority.ABOVE_NORMAL

    def __init__(
        self,
        evaluator: Engine | Mapping[str, Engine] | Sequence[Engine],
        data: Any,
        when: Event | EventList = Events.EPOCH_COMPLETED,
        *,
        prefix: str = "val",
    ) -> None:
        self.evaluator = evaluator
        self.data = data
        self.when = when
        self.prefix = f"{prefix}_" if prefix else ""
        self.name = f"evaluation_{prefix}".rstrip("_")
        self.measures: dict[str, Engine] = {}
        self._sources: dict[str, Source] = {}  # where in each data its evaluator stands
        self._reported: list[str] = []  # the names of the last metrics
        self._finished: dict[str, dict[str, Any]] = {}  # of an evaluation that a signal cut
        self._engine: Callable[[], Engine | None] = lambda: None  # what is evaluated, weakly
        self._pairs()

    def on_register(self, engine: Engine) -> None:
        """Evaluate on the event asked for."""
        if any(engine is evaluator for evaluator, _ in self._pairs().values()):
            raise ValueError(f"{engine!r} can't evaluate itself; attach this to the trainer.")
        self._engine = weakref.ref(engine)
        engine.register_events(METRICS_COMPUTED, behind=Events.ITERATION_COMPLETED)
        engine.add_event_handler(self.when, self._evaluate, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Have the places of the evaluators' own sinks saved with the run, before they open."""
        for evaluator in self._evaluators().values():
            for one in evaluator.handlers.values():
                if isinstance(one, Sink):
                    one.expect(outermost(engine), evaluator)

    def started(self, engine: Engine) -> None:
        """Forget an evaluation that was cut, as the run does not go on with it."""
        self._finished = {}

    def state_dict(self) -> dict[str, Any]:
        """What the data keep between passes: an order of their own, a generator.

        And the names of what was measured last; of an evaluation that was cut, what the runs that
        were over have measured; and of evaluators the states of their handlers, if any has one.
        """
        state = {
            "data": {name: source.state_dict() for name, source in self._sources.items()},
            "reported": list(self._reported),
            "finished": dict(self._finished) if is_plain(self._finished) else {},
        }
        handlers = {
            name: {key: handler.state_dict() for key, handler in found.items()}
            for name, evaluator in self._evaluators().items()
            if (found := lasting(evaluator, self._engine()))
        }
        return {**state, "handlers": handlers} if handlers else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have data, handlers of evaluators, and an evaluation that was cut, go on from there.

        Handlers without a state there, as of a run that was saved without them, stay as they are.
        """
        self._sources = {name: Source(state=one) for name, one in state["data"].items()}
        self._reported = list(state["reported"])
        self._finished = dict(state["finished"])
        given = state.get("handlers", {})
        for name, evaluator in self._evaluators().items():
            self._give_back(evaluator, given.get(name, {}))

    def _give_back(self, evaluator: Engine, states: Mapping[str, Any]) -> None:
        handlers = lasting(evaluator, self._engine())
        for key in sorted(handlers.keys() ^ states.keys()):
            one = f"handler {key!r} of {evaluator!r}"
            told = (
                f"there is no state of {one}, which begins anew."
                if key in handlers
                else f"there is a state of {one}, but no such handler any longer, so it is left; "
                f"attach it if it was to go on."
            )
            warnings.warn(told, RuntimeWarning, stacklevel=3)
        give_back(evaluator, handlers, {key: states[key] for key in handlers if key in states})

    def _evaluate(self, engine: Engine) -> None:
        pairs = self._pairs()
        try:
            for name, (evaluator, data) in pairs.items():
                if name not in self._finished:
                    self._finished[name] = self._measured(name, evaluator, data)
        except Suspended:  # those that are finished are not run again
            raise
        except BaseException:
            self._finished = {}
            raise
        finished, self._finished = self._finished, {}
        metrics: dict[str, Any] = {}
        self.measures = {}
        for name, (evaluator, _) in pairs.items():
            start = f"{self.prefix}{name}_" if name else self.prefix
            for key, value in finished[name].items():
                if start + key in metrics:
                    raise ValueError(
                        f"{start + key!r} is measured by {self.measures[start + key]} and, as "
                        f"{name!r}, by {evaluator}; give the data or the metrics other names."
                    )
                metrics[start + key], self.measures[start + key] = value, evaluator
        check_names(engine, self, self.measures)
        report(engine, metrics, before=self._reported)
        self._reported = list(metrics)

    def _measured(self, name: str, evaluator: Engine, data: Any) -> dict[str, Any]:
        handlers = lasting(evaluator, self._engine())
        before = taken(handlers)
        evaluator.source = self._sources.get(name, evaluator.source)
        try:
            return measured(evaluator, data)
        except Suspended:  # it runs whole when the run goes on
            give_back(evaluator, handlers, before)
            raise
        finally:
            self._sources[name] = evaluator.source

    def _evaluators(self) -> dict[str, Engine]:
        """Evaluators by name; one alone has the empty name."""
        return _several(self.evaluator, _is_engine) or {"": self.evaluator}

    def _pairs(self) -> dict[str, tuple[Engine, Any]]:
        """Evaluators with their data by name; one alone has the empty name."""
        evaluators, data = _several(self.evaluator, _is_engine), _several(self.data, _is_loader)
        for name, one in (evaluators or {"": self.evaluator}).items():
            if not _is_engine(one):
                raise TypeError(f"evaluator {name!r} is an Engine, given {one!r:.80}.")
        if evaluators is None and data is None:
            return {"": (self.evaluator, self.data)}  # type: ignore[dict-item]
        if evaluators is None:
            evaluators = dict.fromkeys(data or {}, self.evaluator)
        if data is None:
            data = dict.fromkeys(evaluators, self.data)
        for name in evaluators.keys() ^ data.keys():
            here, there = ("data", evaluators) if name in data else ("an evaluator", data)
            raise ValueError(
                f"evaluation has {here} named {name!r}, but the other has "
                f"{', '.join(map(repr, there))}; give one for each.{nearest(name, there)}"
            )
        return {name: (evaluator, data[name]) for name, evaluator in evaluators.items()}


def _several(given: Any, is_one: Any) -> dict[str, Any] | None:
    """Several things by name; ``None`` if it is one."""
    if isinstance(given, Mapping):
        return {str(name): one for name, one in given.items()}
    if isinstance(given, (list, tuple)) and given and all(map(is_one, given)):
        return {str(number): one for number, one in enumerate(given)}
    return None


def _is_engine(one: Any) -> bool:
    return isinstance(one, Engine)


def _is_loader(one: Any) -> bool:
    return next(loaders_in(one), None) is not None or hasattr(one, "make_passes")
