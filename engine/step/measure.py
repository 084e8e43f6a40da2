"""A measure: one metric, whatever library it is from, driven by the events of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from ignite.metrics import metric as ignite

from .metric_usage import usage_of

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Measure", "declares"]

T = TypeVar("T")


class Measure:
    """One metric, whatever library it is from, and how an engine's events drive it.

    Its state is what it has accumulated, in plain values where the metric allows.

    Args:
        name: what it is called.
        metric: the metric.
        transform: makes of ``engine.state.output`` what the metric is given.

    Attributes:
        name, metric, transform: as given.
        each_iteration: whether it is computed behind each batch.
        has_seen: whether a batch was taken in since it was reset; a process with none has nothing
            to add to what is computed over several.

    Example:
        >>> from ignite.metrics import Accuracy
        >>> from footplate import Engine
        >>> from footplate.engine.step.measuring import measure_of
        >>> measure = measure_of("accuracy", Accuracy())
        >>> isinstance(measure, Measure), str(measure)
        (True, "metric 'accuracy', a Accuracy")
        >>> evaluator = Engine(lambda engine, batch: batch)
        >>> measure.attach(evaluator)
        >>> evaluator.run([(torch.eye(2), torch.tensor([0, 0]))]).metrics
        {'accuracy': 0.5}
    """

    def __init__(
        self, name: str, metric: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        self.name = name
        self.metric = metric
        self.transform = transform
        self.each_iteration = False
        self.has_seen = False

    def __str__(self) -> str:
        return f"metric {self.name!r}, a {type(self.metric).__name__}"

    def attach(self, engine: Engine, usage: ignite.MetricUsage | None = None) -> None:
        """Reset, update and compute the metric on the events of a usage.

        Args:
            engine: the engine, or what stands for it.
            usage: when; the metric's own by default, which is each epoch's for most.
        """
        usage = usage_of("epoch") if usage is None else usage
        self.each_iteration = isinstance(usage, ignite.BatchWise)
        engine.add_event_handler(usage.STARTED, self.reset)
        engine.add_event_handler(usage.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(usage.COMPLETED, self.completed)

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__}.reset() is missing.")

    def update(self, engine: Engine) -> None:
        """Take in the engine's batch and output."""
        raise NotImplementedError(f"{type(self).__name__}.update() is missing.")

    def compute(self, engine: Engine) -> Any:
        """What the metric says of the batches since it was reset: a value, or values by name."""
        raise NotImplementedError(f"{type(self).__name__}.compute() is missing.")

    def completed(self, engine: Engine) -> None:
        """Put what the metric says into ``engine.state.metrics``; values by name under these."""
        with torch.no_grad():
            result = self.compute(engine)
        values = result if isinstance(result, Mapping) else {self.name: result}
        for name, value in values.items():
            engine.state.metrics[str(name)] = value

    def shared(self, compute: Callable[[], T], *, what: str, takes_part: bool | None = None) -> T:
        """What a function computes of the metric, over all processes; all have to call this.

        Args:
            compute: calls on the metric.
            what: what is computed, which all processes have to agree on.
            takes_part: whether this process has something to add; by default if it has seen a
                batch. If not, it is told what the others have computed.
        """
        return compute()

    def shares_update(self, update: Callable[..., Any]) -> bool:
        """Whether processes exchange something where a handler of the metric takes a batch in."""
        return False

    def shares_result(self) -> bool:
        """Whether processes exchange something where it is computed."""
        return True

    def tell(self, meta: Mapping[str, Any] | None) -> None:
        """Let the metric know what the data set says of itself, if it wants to."""
        if declares(self.metric, "dataset_meta"):
            self.metric.dataset_meta = meta

    def state_dict(self) -> dict[str, Any]:
        """What the metric has accumulated so far."""
        state: dict[str, Any] = self.metric.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what the metric has accumulated."""
        self.metric.load_state_dict(state)

    def _output(self, engine: Engine) -> Any:
        output = engine.state.output
        return output if self.transform is None else self.transform(output)


def declares(metric: Any, name: str) -> bool:
    """Whether it has an attribute; a metric of pytorch-ignite answers to any name."""
    return hasattr(type(metric), name) or name in getattr(metric, "__dict__", {})
