"""Measures: metrics of several libraries, driven alike by the events of an engine."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ignite.metrics import metric as ignite
from torch import Tensor, nn

from ..data.dataset import size_of
from ..errors import StateError, nearest
from ..nested import leaves, map_nested
from ..serialization import is_plain
from .collecting import computed

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = [
    "IgniteMeasure",
    "Measure",
    "ProcessMeasure",
    "TorchMeasure",
    "at_hand",
    "measure_of",
    "usage_of",
]

_USAGES: dict[str, Callable[[], ignite.MetricUsage]] = {
    "epoch": ignite.EpochWise,
    "batch": ignite.BatchWise,
    "running": ignite.SingleEpochRunningBatchWise,
    "epoch_wise": ignite.EpochWise,
    "batch_wise": ignite.BatchWise,
    "running_epoch_wise": ignite.RunningEpochWise,
    "running_batch_wise": ignite.RunningBatchWise,
    "single_epoch_running_batch_wise": ignite.SingleEpochRunningBatchWise,
}
_TORCH = ("reset", "update", "compute")


def usage_of(given: str | ignite.MetricUsage) -> ignite.MetricUsage:
    """When a metric is reset, updated and computed.

    Args:
        given: ``"epoch"``, at the end of each epoch over its batches; ``"batch"``, over each batch
            alone; ``"running"``, after each batch over the epoch so far; or a usage of
            pytorch-ignite, or its name.

    Raises:
        ValueError: for another name.
        TypeError: for what is neither.

    Example:
        >>> usage_of("batch").STARTED.name
        'ITERATION_STARTED'
    """
    if isinstance(given, ignite.MetricUsage):
        return given
    if not isinstance(given, str):
        raise TypeError(
            f"usage is 'epoch', 'batch' or 'running', or a MetricUsage of pytorch-ignite, given "
            f"{given!r}."
        )
    if given not in _USAGES:
        raise ValueError(
            f"usage {given!r} is none of {', '.join(map(repr, _USAGES))}.{nearest(given, _USAGES)}"
        )
    return _USAGES[given]()


class Measure:
    """One metric, whatever library it is from, and how an engine's events drive it.

    Its state is what it has accumulated, in plain values where the metric allows.

    Args:
        name: what it is called.
        metric: the metric.
        transform: makes of ``engine.state.output`` what the metric is given.
    """

    def __init__(
        self, name: str, metric: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        self.name = name
        self.metric = metric
        self.transform = transform
        self.each_iteration = False  # whether it is computed then

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

    def tell(self, meta: Mapping[str, Any] | None) -> None:
        """Let the metric know what the data set says of itself, if it wants to."""
        if _declares(self.metric, "dataset_meta"):
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


class IgniteMeasure(Measure):
    """A metric of pytorch-ignite, which attaches itself, and the metrics that it is made of.

    Those that take an event in the place of a usage, as ``Frequency`` does, are told the event on
    which they are computed.
    """

    def attach(self, engine: Engine, usage: ignite.MetricUsage | None = None) -> None:
        """Have the metric attach itself.

        Raises:
            ValueError: for a usage that the metric has no way to follow.
        """
        if usage is None:
            self.metric.attach(engine, self.name)
        elif "event_name" in _parameters(self.metric.attach):
            if type(usage) not in (ignite.EpochWise, ignite.SingleEpochRunningBatchWise):
                raise ValueError(
                    f"{self} is counted over an epoch: its usage is 'epoch' or 'running', given "
                    f"{type(usage).__name__}; or leave it out."
                )
            self.metric.attach(engine, self.name, usage.COMPLETED)
        else:
            self.metric.attach(engine, self.name, usage)


class TorchMeasure(Measure):
    """A metric or a collection of torchmetrics.

    The output's entries are the arguments of its ``update``: of a tuple or list in order, of a
    mapping by name, as far as ``update`` names them. A mapping with ``y_pred`` and ``y`` is that
    pair, as for pytorch-ignite. Anything else is the one argument. The metric is moved to where
    the first tensor among them is.
    """

    def __init__(
        self, name: str, metric: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(name, metric, transform)
        self._device: torch.device | None = None
        self._parameters = _parameters(metric.update)
        self._found = {  # some keep more in mind than the states that they declare
            path: _copied(_numbers(one)) for path, one in metric.named_modules()
        }

    def reset(self) -> None:
        """Forget all batches."""
        self.metric.reset()

    def update(self, engine: Engine) -> None:
        """Take in the engine's output."""
        output = self._output(engine)
        args, kwargs = _arguments(output, self._parameters)
        _, tensor = next(leaves((args, kwargs), kind=Tensor), (None, None))
        if tensor is not None and tensor.device != self._device:
            self.metric.to(tensor.device)
            self._device = tensor.device
        try:
            self.metric.update(*args, **kwargs)
        except Exception as error:
            error.add_note(
                f"raised by {self}, given {_described(output)}: its entries are the arguments of "
                f"update(). Return (y_pred, y) or the arguments by name from the step, or give "
                f"output_transform={{{self.name!r}: function}}, which makes them of its output."
            )
            raise

    def compute(self, engine: Engine) -> Any:
        """What the metric says, over all processes."""
        return self.metric.compute()

    def state_dict(self) -> dict[str, Any]:
        """By path within the metric: the states of each, and the numbers that have moved."""
        state = {}
        for path, one in self.metric.named_modules():
            states, found = _states(one), self._found[path]
            states = {k: list(v) if isinstance(v, list) else v for k, v in states.items()}
            moved = {k: v for k, v in _numbers(one).items() if not _same(v, found.get(k))}
            if states or moved:
                state[path] = {"states": states, "moved": moved}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the states.

        Raises:
            StateError: if they are those of another metric; nothing is changed then.
        """
        parts = dict(self.metric.named_modules())
        ours = {path: set(states) for path, one in parts.items() if (states := _states(one))}
        theirs = {path: set(part["states"]) for path, part in state.items() if part["states"]}
        if ours != theirs or not state.keys() <= parts.keys():
            raise StateError(f"{self} is not the one that was saved: its states are others.")
        self.metric.reset()
        self._device = None  # where the saved states are is not known
        for path, one in parts.items():
            saved = state.get(path, {"states": {}, "moved": {}})
            for key, value in {**self._found[path], **saved["moved"], **saved["states"]}.items():
                setattr(one, key, _copied(value))


class ProcessMeasure(Measure):
    """A metric with ``process(data_batch, data_samples)``, as MMEngine has them.

    If it has ``evaluate(size)``, that is asked, and collects over all processes. Otherwise its
    list ``results``, which has one entry a sample, is collected here, in the order in which a
    ``DistributedSampler`` deals the samples out, and cut to the length of the data set, as some
    are dealt out twice; the first process calls ``compute_metrics(results)``, on the host, and all
    get what it returns. ``collect_device`` says by which memory, ``"cpu"`` or ``"gpu"``; names get
    the metric's ``prefix``, else its ``default_prefix``, before a slash.
    """

    def __init__(
        self, name: str, metric: Any, transform: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(name, metric, transform)
        self._evaluates = callable(getattr(metric, "evaluate", None))
        if not self._evaluates and not isinstance(getattr(metric, "results", None), list):
            metric.results = []
        self._way = getattr(metric, "collect_device", "cpu")
        # as MMEngine's Evaluator, which is made of several, has it
        self._samples_first = next(iter(_parameters(metric.process)), None) == "data_samples"
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
            value = computed(self.metric, size, who=str(self))
        for results, before in zip(self._results(), kept, strict=False):
            results[:] = before
        return value

    def tell(self, meta: Mapping[str, Any] | None) -> None:
        """Set ``dataset_meta``."""
        if meta is not None or _declares(self.metric, "dataset_meta"):
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


def measure_of(name: str, metric: Any, transform: Callable[[Any], Any] | None = None) -> Measure:
    """How a metric is driven, by what it has.

    Args:
        name: what it is called.
        metric: an instance of a metric of pytorch-ignite or torchmetrics, or an object with
            ``process`` and either ``compute_metrics`` or ``evaluate``.
        transform: makes of ``engine.state.output`` what the metric is given.

    Raises:
        TypeError: for anything else, and for a class.
        ValueError: for a transform where the metric has one of its own.

    Example:
        >>> from ignite.metrics import Average
        >>> type(measure_of("loss", Average())).__name__
        'IgniteMeasure'
    """
    if isinstance(metric, type):
        raise TypeError(f"metric {name!r} is a class; give an instance: {metric.__name__}(…).")
    if isinstance(metric, ignite.Metric):  # which answers to any name
        if transform is not None:
            raise ValueError(
                f"metric {name!r} is of pytorch-ignite; give it its output_transform: "
                f"{type(metric).__name__}(output_transform=…)."
            )
        return IgniteMeasure(name, metric)
    if _can(metric, "process") and (_can(metric, "compute_metrics") or _can(metric, "evaluate")):
        return ProcessMeasure(name, metric, transform)
    if isinstance(metric, nn.Module) and all(_can(metric, one) for one in _TORCH):
        return TorchMeasure(name, metric, transform)
    raise TypeError(
        f"metric {name!r} is a {type(metric).__name__}; give an instance of a metric of "
        f"pytorch-ignite or torchmetrics, an object with process() and compute_metrics(), or a "
        f"function under running=."
    )


def _can(metric: Any, method: str) -> bool:
    return callable(getattr(metric, method, None))


def _declares(metric: Any, name: str) -> bool:
    """Whether it has an attribute; a metric of pytorch-ignite answers to any name."""
    return hasattr(type(metric), name) or name in getattr(metric, "__dict__", {})


def at_hand(value: Any) -> Any:
    """A tensor on the host; a single one, of numpy too, as a number; and so within a mapping.

    Example:
        >>> at_hand({"recall": torch.tensor(0.5), "by class": torch.ones(2)})
        {'recall': 0.5, 'by class': tensor([1., 1.])}
    """
    if isinstance(value, Mapping):
        return {name: at_hand(one) for name, one in value.items()}
    if isinstance(value, (Tensor, np.ndarray, np.generic)) and value.ndim == 0:
        return value.item()
    return value.cpu() if isinstance(value, Tensor) else value


def _arguments(
    output: Any, parameters: Mapping[str, inspect.Parameter]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What of a step's output a metric's ``update`` with these parameters is given."""
    if isinstance(output, (tuple, list)):
        return tuple(output), {}
    if not isinstance(output, Mapping):
        return (output,), {}
    if {"y_pred", "y"} <= output.keys() and not {"y_pred", "y"} <= parameters.keys():
        return (output["y_pred"], output["y"]), {}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return (), {key: one for key, one in output.items() if takes_any or key in parameters}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _states(module: nn.Module) -> dict[str, Any]:
    """What a metric of torchmetrics declares as its states; nothing for other modules."""
    is_one = hasattr(module, "update_count")
    return dict(module.metric_state) if is_one else {}  # type: ignore[arg-type]


def _numbers(module: nn.Module) -> dict[str, Any]:
    """What else a module keeps that may be counted or measured."""
    kept, states = vars(module).items(), _states(module)
    return {
        key: value
        for key, value in kept
        if isinstance(value, (int, float, Tensor)) and not isinstance(value, bool | nn.Parameter)
        if key not in states
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.device == other.device and torch.equal(one, other)
    return type(one) is type(other) and one == other


def _copied(value: Any) -> Any:
    return map_nested(torch.clone, value, kind=Tensor)


def _described(output: Any) -> str:
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with {', '.join(map(repr, output)) or 'nothing'}"
    if isinstance(output, (tuple, list)):
        return f"a {kind} of {', '.join(type(one).__name__ for one in output) or 'nothing'}"
    return f"a {kind}"
