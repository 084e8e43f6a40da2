"""The scalar stream: gathered on the device, read once at each log point, sent as one event."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.nested import samples_in
from ..engine.outermost import outermost
from ..engine.placement.agreement import anywhere
from ..engine.placement.ranks import is_first, world_size
from ..engine.placement.reducing import Totals, means_over_ranks, statistics_over_ranks
from ..engine.priority import Priority
from ..engine.state import Next
from ..engine.step.gathered import MEAN_OF_AN_EPOCH, Gathered
from ..engine.step.measured import Measured
from ..engine.step.series import Reading
from ..engine.stream.history import History, Statistic
from ..engine.stream.names import Names
from ..engine.stream.scalars import METRICS_COMPUTED, SCALARS_LOGGED, VALUE_LOGGED
from ..engine.stream.sink import Sink

__all__ = ["Scalars"]

_logger = logging.getLogger("footplate.scalars")

_EVERY_50 = Events.ITERATION_COMPLETED(every=50)
_BEFORE_THOSE_WHO_LOOK = 45  # behind evaluation, and ahead of early stopping and the like


class Scalars(Handler):
    """Gathers what the step reports and what ``engine.log()`` is given, and logs it in points.

    Of a step's output it takes what is one number, in a tensor of one element or not, and that of
    nested mappings, ``"losses/box"`` say. Between two log points tensors stay on their device: no
    operation is run on the fresh result of one, and nothing waits for the device. At a log point
    all are read at once, and one event, ``SCALARS_LOGGED``, hands on by name

    - the means of what came since the log point before, weighted by samples;
    - gauges: what each attached handler that has a method ``gauges(engine)`` tells, as learning
      rates and times;
    - metrics that were computed meanwhile, and statistics of the history.

    With an epoch it hands on means over that: of the step's numbers as ``loss_epoch``, of those
    logged with ``on="epoch"`` by their own names. Over several processes means are taken over all
    of them. All but gauges stand in ``engine.state.metrics`` before early stopping and the like
    look; all are in ``engine.history``. What is logged behind a log point, or before training, is
    logged at the next event of the epoch. A NaN makes a mean NaN.

    Args:
        when: the log points; besides, the end of each epoch and of the run is one.
        prefix: what the names of the step's numbers begin with.
        also: statistics of the history, by the names that they are logged under.
        gauges: functions that tell a number each, by name; called at log points.
        weigh: what a batch weighs in means; by default the samples in it.
        epoch_suffix: what the names of the step's means over an epoch end with; ``None`` for no
            such means.
        keep: how many values of a scalar the history keeps one by one.

    Raises:
        ValueError: when two values of different origin go by one name; when a value is logged for
            a sink that is not attached; when a tensor was written to in place before it was read.
        TypeError: when a value is logged that is not one number.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> scalars = trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
        >>> @trainer.on("SCALARS_LOGGED")
        ... def show(engine, on, scalars):
        ...     print(engine.state.iteration, on, scalars)
        >>> state = trainer.run([4.0, 2.0, 9.0])
        2 iteration {'loss': 3.0}
        3 epoch {'loss': 9.0, 'loss_epoch': 5.0}
    """

    priority = Priority.BELOW_NORMAL
    for_one_engine = True

    def __init__(
        self,
        when: Event | EventList = _EVERY_50,
        *,
        prefix: str = "",
        also: Mapping[str, Statistic] | None = None,
        gauges: Mapping[str, Callable[[], float]] | None = None,
        weigh: Callable[[Any], float | Tensor] = samples_in,
        epoch_suffix: str | None = "_epoch",
        keep: int = 1000,
    ) -> None:
        self.when = when
        self.prefix = prefix
        self.also = dict(also or {})
        self.own_gauges = dict(gauges or {})
        self.weigh = weigh
        self.epoch_suffix = epoch_suffix
        self.keep = keep
        for name, one in self.also.items():
            if isinstance(one.window, int) and one.window > keep:
                raise ValueError(
                    f"{name!r} looks at the last {one.window} values, but keep={keep} of them are "
                    f"kept; give Scalars(keep={one.window})."
                )
        self._history = History()
        self._names = Names()
        self._gathered = Gathered(
            self._names, prefix=prefix, epoch_suffix=epoch_suffix, weigh=weigh
        )
        self._measured = Measured(self._names)
        self._pending: dict[str, list[Reading]] = {}  # read, and not yet logged
        self._fresh: set[str] = set()  # what came since an epoch was logged
        self._said_nothing = False  # whether there was nothing to log, and that was said
        self._has_metrics = False  # whether the engine has metrics of its own
        self._shown: tuple[str, dict[str, float]] | None = None  # means that stand in the metrics
        self._due = False
        self._number = 0  # of log points of iterations
        self._told_at = 0  # the iteration in which gauges were asked

    def on_register(self, engine: Engine) -> None:
        """Gather in each iteration, and log when asked for."""
        completed = Events.ITERATION_COMPLETED
        engine.register_events(VALUE_LOGGED, METRICS_COMPUTED, SCALARS_LOGGED, behind=completed)
        self._history = engine.history
        self._history.keep = self.keep
        add = engine.add_event_handler
        add(Events.OPENED, self._begin_run, priority=Priority.HIGHEST)
        add(Events.EPOCH_STARTED, self._begin_epoch, priority=Priority.HIGHEST)
        add(VALUE_LOGGED, self._take)
        add(METRICS_COMPUTED, self._measure)
        add(completed, self._gather, priority=Priority.HIGH)
        add(self.when, self._show, "iteration", priority=_BEFORE_THOSE_WHO_LOOK)
        add(completed | Events.STARTED, self._log_if_due, priority=self.priority)
        add(Events.STARTED, self._log_what_is_late, "epoch", priority=Priority.LOWEST)
        for event, on in ((Events.EPOCH_COMPLETED, "epoch"), (Events.COMPLETED, "run")):
            add(event, self._show, on, priority=_BEFORE_THOSE_WHO_LOOK)
            add(event, self._log, on, priority=self.priority)
            add(event, self._log_what_is_late, on, priority=Priority.LOWEST)
        add(Events.EXCEPTION_RAISED, self._log_what_is_left, priority=Priority.HIGHEST)

    def _begin_run(self, engine: Engine) -> None:
        """Forget what an earlier run left, unless this one goes on from it."""
        if engine.progress.next is not Next.STARTED or engine.state.iteration:
            return
        self._history.clear()
        for held in (self._names, self._gathered, self._measured, self._pending, self._fresh):
            held.clear()
        self._shown, self._has_metrics = None, False
        self._due, self._number, self._told_at = False, 0, 0
        for name in self.also:
            self._names.claim(name, "a statistic")

    def _begin_epoch(self, engine: Engine) -> None:
        """Log what the epoch before has left behind its end, and begin the means of this one."""
        self._log_what_is_late(engine, "epoch")
        self._fresh.clear()
        self._history.begin_epoch()

    # ------------------------------------------------------------------ taking in

    def _gather(self, engine: Engine) -> None:
        self._gathered.of_step(engine.state)

    def _take(
        self,
        engine: Engine,
        name: str,
        value: Any,
        on: str,
        weight: Any,
        bar: bool,
        to: tuple[str, ...] | None,
    ) -> None:
        """Take in what ``engine.log()`` was given."""
        record = self._history.record(name)
        if name not in self._gathered.logged or record.on != on or record.to != to:
            _check(engine, name, on, to)
            self._names.claim(name, f"engine.log(on={on!r})")
            record.on, record.to = on, to
        record.bar = bar
        self._gathered.by_hand(engine.state, name, value, weight)

    def _measure(self, engine: Engine, metrics: Mapping[str, Any], on: str) -> None:
        """Take in metrics; what are not single numbers stay where they are."""
        if metrics.keys() - engine.state.measured.keys():
            self._has_metrics = True
        self._measured.take(metrics, on)

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        """Move all from the device."""
        for name, read in self._gathered.read().items():
            self._pending.setdefault(name, []).extend(read)
            self._fresh.add(name)
            self._shown = None

    def _commit(self) -> dict[str, list[Reading]]:
        """Put into the history what was read, and hand it on."""
        read, self._pending = self._pending, {}
        for name, readings in read.items():
            self._history.record(name).extend(readings)
        return read

    def _note(self, engine: Engine, numbers: Mapping[str, float], origin: str) -> None:
        """Put numbers that are read already into the history."""
        for name, number in numbers.items():
            self._names.claim(name, origin)
            self._history.record(name).extend([(engine.state.iteration, number, 1.0)])

    def _window(self) -> Totals:
        """What means are made of that are logged with each log point."""
        by_hand = self._logged_on_epoch()
        return {n: _total(r) for n, r in self._pending.items() if n not in by_hand}

    def _logged_on_epoch(self) -> list[str]:
        logged = self._gathered.logged
        return [name for name in logged if self._history.record(name).on == "epoch"]

    def _epoch(self, *, ended: bool) -> Totals:
        """What means over the epoch are made of, what is pending included.

        The step's numbers have one only of an epoch that ended as such.
        """
        names = {name: name for name in self._logged_on_epoch()}
        if ended and self.epoch_suffix is not None:
            outputs = (f"{self.prefix}{name}" for name in self._gathered.outputs)
            names.update((name, f"{name}{self.epoch_suffix}") for name in outputs)
        totals = {}
        for name, shown in names.items():
            if name in self._fresh:
                total, weight = _total(self._pending.get(name, ()))
                sums = self._history.record(name).epoch
                totals[shown] = sums.total + total, sums.weight + weight
        return totals

    # ------------------------------------------------------------------ logging

    def _show(self, engine: Engine, on: str) -> None:
        """Put into the metrics what will be logged, for those who look at them before that."""
        self._due = True
        self._read()
        self._shown = on, self._means(engine, on)
        engine.state.metrics.update(self._shown[1])
        if not self._said_nothing:
            self._say_nothing(engine)

    def _say_nothing(self, engine: Engine) -> None:
        """Warn once of a step whose output nobody takes for numbers, if there are no others."""
        output = engine.state.output
        if output is None or self._gathered.known or self._has_metrics:
            return
        self._said_nothing = True
        _logger.warning(
            "%r has nothing to log: the output of its step is a %s without a single number; "
            "return a number, or a mapping from names to numbers, or call engine.log().",
            engine,
            type(output).__name__,
        )

    def _means(self, engine: Engine, on: str, *, late: bool = False) -> dict[str, float]:
        totals = self._window()
        if on != "iteration":
            totals.update(self._epoch(ended=not late))
        return means_over_ranks(totals, point=f"{on} {engine.state.iteration}")

    def _log_if_due(self, engine: Engine) -> None:
        if self._due or self._measured.of_pass:
            self._log(engine, "iteration")

    def _log_what_is_late(self, engine: Engine, on: str) -> None:
        """Log what came behind the log point; every process does if one of them has to."""
        waiting = self._measured.of_pass or self._pending or self._gathered.waiting
        if anywhere(bool(waiting)):
            self._due = True
            self._log(engine, on, late=True)

    def _log_what_is_left(self, engine: Engine, exception: BaseException) -> None:
        """Log what came before an error, as it may tell why; never together with others."""
        self._gathered.drop_behind(engine.progress.iteration)
        for name, read in self._pending.items():
            self._pending[name] = [one for one in read if one[0] <= engine.progress.iteration]
        self._due, self._measured.of_pass = False, {}
        if world_size() == 1 and self._gathered.waiting:
            with suppress(Exception):  # the error under way counts
                self._due = True
                self._log(engine, "run")

    def _log(self, engine: Engine, on: str, *, late: bool = False) -> None:
        """Log what is due, with what came since it was read."""
        scalars, gauges, values = dict(self._measured.of_pass), {}, {}
        self._note(engine, scalars, "a metric")
        number = 0  # of a point for metrics alone
        if self._due:
            self._number += on == "iteration"
            number = self._number
            self._read()
            means = self._means_now(engine, on, late)
            values = {name: [(i, v) for i, v, _ in read] for name, read in self._commit().items()}
            over = {
                name: one
                for name, one in means.items()
                if self._names.origin(name) == MEAN_OF_AN_EPOCH
            }
            self._note(engine, over, MEAN_OF_AN_EPOCH)
            if late:
                scalars = {**means, **scalars}
            elif means or on != "run":  # else there is nothing new at the end of the run
                scalars = {**means, **self._current(engine, on), **scalars}
                gauges = self._gauges(engine)
        self._due, self._measured.of_pass = False, {}
        if on != "iteration":
            self._fresh.clear()
        engine.state.metrics.update(scalars)
        if scalars or gauges:
            engine.fire_event(
                SCALARS_LOGGED,
                step=engine.state.iteration,
                epoch=engine.progress.epoch,  # at EPOCH_STARTED that which has ended
                on=on,
                number=number,
                scalars={**gauges, **scalars},
                values=values,
            )

    def _means_now(self, engine: Engine, on: str, late: bool) -> dict[str, float]:
        """The means that were shown, if they are all that there is; other processes may differ."""
        shown, self._shown = self._shown, None
        if shown is not None and shown[0] == on and world_size() == 1:
            return shown[1]
        return self._means(engine, on, late=late)

    def _current(self, engine: Engine, on: str) -> dict[str, float]:
        """Running metrics as they stand, and statistics of the history."""
        running = self._measured.take_running()
        self._note(engine, running, "a running metric")
        if on == "epoch":
            for name, one in self.also.items():
                if one.of not in self._history:
                    hint = nearest(one.of, self._history)
                    raise ValueError(f"{name!r} is of {one.of!r}, which was never logged.{hint}")
        return {**running, **statistics_over_ranks(self._history, self.also)}

    def _gauges(self, engine: Engine) -> dict[str, float]:
        """What can be told without a wait, once in an iteration; these are no metrics."""
        if self._told_at == engine.state.iteration:
            return {}
        self._told_at = engine.state.iteration
        told = {"gauges=": {name: float(gauge()) for name, gauge in self.own_gauges.items()}}
        for key, handler in engine.handlers.items():
            if (gauges := getattr(handler, "gauges", None)) is not None:
                told[key] = gauges(engine)
        for key, numbers in told.items():
            self._note(engine, numbers, f"a gauge of {key}")
        return {name: value for numbers in told.values() for name, value in numbers.items()}

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """What was gathered and not yet logged, and the history."""
        return {
            **self._gathered.state_dict(),
            **self._measured.state_dict(),
            "pending": {name: list(readings) for name, readings in self._pending.items()},
            "fresh": sorted(self._fresh),
            "history": self._history.state_dict(),
            "due": self._due,
            "number": self._number,
            "told_at": self._told_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set all of that."""
        self._names.clear()  # those of the step are claimed now, and others when they come
        for name in self.also:
            self._names.claim(name, "a statistic")
        self._gathered.load_state_dict(state)
        self._measured.load_state_dict(state)
        self._pending = {name: list(readings) for name, readings in state["pending"].items()}
        self._fresh = set(state["fresh"])
        self._history.load_state_dict(state["history"])
        self._due, self._number = state["due"], state["number"]
        self._told_at = state["told_at"]
        self._shown = None


