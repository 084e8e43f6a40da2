"""Evaluators: what ``val_evaluator`` and ``test_evaluator`` say, as metrics by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.engine import Engine
from ...engine.events import Events
from ...engine.handler import snake_case
from ...engine.step.measuring import measure_of
from ...handlers.metrics import Metrics
from ..config.objects import Objects
from ..config.problems import ABSENT, ConfigError, Problem
from ..config.registry import EVALUATOR, METRICS

__all__ = ["Evaluator", "check_evaluator", "metrics_of"]


@EVALUATOR.register_module(name="Evaluator")
class Evaluator:
    """Metrics driven by hand: by a validation loop of your own, say.

    Args:
        metrics: one metric, several in a list, or by name; of pytorch-ignite, torchmetrics, or
            with ``process`` and ``compute_metrics``.

    Attributes:
        metrics: the metrics by name.

    Example:
        >>> import torch
        >>> from ignite.metrics import Accuracy
        >>> evaluator = Evaluator({"accuracy": Accuracy()})
        >>> evaluator.process((torch.eye(2), torch.tensor([0, 0])))
        >>> evaluator.evaluate()
        {'accuracy': 0.5}
    """

    def __init__(self, metrics: Any) -> None:
        self.metrics = _named(metrics)
        self._engine = Engine(lambda engine, batch: None, name="evaluator")  # it never runs
        self._driven = self._engine.attach(Metrics(self.metrics)) if self.metrics else None
        self._begun = False

    @property
    def dataset_meta(self) -> Mapping[str, Any] | None:
        """What the data set says of itself."""
        meta: Mapping[str, Any] | None = getattr(self._engine.state, "dataset_meta", None)
        return meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Mapping[str, Any] | None) -> None:
        self._engine.state.dataset_meta = meta
        if self._driven is not None:
            self._driven.tell(self._engine, meta)

    def process(self, data_samples: Any, data_batch: Any = None) -> None:
        """Take a batch in: what the model answered, and the batch itself."""
        engine = self._engine
        if not self._begun:
            engine.fire_event(Events.EPOCH_STARTED)
            self._begun = True
        engine.state.batch, engine.state.output = data_batch, data_samples
        engine.fire_event(Events.ITERATION_COMPLETED)

    def evaluate(self, size: int | None = None) -> dict[str, Any]:
        """What the metrics say of the batches since the last time.

        Args:
            size: samples in the data set; over several processes what lies behind it is dropped.
        """
        engine = self._engine
        engine.state.dataloader = None if size is None else _Sized(size)
        engine.state.metrics.clear()
        engine.fire_event(Events.EPOCH_COMPLETED)
        self._begun = False
        return dict(engine.state.metrics)


class _Sized:
    """Data of which no more is known than how many samples they have."""

    def __init__(self, size: int) -> None:
        self.dataset = range(size)
        self.sampler = self.dataset


def metrics_of(given: Any, objects: Objects, path: str) -> dict[str, Any]:
    """The metrics that an evaluator is made of, by name.

    Args:
        given: a metric, a mapping with ``type``, ``{"metrics": …}``, a list of these, or these by
            name.
        objects: what builds what is given as ``{type: …}``.
        path: what it is called in messages.

    Raises:
        ConfigError: for what does not fit.
    """
    if given is None:
        return {}
    if problems := list(check_evaluator(given, path, objects)):
        raise ConfigError(problems)
    return _named(_built(given, objects, path))


def check_evaluator(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with an evaluator."""
    if given is None:
        return
    if isinstance(given, Mapping) and "type" in given:
        registry = EVALUATOR if "metrics" in given else METRICS
        yield from objects.check(given, path, registry)
    elif isinstance(given, Mapping):
        inner = given["metrics"] if given.keys() == {"metrics"} else given
        if inner is not given:
            yield from check_evaluator(inner, f"{path}.metrics", objects)
        else:
            for name, one in given.items():
                yield from check_evaluator(one, f"{path}.{name}", objects)
    elif isinstance(given, (list, tuple)):
        for number, one in enumerate(given):
            yield from check_evaluator(one, f"{path}[{number}]", objects)
    elif not isinstance(given, Evaluator):
        try:
            measure_of(path, given)
        except TypeError as error:
            yield Problem(path=path, given=ABSENT, reason=str(error))


def _built(given: Any, objects: Objects, path: str) -> Any:
    if isinstance(given, Mapping) and "type" in given:
        return objects.build(given, EVALUATOR if "metrics" in given else METRICS, path=path)
    if isinstance(given, Mapping):
        if given.keys() == {"metrics"}:
            return _built(given["metrics"], objects, f"{path}.metrics")
        return {name: _built(one, objects, f"{path}.{name}") for name, one in given.items()}
    if isinstance(given, (list, tuple)):
        return [_built(one, objects, f"{path}[{n}]") for n, one in enumerate(given)]
    return given


def _named(given: Any) -> dict[str, Any]:
    """Metrics by name; those without one are named after their classes."""
    if isinstance(given, Evaluator):
        return given.metrics
    if isinstance(given, Mapping):
        return {str(name): one for name, one in given.items()}
    several = given if isinstance(given, (list, tuple)) else [given]
    named: dict[str, Any] = {}
    for one in several:
        if isinstance(one, Evaluator):
            named.update(one.metrics)
            continue
        name = snake_case(type(one).__name__)
        free = (f"{name}_{number}" for number in itertools.count(2))
        named[name if name not in named else next(n for n in free if n not in named)] = one
    return named
