"""The model as a raw loop calls it: in the precision and by the processes that were asked for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.nested import map_nested
from ...engine.placement.placement import Placement
from ...engine.step.optimization import Optimization
from ...engine.step.precision import Precision, single

__all__ = ["Called", "called", "exchanged_nothing"]


class Called(nn.Module):
    """Calls a model by autocast, giving float32, and so that its gradients are exchanged.

    Several processes exchange them in the backward pass of a window's last batch, if this was
    called for it in training mode; where the model itself was, they do before the optimizer steps,
    which comes to the same. Names, attributes and state are those of the model.

    Args:
        model: what is called.
        optimization: what trains it; it knows of precision, window and placement.
        device: where the model is.
    """

    def __init__(self, model: nn.Module, optimization: Optimization, device: torch.device) -> None:
        super().__init__()
        self.module = model
        self._optimization, self._device_type = optimization, device.type

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        placement = self._optimization.placement
        if placement is None or not (self.module.training and torch.is_grad_enabled()):
            return self._computed(*args, **kwargs)
        if not self._optimization.window.held:
            placement.begin()
        with placement.batch(closes=self._optimization.closes_next()):
            return placement.call(partial(self._computed, **kwargs), *args)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the model."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load that of the model."""
        return self.module.load_state_dict(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def _computed(self, *args: Any, **kwargs: Any) -> Any:
        precision: Precision = self._optimization.precision
        if precision.dtype is None:
            return self.module(*args, **kwargs)
        with precision.autocast(self._device_type):
            outputs = self.module(*args, **kwargs)
        return map_nested(single, outputs, kind=Tensor)


def called(model: nn.Module, optimization: Optimization, device: torch.device) -> nn.Module:
    """The model itself where calling it is all there is to do, else what calls it."""
    plain = optimization.precision.dtype is None and optimization.placement is None
    return model if plain else Called(model, optimization, device)


def exchanged_nothing(placement: Placement) -> None:
    """Have a placement know that a batch was called, and not trained on."""
    with placement.batch(closes=False):
        pass
