"""The scalar stream: gathered on the device, read once at each log point, sent as one event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.nested import samples_in
from ..engine.placement.ranks import gathered, world_size
from ..engine.priority import Priority
from ..engine.step.series import Reading, Series, read_all
from ..engine.stream.history import History, Statistic
from ..engine.stream.scalars import (
    METRICS_COMPUTED,
    SCALARS_LOGGED,
    VALUE_LOGGED,
    number_of,
    scalars_of,
)

__all__ = ["Scalars"]

_EVERY_50 = Events.ITERATION_COMPLETED(every=50)
_OUTPUT, _MEAN = "the step's output", "a mean over the epoch"
_BEFORE_THOSE_WHO_LOOK = 45  # behind evaluation, and ahead of early stopping and the like

Totals = dict[str, tuple[float, float]]
"""Weighted sums and sums of weights, by name."""


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
        self._history = History()
        self._origins: dict[str, str] = {}
        self._outputs: dict[str, Series] = {}  # of the step, not yet read
        self._logged: dict[str, Series] = {}  # by engine.log(), not yet read
        self._window: dict[str, list[Reading]] = {}  # read, and not yet logged
        self._metrics: dict[str, float] = {}  # computed, and not yet logged
        self._running: dict[str, Any] = {}  # metrics that change with each iteration
        self._due = False
        self._epoch_is_open = False
        self._number = 0
        self._told_at = 0  # the iteration in which gauges were asked

    def on_register(self, engine: Engine) -> None:
        """Gather in each iteration, and log when asked for."""
        completed = Events.ITERATION_COMPLETED
        engine.register_events(VALUE_LOGGED, METRICS_COMPUTED, SCALARS_LOGGED, behind=completed)
        self._history = engine.history
        self._history.keep = self.keep
        add = engine.add_event_handler
        add(VALUE_LOGGED, self._take)
        add(METRICS_COMPUTED, self._measure)
        add(completed, self._gather, priority=Priority.HIGH)
        add(Events.EPOCH_STARTED, self._begin_epoch, priority=Priority.HIGHEST)
        add(self.when, self._show, "iteration", priority=_BEFORE_THOSE_WHO_LOOK)
        for event, on in ((Events.EPOCH_COMPLETED, "epoch"), (Events.COMPLETED, "run")):
            add(event, self._show, on, priority=_BEFORE_THOSE_WHO_LOOK)
            add(event, self._log, on, priority=self.priority)
        add(completed, self._log_if_due, priority=self.priority)

    def started(self, engine: Engine) -> None:
        """Forget what an earlier run left, unless this one goes on from it."""
        if engine.state.iteration == 0:
            self._history.clear()
            for held in (self._origins, self._outputs, self._logged, self._window):
                held.clear()
            self._metrics, self._running = {}, {}
            self._due, self._epoch_is_open, self._number, self._told_at = False, False, 0, 0

    def _begin_epoch(self, engine: Engine) -> None:
        engine.history.begin_epoch()

    # ------------------------------------------------------------------ taking in

    def _gather(self, engine: Engine) -> None:
        """Take in the numbers of the step's output."""
        state, outputs = engine.state, self._outputs
        self._epoch_is_open = True
        output = state.output
        if type(output) is not dict:
            output = output if isinstance(output, Mapping) else {"output": output}
        weight = None
        for name, value in output.items():
            if value.dim() == 0 if isinstance(value, Tensor) else _is_number(value):
                if weight is None:
                    weight = self.weigh(state.batch)
                if name not in outputs:
                    self._claim(f"{self.prefix}{name}", _OUTPUT)
                    outputs[name] = Series()
                outputs[name].append(state.iteration, value, weight)

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
        if name not in self._logged:
            _check(engine, name, on, to)
            self._claim(name, f"engine.log(on={on!r})")
            self._logged[name] = Series()
        record = self._history.record(name)
        if record.on != on:
            self._claim(name, f"engine.log(on={on!r})")
            record.on = on
        record.bar, record.to = bar, to
        if not isinstance(value, Tensor) or value.numel() != 1:
            value = _number(name, value)
        self._epoch_is_open = self._epoch_is_open or on == "epoch"
        weight = self.weigh(engine.state.batch) if weight is None else weight
        self._logged[name].append(engine.state.iteration, value, weight)

    def _measure(self, engine: Engine, metrics: Mapping[str, Any], on: str) -> None:
        """Take in metrics; what are not single numbers stay where they are."""
        if on == "iteration":
            self._running.update(metrics)
            return
        numbers = scalars_of(metrics)
        self._metrics.update(numbers)
        self._note(engine, numbers, "a metric")

    def _claim(self, name: str, origin: str) -> None:
        """Refuse a name that stands for something else."""
        if (other := self._origins.setdefault(name, origin)) != origin:
            raise ValueError(
                f"{name!r} is given by {origin}, but it is the name of {other} already; give one "
                f"of them another name, or Scalars(prefix=…) to those of the step's output."
            )

    def _note(self, engine: Engine, numbers: Mapping[str, float], origin: str) -> None:
        """Put numbers that are read already into the history."""
        for name, number in numbers.items():
            self._claim(name, origin)
            self._history.record(name).extend([(engine.state.iteration, number, 1.0)])

    # ------------------------------------------------------------------ logging

    def _show(self, engine: Engine, on: str) -> None:
        """Put into the metrics what will be logged, for those who look at them before that."""
        self._due = True
        self._read()
        engine.state.metrics.update(self._means_at(on))

    def _read(self) -> None:
        """Move all from the device."""
        outputs = {f"{self.prefix}{name}": one for name, one in self._outputs.items()}
        readings = read_all({**outputs, **self._logged})
        for name, read in readings.items():
            record = self._history.record(name)
            record.extend(read)
            if record.on == "iteration":
                self._window.setdefault(name, []).extend(read)

    def _log_if_due(self, engine: Engine) -> None:
        if self._due or self._metrics:
            self._log(engine, "iteration")

    def _log(self, engine: Engine, on: str) -> None:
        """Log what is due, with what came since it was read."""
        scalars, gauges, values = dict(self._metrics), {}, {}
        if self._due:
            self._read()
            values = {name: [(i, v) for i, v, _ in read] for name, read in self._window.items()}
            means = self._means_at(on)
            of_epoch = {n: mean for n, mean in means.items() if self._origins.get(n) == _MEAN}
            self._note(engine, of_epoch, _MEAN)
            scalars = {**means, **self._current(engine), **scalars}
            gauges = self._gauges(engine)
        self._due, self._metrics, self._window = False, {}, {}
        if on != "iteration":
            self._epoch_is_open = False
        engine.state.metrics.update(scalars)
        if not (scalars or gauges):
            return
        self._number += on == "iteration"
        engine.fire_event(
            SCALARS_LOGGED,
            step=engine.state.iteration,
            epoch=engine.state.epoch,
            on=on,
            number=self._number,
            scalars={**gauges, **scalars},
            values=values,
        )

    def _means_at(self, on: str) -> dict[str, float]:
        """Means over the window, and at an epoch's end over that, over all processes."""
        totals = {name: _total(readings) for name, readings in self._window.items()}
        if on != "iteration" and self._epoch_is_open:
            for name, record in self._history.items():
                if self._origins[name] == _OUTPUT and self.epoch_suffix is not None:
                    self._claim(name + self.epoch_suffix, _MEAN)
                    totals[name + self.epoch_suffix] = record.epoch.total, record.epoch.weight
                elif record.on == "epoch":
                    totals[name] = record.epoch.total, record.epoch.weight
        return _means(totals)

    def _current(self, engine: Engine) -> dict[str, float]:
        """Running metrics as they stand, and statistics of the history."""
        running, self._running = scalars_of(self._running), {}
        self._note(engine, running, "a running metric")
        statistics = self._history.of(self.also)
        for name in statistics:
            self._claim(name, "a statistic")
        return {**running, **statistics}

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
            "window": {name: list(readings) for name, readings in self._window.items()},
            "metrics": dict(self._metrics),
            "running": dict(self._running),
            "origins": dict(self._origins),
            "history": self._history.state_dict(),
            "due": self._due,
            "epoch_is_open": self._epoch_is_open,
            "number": self._number,
            "told_at": self._told_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set all of that."""
        self._outputs, self._logged = _loaded(state["outputs"]), _loaded(state["logged"])
        self._window = {name: list(readings) for name, readings in state["window"].items()}
        self._metrics, self._origins = dict(state["metrics"]), dict(state["origins"])
        self._running = dict(state["running"])
        self._history.load_state_dict(state["history"])
        self._due, self._number = state["due"], state["number"]
        self._epoch_is_open, self._told_at = state["epoch_is_open"], state["told_at"]


def _check(engine: Engine, name: Any, on: Any, to: tuple[str, ...] | None) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"a scalar's name is a string, given {name!r}.")
    if on not in ("iteration", "epoch"):
        raise ValueError(
            f"{name!r} is logged on='iteration' or on='epoch', given {on!r}."
            f"{nearest(str(on), ('iteration', 'epoch'))}"
        )
    if unknown := [one for one in to or () if one not in engine.handlers]:
        raise ValueError(
            f"{name!r} is logged to {unknown[0]!r}, but attached to {engine!r} are "
            f"{', '.join(engine.handlers)}.{nearest(unknown[0], engine.handlers)}"
        )


def _number(name: str, value: Any) -> float:
    number = number_of(value)
    if number is None:
        shape = getattr(value, "shape", None)
        given = f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
        raise TypeError(f"{name!r} is logged as one number, given {given}; reduce it first.")
    return float(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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


def _means(totals: Totals) -> dict[str, float]:
    """Means by name, over all processes."""
    if world_size() > 1:
        joined: dict[str, list[tuple[float, float]]] = {}
        for one in gathered(totals):
            for name, pair in one.items():
                joined.setdefault(name, []).append(pair)
        totals = {n: (sum(t for t, _ in ps), sum(w for _, w in ps)) for n, ps in joined.items()}
    return {
        name: total / weight if weight else math.nan for name, (total, weight) in totals.items()
    }
