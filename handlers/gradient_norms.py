"""Gradient norms: how large the gradients are, in all and by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ..engine.engine import Engine
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.step.announcer import register
from ..engine.step.clipping import norm_of
from ..engine.step.events import StepEvents
from ..engine.step.hidden import refuse_hidden_gradients
from ..engine.step.optimization import Optimization
from ..engine.stream.scalars import VALUE_LOGGED

__all__ = ["GradientNorms"]

_PLAINLY = {"on": "iteration", "weight": 1.0, "bar": False, "to": None}


class GradientNorms(Handler):
    """Notes norms of the gradients before each optimizer step, ahead of clipping.

    They stand in ``engine.state.metrics`` as scalar tensors on the gradients' device, so that
    nothing waits for them: the total as ``grad_norm``, and ``grad_norm/<group>`` for each group. Of
    several optimizers each has its own, ``grad_norm/<name>`` and ``grad_norm/<name>/<group>``. A
    scalar stream takes them in; at its log points their means stand there instead.

    Args:
        model: whose parameters' names make the groups.
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
        named = model.named_parameters() if groups is not None else ()
        self._group_of = {id(p): groups(name) for name, p in named if groups is not None}

    def on_register(self, engine: Engine) -> None:
        """Note norms when gradients are ready."""
        register(engine)
        engine.register_events(VALUE_LOGGED, behind=Events.ITERATION_COMPLETED)
        engine.add_event_handler(self.event, self._note, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Refuse a run whose gradients can't be seen."""
        refuse_hidden_gradients(engine, "GradientNorms")

    def _note(self, engine: Engine, optimization: Optimization) -> None:
        alone = optimization.alone
        prefix = "grad_norm" if alone else f"grad_norm/{optimization.name}"
        norms = self.norms(optimization.parameters, prefix)
        engine.state.metrics.update(norms)
        for name, norm in norms.items():
            engine.fire_event(VALUE_LOGGED, name=name, value=norm, **_PLAINLY)

    def norms(self, parameters: Sequence[Tensor], prefix: str = "grad_norm") -> dict[str, Tensor]:
        """The norms of the gradients as they are now, in all and by group.

        Args:
            parameters: whose gradients.
            prefix: what their names begin with.
        """
        groups: dict[str, list[Tensor]] = {}
        for one in parameters:
            group = self._group_of.get(id(one))
            if group is not None:
                groups.setdefault(group, []).append(one)
        by_group = {f"{prefix}/{name}": norm_of(g, self.norm_type) for name, g in groups.items()}
        return {prefix: norm_of(parameters, self.norm_type), **by_group}
