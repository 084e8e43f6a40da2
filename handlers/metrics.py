"""Metrics: of pytorch-ignite, torchmetrics and MMEngine, attached to an engine by name."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from ignite.metrics import RunningAverage
from ignite.metrics.metric import MetricUsage

from ..engine.channel import Subscription
from ..engine.data.dataset import meta_of
from ..engine.data.device import move
from ..engine.engine import Engine
from ..engine.errors import StateError, nearest
from ..engine.evaluating import check_names
from ..engine.events import Events, as_events
from ..engine.handler import Handler
from ..engine.placement.company import company_of
from ..engine.placement.ranks import world_size
from ..engine.priority import Priority
from ..engine.signature import Call, compile_call
from ..engine.step.measure import Measure
from ..engine.step.measuring import at_hand, measure_of
from ..engine.step.metric_usage import usage_of
from ..engine.stream.scalars import METRICS_COMPUTED

__all__ = ["Metrics"]

Transform = Callable[[Any], Any]
Usage = str | MetricUsage


class Metrics(Handler):
    """Computes metrics over the engine's output, into ``engine.state.metrics``.

    A metric is one of pytorch-ignite; one of torchmetrics or a collection; or an object with
    ``process(data_batch, data_samples)`` and ``compute_metrics(results)`` or ``evaluate(size)``,
    as MMEngine has them (:mod:`footplate.engine.step.measuring` says how each is given the
    output). A metric that gives values by name, as a collection does, has them stand under these;
    the same name twice is an error.

    They stand in the state before evaluation and all that looks at them: they are computed at
    priority HIGH, and then METRICS_COMPUTED fires. An epoch's single values are numbers, those
    within a mapping, too. What is computed in each iteration stays what the metric makes of it:
    pytorch-ignite waits for the device each time, and others give tensors.

    What the data set says of itself is ``engine.state.dataset_meta``, and known to the metrics
    that have such an attribute.

    Args:
        metrics: the metrics by name.
        usage: when they are computed, all alike or by name: ``"epoch"``, over each epoch, which
            is the default of most; ``"batch"``, over each batch alone; ``"running"``, after each
            batch over the epoch so far; or a usage of pytorch-ignite.
        output_transform: what makes the arguments of a metric of ``engine.state.output``, for all
            or by name. Metrics of pytorch-ignite have it themselves.
        running: functions of ``engine.state.output`` by name, whose exponential averages stand
            in the state after every iteration.
        alpha: weight of the past in these averages, from 0 to 1.

    Attributes:
        metrics: the metrics by name, with those of ``running``.
        measures: what stands in the state so far, by name, and the metric that it is of.

    Raises:
        TypeError: for what is no metric.
        ValueError: for no metric at all, and for a name given twice or unknown.

    Example:
        >>> import torch
        >>> from ignite.metrics import Accuracy
        >>> from footplate import Engine
        >>> evaluator = Engine(lambda engine, batch: batch, name="val")
        >>> metrics = evaluator.attach(Metrics({"accuracy": Accuracy()}))
        >>> y_pred, y = torch.eye(3), torch.tensor([0, 1, 1])
        >>> evaluator.run([(y_pred, y)]).metrics
        {'accuracy': 0.6666666666666666}
    """

    priority = Priority.HIGH
    for_one_engine = True
    begins_anew = True

    def __init__(
        self,
        metrics: Mapping[str, Any] | None = None,
        *,
        usage: Usage | Mapping[str, Usage] | None = None,
        output_transform: Transform | Mapping[str, Transform] | None = None,
        running: Mapping[str, Transform] | None = None,
        alpha: float = 0.98,
    ) -> None:
        if metrics is not None and not isinstance(metrics, Mapping):
            raise TypeError(
                f"metrics are given by name, as {{'accuracy': Accuracy()}}; given {metrics!r:.80}."
            )
        given = dict(metrics or {})
        usages = _by_name("usage", usage, given)
        transforms = _by_name("output_transform", output_transform, given)
        self._usages = {name: usage_of(one) for name, one in usages.items()}
        self._driven = {
            name: measure_of(name, metric, transforms.get(name)) for name, metric in given.items()
        }
        for name, transform in (running or {}).items():
            if name in given:
                raise ValueError(f"metric {name!r} is given twice; choose another name for one.")
            average = RunningAverage(output_transform=transform, alpha=alpha)
            self._driven[name] = measure_of(name, average)
        if not self._driven:
            raise ValueError("Metrics() was given no metric; give {name: metric}.")
        self.metrics = {name: one.metric for name, one in self._driven.items()}
        self.measures: dict[str, Measure] = {}
        self.subscriptions: list[Subscription] = []
        self._in_iterations: list[Callable[[Engine], None]] = []
        self._fresh: dict[str, Any] = {}  # computed on the event at hand

    def on_register(self, engine: Engine) -> None:
        """Attach each metric under its name."""
        engine.register_events(METRICS_COMPUTED, behind=Events.ITERATION_COMPLETED)
        computed_on: dict[str, None] = {}
        for name, measure in self._driven.items():
            place = _Place(engine, self, measure)
            measure.attach(place, self._usages.get(name))  # type: ignore[arg-type]
            computed_on.update(dict.fromkeys(place.computed_on))
        if self._in_iterations and world_size() > 1:
            company_of(engine).invite(self._keep_company)
        for event in computed_on:
            on = "iteration" if event == Events.ITERATION_COMPLETED else "epoch"
            engine.add_event_handler(event, self._announce, on, priority=self.priority)

    def on_unregister(self, engine: Engine) -> None:
        """Take the metrics' own handlers away, too."""
        while self.subscriptions:
            self.subscriptions.pop().remove()
        self._in_iterations = []
        if world_size() > 1:
            company_of(engine).dismiss(self._keep_company)

    def opened(self, engine: Engine) -> None:
        """Tell the metrics what the data set says of itself."""
        self.tell(engine, meta_of(engine.state.dataloader))
        for measure in self._driven.values():  # in the midst of an epoch, loaded or not
            measure.has_seen = measure.has_seen or engine.progress.epoch_iteration > 0
        self._fresh = {}

    def tell(self, engine: Engine, meta: Mapping[str, Any] | None) -> None:
        """Let the engine's state and the metrics know what the data set says of itself."""
        engine.state.dataset_meta = meta
        for measure in self._driven.values():
            measure.tell(meta)

    def state_dict(self) -> dict[str, Any]:
        """What the metrics have accumulated so far."""
        return {name: measure.state_dict() for name, measure in self._driven.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what the metrics have accumulated; the metrics must be the same."""
        if state.keys() != self.metrics.keys():
            raise StateError(f"the state has metrics {sorted(state)}, not {sorted(self.metrics)}.")
        for name, measure in self._driven.items():
            measure.load_state_dict(state[name])

    def _take(self, engine: Engine, measure: Measure, values: Mapping[str, Any]) -> None:
        """Put values of a metric into the state, unless somebody else has their name."""
        for name in values:
            if (other := self.measures.get(name)) is None:
                check_names(engine, self, {name: measure})
                self.measures[name] = measure
            elif other is not measure:
                raise ValueError(
                    f"{name!r} is computed by {other}, and by {measure}; give one of them another "
                    f"name, or a prefix."
                )
        engine.state.metrics.update(values)
        self._fresh.update(values)

    def _keep_company(self, engine: Engine) -> None:
        """Take part in what others compute of a batch, where this process has none."""
        for call in self._in_iterations:
            call(engine)
        self._announce(engine, "iteration")

    def _announce(self, engine: Engine, on: str) -> None:
        fresh, self._fresh = self._fresh, {}
        channel = engine.channels[METRICS_COMPUTED]
        if fresh and channel.calls:
            engine.emit(channel, {"metrics": fresh, "on": on})


class _Place:
    """What a metric attaches itself to in the place of the engine.

    Its handlers get a priority, and what it computes goes to the handler. They are the
    engine's own handlers all the same, so that ``metric.detach(engine)`` finds them there.

    Attributes:
        computed_on: the events on which the metric computes something.
    """

    def __init__(self, engine: Engine, metrics: Metrics, measure: Measure) -> None:
        self._engine = weakref.ref(engine)  # some metrics keep what they are attached to
        self._metrics = metrics
        self._measure = measure
        self.computed_on: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine(), name)

    def add_event_handler(
        self, event: object, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Add a handler to the engine."""
        engine: Any = self._engine()
        does = getattr(handler, "__name__", "")
        for one in as_events(event):

            def prepare(
                payload: tuple[str, ...] | None, name: str = one.name, lacking: bool = False
            ) -> Call:
                call = compile_call(handler, name, payload, args, kwargs)
                if does == "completed":
                    return self._catching(call, name)
                if does in ("iteration_completed", "update"):
                    return self._taking_in(call, handler, name, lacking)
                return self._resetting(call) if does in ("started", "reset") else call

            priority = self._metrics.priority
            added = engine.bus.signal(one).subscribe(
                handler, prepare, sender=engine, event=one, priority=priority
            )
            self._metrics.subscriptions.append(added)
            if does == "completed":
                self.computed_on.append(one.name)
            self._keeps_company(one, prepare, handler)

    def _keeps_company(self, event: Any, prepare: Callable[..., Call], handler: Any) -> None:
        """Note what of an iteration's handlers a process without a batch has to call."""
        computes = getattr(handler, "__name__", "") == "completed"
        shares = computes or self._measure.shares_update(handler)
        in_it = event == Events.ITERATION_STARTED or (
            event == Events.ITERATION_COMPLETED and shares
        )
        if in_it and event.filter is None:
            self._metrics._in_iterations.append(prepare((), lacking=True))

    def _catching(self, call: Call, event: str) -> Call:
        """Have what a call puts into the metrics of the state go to the handler."""
        waits = event != Events.ITERATION_COMPLETED
        measure = self._measure

        def computed(engine: Any, *given: Any) -> dict[str, Any]:
            state, metrics = engine.state, engine.state.metrics
            state.metrics = {}
            try:
                call(engine, *given)
                values: dict[str, Any] = state.metrics
            finally:
                state.metrics = metrics
            return at_hand(values) if waits else values

        def caught(engine: Any, *given: Any) -> None:
            what = f"{measure.name!r} on {event}"
            if measure.shares_result():
                values = measure.shared(lambda: computed(engine, *given), what=what)
            else:
                values = computed(engine, *given)
            self._metrics._take(engine, measure, values)

        return caught

    def _resetting(self, call: Call) -> Call:
        """Note that the metric has seen nothing."""

        def reset(engine: Any, *given: Any) -> None:
            call(engine, *given)
            self._measure.has_seen = False

        return reset

    def _taking_in(self, call: Call, update: Any, event: str, lacking: bool) -> Call:
        """Note that the metric has seen a batch, or what others have seen of one."""
        measure = self._measure
        if not measure.shares_update(update):

            def taken(engine: Any, *given: Any) -> None:
                call(engine, *given)
                measure.has_seen = True

            return taken
        average = update.__self__

        def averaged(engine: Any, *given: Any) -> Any:
            call(engine, *given)
            return average._value

        def shared(engine: Any, *given: Any) -> None:
            here = event == Events.ITERATION_COMPLETED or engine.progress.epoch_iteration > 0
            has = here and not lacking
            value = measure.shared(
                lambda: averaged(engine, *given),
                what=f"the average {measure.name!r} on {event}",
                takes_part=has,
            )
            if not has:  # it goes on from where the others stand
                average._value = move(value, average._device)
            measure.has_seen = True

        return shared


def _by_name(option: str, given: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """An option of all metrics or of some, by their names."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(metrics, given)
    for name in given:
        if name not in metrics:
            raise ValueError(
                f"{option}= names metric {name!r}, but there are only "
                f"{', '.join(map(repr, metrics)) or 'none'}.{nearest(str(name), metrics)}"
            )
    return dict(given)
