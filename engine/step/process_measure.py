"""Measures of objects that process batches, as MMEngine has them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..data.dataset import size_of
from ..data.sharding import share_of
from ..errors import StateError
from ..placement.ranks import world_size
from ..serialization import is_plain
from .base_metric import BaseMetric
from .collecting import computed
from .measure import Measure, declares

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["ProcessMeasure"]


class ProcessMeasure(Measure):
    """A metric with ``process(data_batch, data_samples)``, as MMEngine has them.

    If it has ``evaluate(size)``, that is asked, and collects over all processes. Otherwise its
    list ``results``, which has one entry a sample, is collected here, in the order in which a
    ``DistributedSampler`` deals the samples out, and cut to the length of the data set, as some
    are dealt out twice, unless it is known that none is; the first process calls
    ``compute_metrics(results)``, on the host, and all get what it returns. ``collect_device`` says
    by which memory, ``"cpu"`` or ``"gpu"``; names get the metric's ``prefix``, else its
    ``default_prefix``, before a slash.
    """

    def __init__(
        self, name: str, metric: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(name, metric, transform)
        # that of BaseMetric does no more than what is done here, and does not know of shares
        own = getattr(type(metric), "evaluate", None) is not BaseMetric.evaluate
        self._evaluates = own and callable(getattr(metric, "evaluate", None))
        if not self._evaluates and not isinstance(getattr(metric, "results", None), list):
            metric.results = []
        self._way = getattr(metric, "collect_device", "cpu")
        # as MMEngine's Evaluator, which is made of several, has it
        self._samples_first = (
            next(iter(inspect.signature(metric.process).parameters), None) == "data_samples"
        )
        if not self._evaluates and self._way not in ("cpu", "gpu"):
            raise ValueError(f"{self}: collect_device is 'cpu' or 'gpu', given {self._way!r}.")

    def reset(self) -> None:
        """Forget all batches."""
        for results in self._results():
            results.clear()

    def update(self, engine: Engine) -> None:
        """Hand on the batch and the output, the latter's elements as dicts if they can be."""
        samples = self._output(engine)
        if isinstance(samples, (list, tuple)):
            samples = [one.to_dict() if hasattr(one, "to_dict") else one for one in samples]
        with torch.no_grad():
            if self._samples_first:
                self.metric.process(data_samples=samples, data_batch=engine.state.batch)
            else:
                self.metric.process(engine.state.batch, samples)

    def compute(self, engine: Engine) -> Any:
        """What the metric says, the same on all processes."""
        size = size_of(engine.state.dataloader)
        kept = [list(results) for results in self._results()] if self.each_iteration else []
        if self._evaluates:  # it may let go of its results
            value = self.metric.evaluate(sys.maxsize if size is None else size)
        else:
            cut = None if _is_dealt_once(engine.state.dataloader) else size
            value = computed(self.metric, cut, who=str(self))
        for results, before in zip(self._results(), kept, strict=False):
            results[:] = before
        return value

    def tell(self, meta: Mapping[str, Any] | None) -> None:
        """Set ``dataset_meta``."""
        if meta is not None or declares(self.metric, "dataset_meta"):
            self.metric.dataset_meta = meta

    def state_dict(self) -> dict[str, Any]:
        """The results so far; ``None`` in the place of those that can't be saved."""
        return {"results": [list(one) if is_plain(one) else None for one in self._results()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the results.

        Raises:
            StateError: if they could not be saved, or are those of another metric.
        """
        given, own = state["results"], list(self._results())
        if None in given:
            raise StateError(
                f"the results of {self} up to this state are not in it, since they are no plain "
                f"values or tensors; evaluate from the start, or keep such in its results."
            )
        if len(given) != len(own):
            raise StateError(f"{self} is not the one that was saved: it has other results.")
        for results, saved in zip(own, given, strict=True):
            results[:] = saved

    def _results(self) -> Iterator[list[Any]]:
        """The lists of the metric, and of those that it is made of."""
        parts = getattr(self.metric, "metrics", ())
        for one in (self.metric, *(parts if isinstance(parts, (list, tuple)) else ())):
            if isinstance(results := getattr(one, "results", None), list):
                yield results


def _is_dealt_once(loader: Any) -> bool:
    """Whether it is known that each sample belongs to one process alone."""
    share = share_of(loader)
    return share is not None and share.exact and share.world_size == world_size()
