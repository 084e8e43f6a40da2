"""Measures of torchmetrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import StateError
from ..nested import leaves, map_nested
from ..placement.together import Exchange, together
from ..placement.torch_states import merged
from .measure import Measure

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["TorchMeasure"]

T = TypeVar("T")


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
        self._parameters = inspect.signature(metric.update).parameters
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
        """What the metric says of its states, which are those of all processes meanwhile."""
        return self.metric.compute()

    def shared(self, compute: Callable[[], T], *, what: str, takes_part: bool | None = None) -> T:
        """What a function computes of the metric, over all processes that have samples."""

        def among(exchange: Exchange) -> T:
            with merged(self.metric, exchange):
                return compute()

        takes_part = self.has_seen if takes_part is None else takes_part
        return together(among, takes_part=takes_part, what=what)

    def state_dict(self) -> dict[str, Any]:
        """By path within the metric: the states of each, and the numbers that have moved."""
        state = {}
        for path, one in self.metric.named_modules():
            states, found = _states(one), self._found.get(path, {})
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
            found = self._found.get(path, {})
            for key, value in {**found, **saved["moved"], **saved["states"]}.items():
                setattr(one, key, _copied(value))


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
