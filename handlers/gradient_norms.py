"""Gradient norms: how large the gradients are, in all and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.step.announcer import register
from ..engine.step.clipping import norm_of
from ..engine.step.events import StepEvents

__all__ = ["GradientNorms"]


class GradientNorms(Handler):
    """Notes norms of the gradients before each optimizer step, ahead of clipping.

    They stand in ``engine.state.metrics`` as scalar tensors on the gradients' device, so that
    nothing waits for them: the total as ``grad_norm``, and ``grad_norm/<group>`` for each group.

    Args:
        model: whose gradients.
        norm_type: the norm's p; ``math.inf`` for the largest value.
        groups: the group of a parameter by its name, ``None`` for none; by default its top
            submodule. ``groups=None`` notes the total alone.
        every: in each n-th iteration only.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> model = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> step = training_step(model, sgd, lambda y_pred, y: (3 * y_pred).sum())
        >>> trainer = Engine(step)
        >>> norms = trainer.attach(GradientNorms(model))
        >>> trainer.run([(torch.ones(1, 1), None)]).metrics
        {'grad_norm': tensor(3.), 'grad_norm/0': tensor(3.)}
    """

    priority = Priority.BELOW_NORMAL  # behind handlers that change gradients

    def __init__(
        self,
        model: nn.Module,
        norm_type: float = 2.0,
        *,
        groups: Callable[[str], str | None] | None = lambda name: name.partition(".")[0],
        every: int = 1,
    ) -> None:
        if not norm_type > 0:
            raise ValueError(f"norm_type is a number above 0 or math.inf, given {norm_type!r}.")
        self.norm_type = float(norm_type)
        self.event = StepEvents.GRADIENTS_READY(every=every)
        self._groups: dict[str, list[Tensor]] = {}
        self._parameters = list(model.parameters())
        for name, parameter in model.named_parameters() if groups is not None else ():
            group = groups(name) if groups is not None else None
            if group is not None:
                self._groups.setdefault(group, []).append(parameter)

    def on_register(self, engine: Engine) -> None:
        """Note norms when gradients are ready."""
        register(engine)
        engine.add_event_handler(self.event, self._note, priority=self.priority)

    def _note(self, engine: Engine) -> None:
        engine.state.metrics.update(self.norms())

    def norms(self) -> Mapping[str, Any]:
        """The norms of the gradients as they are now."""
        total = {"grad_norm": norm_of(self._parameters, self.norm_type)}
        by_group = {
            f"grad_norm/{group}": norm_of(parameters, self.norm_type)
            for group, parameters in self._groups.items()
        }
        return {**total, **by_group}
