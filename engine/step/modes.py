"""Models whose ``forward`` is told by a ``mode`` what is wanted of it, as MMEngine's are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..errors import nearest
from .contract import Contract

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["MODES", "Modes", "summed"]

MODES = ("loss", "predict", "tensor")
"""What ``mode`` may be: losses for training, predictions for evaluation, bare features."""


class Modes(Contract):
    """A model whose ``forward`` has a parameter ``mode``: ``"loss"``, ``"predict"``, ``"tensor"``.

    Its ``data_preprocessor``, if it has one, makes each batch ready, called with ``training`` as
    well if it takes that. A dict is handed to ``forward`` as keywords, a list or tuple as
    arguments in order, anything else as the one argument; ``engine.state.batch`` stays what the
    loader gave. Training asks for ``mode="loss"``, and trains on the sum of the losses
    (:func:`summed`); evaluation and prediction report what ``mode="predict"`` returns.

    Args:
        model: the model.
        loss: none, as the model has its own.

    Example:
        >>> import torch
        >>> class Line(nn.Linear):
        ...     def forward(self, x, y, mode):
        ...         answer = super().forward(x)
        ...         return {"loss": (answer - y).square()} if mode == "loss" else (answer, y)
        >>> contract, batch = Modes(Line(2, 1)), (torch.zeros(4, 2), torch.zeros(4, 1))
        >>> losses = contract.forward(None, batch)
        >>> losses["loss"].shape, contract.loss(losses, batch)["loss"].shape
        (torch.Size([4, 1]), torch.Size([]))
    """

    name = "modes"
    needs = 'a model with forward(…, mode), which knows mode="loss" and mode="predict"'

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)
        if not self.fits(model, loss):
            raise TypeError(f"contract {self.name!r} needs {self.needs}, not {_told(model)}.")
        self._known: tuple[Any, bool] = (None, False)  # a preprocessor; whether it takes training

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Models whose ``forward`` takes such a mode, and no loss besides."""
        if loss is not None or not isinstance(model, nn.Module):
            return False
        mode = _parameters(model.forward).get("mode")
        # another parameter of that name, as of an interpolation, has a default of its own
        return mode is not None and (mode.default is mode.empty or str(mode.default) in MODES)

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What the model says to ``mode="loss"``."""
        return self._call(batch, "loss", training=True)

    def loss(self, outputs: Any, batch: Any) -> Any:
        """A tensor as it is; of a dict the sum of its losses, with all that it reports."""
        return summed(outputs) if isinstance(outputs, Mapping) else outputs

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What the model says to ``mode="predict"``."""
        return self._call(batch, "predict", training=False)

    predict = evaluate

    def _call(self, batch: Any, mode: str, *, training: bool) -> Any:
        batch = self._prepared(batch, training)
        if isinstance(batch, Mapping):
            return self.model(**batch, mode=mode)
        if isinstance(batch, (list, tuple)):
            return self.model(*batch, mode=mode)
        return self.model(batch, mode=mode)

    def _prepared(self, batch: Any, training: bool) -> Any:
        prepare = getattr(self.model, "data_preprocessor", None)
        if not callable(prepare):
            return batch
        if self._known[0] is not prepare:
            self._known = prepare, _takes(prepare, "training")
        return prepare(batch, training=training) if self._known[1] else prepare(batch)


def summed(losses: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a dict of losses, and under ``"loss"`` the sum of those that are losses.

    These are the ones whose names contain ``loss``. Each is a tensor, whose mean counts, or a list
    or tuple of tensors, which counts as the sum of their means. The others are reported only.

    Args:
        losses: by name; it is not changed.

    Raises:
        ValueError: if no name contains ``loss``.
        TypeError: for a loss that is none of these.

    Example:
        >>> import torch
        >>> losses = {"loss_box": torch.ones(2), "loss_aux": [torch.ones(2)] * 2, "boxes": 7}
        >>> report = summed(losses)
        >>> report["loss"], report["loss_aux"], report["boxes"]
        (tensor(3.), tensor(2.), 7)
    """
    parts = {name: _part(name, value) for name, value in losses.items()}
    wanted = [value for name, value in parts.items() if _is_loss(name)]
    if not wanted:
        raise ValueError(
            f"a dict of losses needs an entry whose name contains 'loss', which training is done "
            f"on; this one has {', '.join(map(repr, losses)) or 'none'}."
            f"{nearest('loss', map(str, losses))}"
        )
    first, *others = wanted
    return {"loss": sum(others, start=first)} | {k: v for k, v in parts.items() if k != "loss"}


def _part(name: str, value: Any) -> Any:
    """What an entry is reported as: one number, where it is of tensors."""
    if isinstance(value, Tensor):
        return _mean(value)
    several = isinstance(value, (list, tuple)) and all(isinstance(one, Tensor) for one in value)
    if several and (value or _is_loss(name)):
        return sum(map(_mean, value))
    if _is_loss(name):
        raise TypeError(
            f"loss {name!r} is a tensor, or a list of tensors, given a {type(value).__name__}: "
            f"{value!r:.80}. What is reported only has a name without 'loss'."
        )
    return value


def _is_loss(name: Any) -> bool:
    return "loss" in str(name)


def _mean(tensor: Tensor) -> Tensor:
    if not tensor.dim():
        return tensor
    return tensor.mean() if tensor.is_floating_point() else tensor.float().mean()


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # one that can't be asked
        return {}


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function, or a module, can be given this keyword."""
    parameters = _parameters(function.forward if isinstance(function, nn.Module) else function)
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _told(model: nn.Module) -> str:
    return f"{type(model).__name__}.forward({', '.join(_parameters(model.forward))})"
