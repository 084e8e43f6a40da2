"""The contract of models that derive from MMEngine's ``BaseModel``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from ..contracts import StepMethods
from ..guests import descends_from
from .driven import DrivenOptimization

if TYPE_CHECKING:
    from ...engine import Engine

__all__ = ["MMEngineSteps"]


class MMEngineSteps(StepMethods):
    """A model that derives from MMEngine's ``BaseModel``.

    One with a ``train_step`` of its own drives the optimizers itself, as
    :class:`~footplate.engine.step.contracts.StepMethods` says. Otherwise the parts of MMEngine's
    are taken one by one, the model's own ones where it has such: its ``data_preprocessor`` makes a
    batch ready, ``forward(…, mode="loss")`` gives losses, ``parse_losses`` adds them up; backward
    and step are the training step's. What is reported as ``loss`` is what is trained on.

    Evaluation calls ``val_step`` or ``test_step``, and prediction ``test_step``.

    Args:
        model: the model.
    """

    name = "mmengine"
    needs = "a model that derives from mmengine.model.BaseModel"

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)
        if not self.fits(model, loss):
            raise TypeError(f"contract {self.name!r} needs {self.needs}, not {model!r:.60}.")
        self.optimizes_itself = _is_own(model, "train_step")

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Models that derive from that class, and no loss besides."""
        return loss is None and descends_from(model, "BaseModel", "mmengine")

    def bind(self, optimizations: Mapping[str, Any]) -> None:
        """Keep what ``train_step`` is given; a wrapper that is driven as it is wants it called."""
        super().bind(optimizations)
        if any(isinstance(one, DrivenOptimization) for one in optimizations.values()):
            self.optimizes_itself = True

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What the model says to ``mode="loss"``, or what its own ``train_step`` returns."""
        if self.optimizes_itself:
            return super().forward(engine, batch, turn)
        model: Any = self.model
        return model._run_forward(model.data_preprocessor(batch, True), mode="loss")

    def loss(self, outputs: Any, batch: Any) -> Any:
        """The sum of the losses, with all that the model reports."""
        if self.optimizes_itself:
            return outputs
        model: Any = self.model
        loss, report = model.parse_losses(outputs)
        return {**report, "loss": loss} if isinstance(report, Mapping) else loss

    def predict(self, engine: Engine, batch: Any) -> Any:
        """What ``predict_step`` returns if there is one, and else ``test_step``."""
        return self._call(engine, batch, "predict_step", "test_step")


def _is_own(model: object, name: str) -> bool:
    """Whether a method is one of the user's, and not MMEngine's."""
    found = inspect.unwrap(getattr(model, name))
    return not str(getattr(found, "__module__", "")).startswith("mmengine.")
