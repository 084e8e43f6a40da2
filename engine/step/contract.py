"""Contract: what all contracts have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Contract"]


class Contract:
    """How to get a loss and outputs from a kind of model; base of all contracts.

    Args:
        model: the model.
        loss: what computes the loss, where that is not the model's business.

    Attributes:
        name: what it is asked for by.
        needs: what a model, or the user, has to bring, in a few words.
        turns: the losses that there are by the names of their optimizers, joined by ``+`` where
            they share one; none where all optimizers share the one loss.
        optimizes_itself: whether :meth:`forward` runs backward and steps the optimizer, too.
        deals_out: whether the model itself says which of its parameters are optimized by what.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> class Reconstruction(Contract):
        ...     name, needs = "reconstruction", "a model that gives back what it takes"
        ...     def forward(self, engine, batch, turn=None):
        ...         return self.model(batch)
        ...     def loss(self, outputs, batch):
        ...         return {"loss": (outputs - batch).square().mean()}
        >>> model = nn.Linear(2, 2)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> step = training_step(model, sgd, contract=Reconstruction(model))
        >>> list(Engine(step, name="train").run([torch.ones(8, 2)]).output)
        ['loss']
    """

    name: ClassVar[str]
    needs: ClassVar[str]
    turns: Sequence[str] = ()
    optimizes_itself: bool = False
    deals_out: bool = False

    def __init__(self, model: nn.Module, loss: Any = None) -> None:
        self.model = model
        if loss is not None:
            raise ValueError(
                f"contract {self.name!r} takes the loss from {type(self.model).__name__}; "
                f"leave loss= out."
            )

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Whether the model and the loss are what this contract is made for."""
        raise NotImplementedError(f"{cls.__name__}.fits(model, loss) -> bool is missing.")

    def bind(self, optimizations: Mapping[str, Any]) -> None:
        """Look at what will optimize the model; a contract that hands it on keeps it."""

    def attached(self, engine: Engine, role: str) -> None:
        """Called when a step of the model becomes an engine's.

        Args:
            engine: the engine.
            role: what it does: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.
        """

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What the model answers to a training batch.

        Args:
            engine: the engine that runs.
            batch: its batch.
            turn: the name of the optimizer whose turn it is, where there are several; names
                joined by ``+`` for those that share a loss.
        """
        raise NotImplementedError(f"{type(self).__name__}.forward() is missing.")

    def loss(self, outputs: Any, batch: Any) -> Any:
        """The loss: a scalar tensor, a dict with one under ``"loss"``, or ``None`` to skip."""
        return outputs

    def to_evaluation(self, engine: Engine) -> None:
        """Set the model to evaluation mode, as a run of an engine that evaluates begins."""
        self.model.eval()

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What an evaluation step reports of a batch."""
        raise NotImplementedError(f"{type(self).__name__}.evaluate() is missing.")

    def predict(self, engine: Engine, batch: Any) -> Any:
        """What a prediction step reports of a batch."""
        raise NotImplementedError(f"{type(self).__name__}.predict() is missing.")
