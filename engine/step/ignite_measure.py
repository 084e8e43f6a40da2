"""Measures of pytorch-ignite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ignite.metrics import RunningAverage
from ignite.metrics import metric as ignite

from ..nested import leaves
from ..placement.ignite_world import ignite_world
from ..placement.together import ALONE, Exchange, together
from .measure import Measure

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["IgniteMeasure"]

T = TypeVar("T")


class IgniteMeasure(Measure):
    """A metric of pytorch-ignite, which attaches itself, and the metrics that it is made of.

    Those that take an event in the place of a usage, as ``Frequency`` does, are told the event on
    which they are computed. Over several processes they reduce what they have by
    ``ignite.distributed``, which sees the processes that have any samples.
    """

    def shared(self, compute: Callable[[], T], *, what: str, takes_part: bool | None = None) -> T:
        """What a function computes of the metric, over all processes that have samples."""

        def among(exchange: Exchange) -> T:
            _forget_results(self.metric)
            with ignite_world(exchange):
                return compute()

        takes_part = self.has_seen if takes_part is None else takes_part
        return together(among, takes_part=takes_part, what=what)

    def shares_update(self, update: Callable[..., Any]) -> bool:
        """Running averages take in what the output of all processes comes to."""
        return isinstance(getattr(update, "__self__", None), RunningAverage)

    def shares_result(self) -> bool:
        """Running averages stand where those of all processes stand."""
        return not isinstance(self.metric, RunningAverage)

    def state_dict(self) -> dict[str, Any]:
        """What the metric has accumulated in this process; pytorch-ignite would gather all."""
        with ignite_world(ALONE):
            return super().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what the metric has accumulated in this process."""
        for one in state.values():  # of each process, by pytorch-ignite's own form
            _make_room(self.metric, one[0] if isinstance(one, list) and one else {})
        with ignite_world(ALONE):
            super().load_state_dict(state)

    def attach(self, engine: Engine, usage: ignite.MetricUsage | None = None) -> None:
        """Have the metric attach itself.

        Raises:
            ValueError: for a usage that the metric has no way to follow.
        """
        if usage is None:
            self.metric.attach(engine, self.name)
        elif "event_name" in inspect.signature(self.metric.attach).parameters:
            if type(usage) not in (ignite.EpochWise, ignite.SingleEpochRunningBatchWise):
                raise ValueError(
                    f"{self} is counted over an epoch: its usage is 'epoch' or 'running', given "
                    f"{type(usage).__name__}; or leave it out."
                )
            self.metric.attach(engine, self.name, usage.COMPLETED)
        else:
            self.metric.attach(engine, self.name, usage)


def _inner(metric: ignite.Metric) -> Iterator[ignite.Metric]:
    """The metrics of pytorch-ignite that one is made of."""
    held = vars(metric)
    made_of = [held.get(name) for name in ("args", "kwargs", "src", "metrics")]
    yield from (one for _, one in leaves(made_of, kind=ignite.Metric))


def _forget_results(metric: ignite.Metric) -> None:
    """Have a metric compute anew: others may have seen a batch where this process has not."""
    if "_result" in vars(metric):
        metric._result = None  # type: ignore[attr-defined]
    for one in _inner(metric):
        _forget_results(one)


def _make_room(metric: ignite.Metric, state: Mapping[str, Any]) -> None:
    """Make lists as long as those that are loaded, as pytorch-ignite fills what is there."""
    for name, value in state.items():
        here = vars(metric).get(name)
        if isinstance(here, list) and isinstance(value, list) and not list(_inner(metric)):
            setattr(metric, name, list(value))
