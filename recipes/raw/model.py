"""The model as a raw loop calls it: in the precision and by the processes that were asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...engine.nested import leaves, map_nested
from ...engine.placement.placement import Placement
from ...engine.step.optimization import Optimization
from ...engine.step.precision import Precision, single
from .in_step import told_of_others

__all__ = ["Called", "called", "exchanged_nothing"]

_HALVES = (torch.bfloat16, torch.float16)


class _Way:
    """How a model is called: by autocast, giving float32, and so that gradients are exchanged."""

    def __init__(self, model: nn.Module, optimization: Optimization, device: torch.device) -> None:
        self.model = model
        self.optimization, self.device_type = optimization, device.type

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        placement = self.optimization.placement
        if placement is None or not (self.model.training and torch.is_grad_enabled()):
            return self.computed(self.model, *args, **kwargs)
        try:
            if not self.optimization.window.held:
                placement.begin()
            with placement.batch(closes=self.optimization.closes_next()):
                return placement.call(partial(self.computed, self.model, **kwargs), *args)
        except RuntimeError as error:
            told_of_others(error)
            raise

    def computed(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the model or a method of it, here alone."""
        precision: Precision = self.optimization.precision
        if precision.dtype is None:
            return function(*args, **kwargs)
        with precision.autocast(self.device_type):
            outputs = function(*args, **kwargs)
        if all(one.dtype not in _HALVES for _, one in leaves(outputs, kind=Tensor)):
            return outputs  # the very object, which may be more than an answer
        return map_nested(single, outputs, kind=Tensor)


class Called(nn.Module):
    """Calls a model by autocast, giving float32, and so that its gradients are exchanged.

    Several processes exchange them in the backward pass of a window's last batch, if this was
    called for it in training mode; where the model itself was, or a method, they do before the
    optimizer steps, which comes to the same. Methods of the model's own compute by autocast, too.

    All else but the type is the model's: names, items, attributes, those that are set, and state.
    A copy of this, and what is pickled, is one of the model.

    Args:
        model: what is called.
        optimization: what trains it; it knows of precision, window and placement.
        device: where the model is.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 1))
        >>> sgd = Optimization(torch.optim.SGD(net.parameters(), lr=0.1), precision="bf16")
        >>> model = Called(net, sgd, torch.device("cpu"))
        >>> model(torch.ones(3, 2)).dtype, [name for name, _ in model.named_parameters()]
        (torch.float32, ['0.weight', '0.bias'])
        >>> model[0] is net[0], model.eval() is model, net.training
        (True, True, False)
    """

    def __init__(self, model: nn.Module, optimization: Optimization, device: torch.device) -> None:
        super().__init__()
        for held in ("_parameters", "_buffers", "_modules"):  # where torch looks for them itself
            self.__dict__[held] = getattr(model, held)
        del self.__dict__["training"]
        self.__dict__["_Called__way"] = _Way(model, optimization, device)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.__way.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        way = self.__way
        value = getattr(way.model, name)
        if inspect.ismethod(value) and value.__self__ is way.model:
            return wraps(value)(partial(way.computed, value))
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__way.model, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__way.model, name)

    def __dir__(self) -> list[str]:
        return dir(self.__way.model)

    def __repr__(self) -> str:
        return repr(self.__way.model)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _itself, (self.__way.model,)

    def __bool__(self) -> bool:
        return bool(self.__way.model)

    def __len__(self) -> int:
        return len(cast(Any, self.__way.model))

    def __iter__(self) -> Iterator[Any]:
        return iter(cast(Any, self.__way.model))

    def __contains__(self, key: object) -> bool:
        return key in cast(Any, self.__way.model)

    def __getitem__(self, key: Any) -> Any:
        return cast(Any, self.__way.model)[key]


def _itself(model: nn.Module) -> nn.Module:
    return model


def _passed_on(name: str) -> Callable[..., Any]:
    """A method of all modules, which is the model's, as it may have changed it."""

    @wraps(getattr(nn.Module, name))
    def passed_on(self: Called, *args: Any, **kwargs: Any) -> Any:
        model = self.__dict__["_Called__way"].model
        answer = getattr(model, name)(*args, **kwargs)
        return self if answer is model else answer  # as eval() does

    return passed_on


for _name, _one in vars(nn.Module).items():
    is_public = inspect.isfunction(_one) and not _name.startswith("_")
    if (is_public and _name not in vars(Called)) or _name == "_apply":
        setattr(Called, _name, _passed_on(_name))


def called(model: nn.Module, optimization: Optimization, device: torch.device) -> nn.Module:
    """The model itself where calling it is all there is to do, else what calls it."""
    plain = optimization.precision.dtype is None and optimization.placement is None
    return model if plain else Called(model, optimization, device)


def exchanged_nothing(placement: Placement) -> None:
    """Have a placement know that a batch was called, and not trained on."""
    with placement.batch(closes=False):
        pass
