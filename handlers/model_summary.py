"""The model's summary: layers, shapes, parameters and operations, told to every sink."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.step.summary import summarize
from ..engine.stream.media import show

__all__ = ["Summary"]


class Summary(Handler):
    """Tells every sink once, at the start of a run, what the model is made of.

    Args:
        model: the model.
        args: an input to call it with, on its device; without one only parameters are told.
        depth: how deep to look.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.handlers.console import Console
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> console = trainer.attach(Console())
        >>> summary = trainer.attach(Summary(nn.Linear(4, 2), torch.zeros(1, 4)))
        >>> state = trainer.run([0])
        layer    kind    inputs  outputs  parameters  FLOPs
        ---------------------------------------------------
        (model)  Linear  (1, 4)  (1, 2)           10     16
        10 parameters, 10 trainable, 0 frozen, 16 FLOPs
    """

    priority = Priority.LOW  # behind the sinks, which open at BELOW_NORMAL

    def __init__(self, model: nn.Module, *args: Any, depth: int | None = 3) -> None:
        self.model = model
        self.args = args
        self.depth = depth
        self._told = False

    def opened(self, engine: Engine) -> None:
        """Tell it, if that was not done yet."""
        if self._told:
            return
        self._told = True
        summary = summarize(self.model, *self.args, depth=self.depth)
        show(engine, "text", "model", str(summary))
