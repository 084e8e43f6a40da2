"""The scalar stream: gathered on the device, read once at each log point, sent as one event."""

from __future__ import annotations

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
from ..engine.placement.ranks import world_size
from ..engine.placement.reducing import Totals, means_over_ranks, statistics_over_ranks
from ..engine.priority import Priority
from ..engine.state import Next
from ..engine.step.series import Reading, Series, read_all
from ..engine.stream.history import History, Statistic
from ..engine.stream.scalars import (
    METRICS_COMPUTED,
    SCALARS_LOGGED,
    VALUE_LOGGED,
    number_of,
    scalars_of,
)
from ..engine.stream.sink import Sink

__all__ = ["Scalars"]

_EVERY_50 = Events.ITERATION_COMPLETED(every=50)
_MEAN = "a mean over the epoch"
_BEFORE_THOSE_WHO_LOOK = 45  # behind evaluation, and ahead of early stopping and the like


class Scalars(Handler):
    """Gathers what the step reports and what ``engine.log()`` is given, and logs it in points.

    Between two log points tensors stay on their device: no operation is run on them, and nothing
    waits for the device. At a log point all are read at once, and one event, ``SCALARS_LOGGED``,
    hands on by name

    - the means of what came since the log point before, weighted by samples;
    - gauges: what each attached handler that has a method ``gauges(engine)`` tells, as learning
      rates and times;
    - metrics that were computed meanwhile, and statistics of the history.

    With an epoch it hands on means over that: of the step's numbers as ``loss_epoch``, of those
    logged with ``on="epoch"`` by their own names. Over several processes means are taken over all
    of them. All but gauges stand in ``engine.state.metrics`` before early stopping and the like
    look; all are in ``engine.history``. A tensor must not be written to before it is read. A NaN
    makes a mean NaN.

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
            a sink that is not attached.
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
        self._origins: dict[str, str] = {}
        self._outputs: dict[str, Series] = {}  # of the step, not yet read
        self._logged: dict[str, Series] = {}  # by engine.log(), not yet read
        self._pending: dict[str, list[Reading]] = {}  # read, and not yet logged
        self._fresh: set[str] = set()  # what came since an epoch was logged
        self._metrics: dict[str, float] = {}  # computed, and not yet logged
        self._running: dict[str, Any] = {}  # metrics that change with each iteration
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
        for held in (self._origins, self._outputs, self._logged, self._pending):
            held.clear()
        self._fresh, self._metrics, self._running = set(), {}, {}
        self._due, self._number, self._told_at = False, 0, 0
        for name in self.also:
            self._claim(name, "a statistic")

    def _begin_epoch(self, engine: Engine) -> None:
        """Begin its means; what an epoch without an end has left belongs to that."""
        self._read()
        self._commit()
        self._fresh.clear()
        self._history.begin_epoch()

    # ------------------------------------------------------------------ taking in

    def _gather(self, engine: Engine) -> None:
        """Take in the numbers of the step's output."""
        state, outputs = engine.state, self._outputs
        output = state.output
        if type(output) is not dict:
            output = output if isinstance(output, Mapping) else {"output": output}
        weight = None
        for name, value in output.items():
            if value.dim() == 0 if isinstance(value, Tensor) else _is_number(value):
                if weight is None:
                    weight = self.weigh(state.batch)
                if name not in outputs:
                    self._claim_output(name)
                    outputs[name] = Series()
                outputs[name].append(state.iteration, value, weight)

    def _claim_output(self, name: str) -> None:
        self._claim(f"{self.prefix}{name}", "the step's output")
        if self.epoch_suffix is not None:
            self._claim(f"{self.prefix}{name}{self.epoch_suffix}", _MEAN)

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
        series = self._logged.get(name)
        record = self._history.record(name)
        if series is None or record.on != on or record.to != to:
            _check(engine, name, on, to)
            self._claim(name, f"engine.log(on={on!r})")
            series = self._logged.setdefault(name, Series())
            record.on, record.to = on, to
        record.bar = bar
        weight = self.weigh(engine.state.batch) if weight is None else _single(weight, name)
        series.append(engine.state.iteration, _single(value, name), weight)

    def _measure(self, engine: Engine, metrics: Mapping[str, Any], on: str) -> None:
        """Take in metrics; what are not single numbers stay where they are."""
        if on == "epoch":
            self._metrics.update(scalars_of(metrics))
            return
        for name, value in metrics.items():  # tensors are read when they are logged
            single = value.numel() == 1 if isinstance(value, Tensor) else _is_number(value)
            if single:
                self._running[name] = value if isinstance(value, Tensor) else float(value)

    def _claim(self, name: str, origin: str) -> None:
        """Refuse a name that stands for something else."""
        if (other := self._origins.setdefault(name, origin)) != origin:
            raise ValueError(
                f"{name!r} is given by {origin}, but it is the name of {other} already; give one "
                f"of them another name, or Scalars(prefix=…) to those of the step's output."
            )

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        """Move all from the device."""
        outputs = {f"{self.prefix}{name}": one for name, one in self._outputs.items()}
        for name, read in read_all({**outputs, **self._logged}).items():
            self._pending.setdefault(name, []).extend(read)
            self._fresh.add(name)

    def _commit(self) -> dict[str, list[Reading]]:
        """Put into the history what was read, and hand it on."""
        read, self._pending = self._pending, {}
        for name, readings in read.items():
            self._history.record(name).extend(readings)
        return read

    def _note(self, engine: Engine, numbers: Mapping[str, float], origin: str) -> None:
        """Put numbers that are read already into the history."""
        for name, number in numbers.items():
            self._claim(name, origin)
            self._history.record(name).extend([(engine.state.iteration, number, 1.0)])

    def _window(self) -> Totals:
        """What means are made of that are logged with each log point."""
        by_hand = {name for name in self._logged if self._history.record(name).on == "epoch"}
        return {n: _total(r) for n, r in self._pending.items() if n not in by_hand}

    def _epoch(self) -> Totals:
        """What means over the epoch are made of, what is pending included."""
        names = {name: name for name in self._logged if self._history.record(name).on == "epoch"}
        if self.epoch_suffix is not None:
            outputs = (f"{self.prefix}{name}" for name in self._outputs)
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
        engine.state.metrics.update(self._means(engine, on))

    def _means(self, engine: Engine, on: str) -> dict[str, float]:
        totals = self._window() if on == "iteration" else {**self._window(), **self._epoch()}
        return means_over_ranks(totals, point=f"{on} {engine.state.iteration}")

    def _log_if_due(self, engine: Engine) -> None:
        if self._due or self._metrics:
            self._log(engine, "iteration")

    def _log_what_is_late(self, engine: Engine, on: str) -> None:
        """Log what a handler behind the log point has logged."""
        if self._metrics or any(map(len, self._logged.values())):
            self._due = True
            self._log(engine, on)

    def _log_what_is_left(self, engine: Engine, exception: BaseException) -> None:
        """Log what came before an error, as it may tell why; never together with others."""
        for series in (*self._outputs.values(), *self._logged.values()):
            series.drop_behind(engine.progress.iteration)  # it will be run again
        for name, read in self._pending.items():
            self._pending[name] = [one for one in read if one[0] <= engine.progress.iteration]
        self._due, self._metrics = False, {}
        if world_size() == 1 and any(map(len, (*self._outputs.values(), *self._logged.values()))):
            with suppress(Exception):  # the error under way counts
                self._due = True
                self._log(engine, "run")

    def _log(self, engine: Engine, on: str) -> None:
        """Log what is due, with what came since it was read."""
        scalars, gauges, values = dict(self._metrics), {}, {}
        self._note(engine, self._metrics, "a metric")
        number = 0  # of a point for metrics alone
        if self._due:
            self._number += on == "iteration"
            number = self._number
            self._read()
            means = self._means(engine, on)
            values = {name: [(i, v) for i, v, _ in read] for name, read in self._commit().items()}
            over = {name: one for name, one in means.items() if self._origins.get(name) == _MEAN}
            self._note(engine, over, _MEAN)
            if means or on != "run":  # else there is nothing new at the end of the run
                scalars = {**means, **self._current(engine, on), **scalars}
                gauges = self._gauges(engine)
        self._due, self._metrics = False, {}
        if on != "iteration":
            self._fresh.clear()
        engine.state.metrics.update(scalars)
        if scalars or gauges:
            engine.fire_event(
                SCALARS_LOGGED,
                step=engine.state.iteration,
                epoch=engine.state.epoch,
                on=on,
                number=number,
                scalars={**gauges, **scalars},
                values=values,
            )

    def _current(self, engine: Engine, on: str) -> dict[str, float]:
        """Running metrics as they stand, and statistics of the history."""
        running, self._running = scalars_of(self._running), {}
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
            "outputs": {name: series.state_dict() for name, series in self._outputs.items()},
            "logged": {name: series.state_dict() for name, series in self._logged.items()},
            "pending": {name: list(readings) for name, readings in self._pending.items()},
            "fresh": sorted(self._fresh),
            "metrics": dict(self._metrics),
            "running": dict(self._running),
            "history": self._history.state_dict(),
            "due": self._due,
            "number": self._number,
            "told_at": self._told_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set all of that."""
        self._outputs, self._logged = _loaded(state["outputs"]), _loaded(state["logged"])
        self._pending = {name: list(readings) for name, readings in state["pending"].items()}
        self._fresh = set(state["fresh"])
        self._metrics, self._running = dict(state["metrics"]), dict(state["running"])
        self._history.load_state_dict(state["history"])
        self._due, self._number = state["due"], state["number"]
        self._told_at = state["told_at"]
        self._origins = dict.fromkeys(self.also, "a statistic")  # others claim their names anew
        for name in self._outputs:
            self._claim_output(name)


def _check(engine: Engine, name: Any, on: Any, to: tuple[str, ...] | None) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"a scalar's name is a string, given {name!r}.")
    if on not in ("iteration", "epoch"):
        raise ValueError(
            f"{name!r} is logged on='iteration' or on='epoch', given {on!r}."
            f"{nearest(str(on), ('iteration', 'epoch'))}"
        )
    sinks = [key for key, one in engine.handlers.items() if isinstance(one, Sink)]
    if unknown := [one for one in to or () if one not in sinks]:
        raise ValueError(
            f"{name!r} is logged to {unknown[0]!r}, but the sinks of {engine!r} are "
            f"{', '.join(sinks) or 'none'}.{nearest(unknown[0], sinks)}"
        )


def _single(value: Any, name: str) -> Tensor | float:
    """A tensor with one element as it is, and any other real number as a float."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value
    number = None if isinstance(value, Tensor) else number_of(value)
    if number is None:
        shape = getattr(value, "shape", None)
        given = f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
        raise TypeError(f"{name!r} is logged as one number, given {given}; reduce it first.")
    return float(number)


def _is_number(value: Any) -> bool:
    """Whether it is one real number, numpy's included."""
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    return getattr(value, "ndim", None) == 0 and getattr(value.dtype, "kind", "") in "iuf"


def _loaded(state: Mapping[str, Any]) -> dict[str, Series]:
    series = {name: Series() for name in state}
    for name, one in state.items():
        series[name].load_state_dict(one)
    return series


def _total(readings: Iterable[Reading]) -> tuple[float, float]:
    """The weighted sum and the sum of weights, summed exactly where that can be."""
    products = [value * weight for _, value, weight in readings]
    finite = all(map(math.isfinite, products))
    return math.fsum(products) if finite else sum(products), sum(w for _, _, w in readings)
