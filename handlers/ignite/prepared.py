"""The contract of pytorch-ignite's supervised steps: how a batch becomes a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from ...engine.step.contract import Contract

if TYPE_CHECKING:
    from ...engine.engine import Engine

__all__ = ["Prepared"]


class Prepared(Contract):
    """A model whose batches are prepared, and whose answers are transformed, by given functions.

    Args:
        model: the model.
        prepare: makes ``(x, y)`` of a batch.
        call: called as ``call(model, x)``.
        transform: makes ``y_pred`` of what that returns.
        loss: called as ``loss(y_pred, y)``; not needed for evaluation.
        output: makes what an evaluation reports of ``(x, y, y_pred)``.

    Attributes:
        x, y: the prepared batch at hand.

    Example:
        >>> import torch
        >>> double = Prepared(torch.nn.Identity(), lambda pair: pair, lambda model, x: 2 * model(x))
        >>> double.evaluate(None, (torch.tensor(3.0), torch.tensor(5.0)))
        (tensor(6.), tensor(5.))
    """

    name = "prepared"
    needs = "what pytorch-ignite's create_supervised_trainer takes"

    def __init__(
        self,
        model: nn.Module,
        prepare: Callable[[Any], tuple[Any, Any]],
        call: Callable[[nn.Module, Any], Any],
        transform: Callable[[Any], Any] = lambda outputs: outputs,
        loss: Callable[[Any, Any], Any] | None = None,
        output: Callable[[Any, Any, Any], Any] = lambda x, y, y_pred: (y_pred, y),
    ) -> None:
        super().__init__(model)
        self.x: Any = None
        self.y: Any = None
        self._prepare, self._call, self._transform = prepare, call, transform
        self._loss, self._output = loss, output

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """The transformed answer to the prepared input."""
        self.x, self.y = self._prepare(batch)
        return self._transform(self._call(self.model, self.x))

    def loss(self, outputs: Any, batch: Any) -> Any:
        """What the loss function says of answer and target."""
        assert self._loss is not None
        return self._loss(outputs, self.y)

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What is to be reported of input, target and answer."""
        y_pred = self.forward(engine, batch)
        return self._output(self.x, self.y, y_pred)
