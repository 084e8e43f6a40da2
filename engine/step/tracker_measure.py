"""Measures of trackers of torchmetrics, which keep a metric of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..placement.together import Exchange, together
from ..placement.torch_states import merged
from .torch_measure import TorchMeasure

__all__ = ["TrackerMeasure"]

T = TypeVar("T")


class TrackerMeasure(TorchMeasure):
    """A ``MetricTracker`` of torchmetrics: it is incremented where other metrics are reset.

    What is computed is the metric of the step at hand; the tracker itself tells of all and of the
    best one.
    """

    def reset(self) -> None:
        """Begin a metric of a new step, and keep those of the others."""
        self.metric.increment()

    def shared(self, compute: Callable[[], T], *, what: str, takes_part: bool | None = None) -> T:
        """What a function computes of the step at hand, over all processes that have samples."""

        def among(exchange: Exchange) -> T:
            with merged(self.metric[-1], exchange):
                return compute()

        takes_part = self.has_seen if takes_part is None else takes_part
        return together(among, takes_part=takes_part, what=what)

    def state_dict(self) -> dict[str, Any]:
        """How many steps there are, and the states of each."""
        return {"steps": self.metric.n_steps, "states": super().state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have as many steps, and set their states.

        Raises:
            StateError: if they are those of another metric.
        """
        while self.metric.n_steps < state["steps"]:
            self.metric.increment()
        while self.metric.n_steps > state["steps"]:
            *_, (last, _) = self.metric.named_children()
            delattr(self.metric, last)  # del metric[-1] would rename the others
        super().load_state_dict(state["states"])