def _check(engine: Engine, name: Any, on: Any, to: tuple[str, ...] | None) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"a scalar's name is a string, given {name!r}.")
    if on not in ("iteration", "epoch"):
        raise ValueError(
            f"{name!r} is logged on='iteration' or on='epoch', given {on!r}."
            f"{nearest(str(on), ('iteration', 'epoch'))}"
        )
    if to is not None and is_first():  # others may lack the sinks, and write nothing
        _check_sinks(engine, name, to)


def _check_sinks(engine: Engine, name: str, to: tuple[str, ...]) -> None:
    """Refuse a sink that neither the engine has nor the one that runs it; none is as good as any.

    What a model logs for the trainer's sinks it logs in a validation, too, which may have none.
    """
    several = {**outermost(engine).handlers, **engine.handlers}
    sinks = [key for key, one in several.items() if isinstance(one, Sink)]
    unknown = [one for one in to if one not in sinks]
    if sinks and unknown:
        raise ValueError(
            f"{name!r} is logged to {unknown[0]!r}, but the sinks of {engine!r} are "
            f"{', '.join(sinks)}.{nearest(unknown[0], sinks)}"
        )


def _total(readings: Iterable[Reading]) -> tuple[float, float]:
    """The weighted sum and the sum of weights, summed exactly where that can be."""
    products = [value * weight for _, value, weight in readings]
    weights = sum([weight for _, _, weight in readings])
    try:
        return math.fsum(products), weights
    except (OverflowError, ValueError):  # of infinities of both signs
        return sum(products), weights
