"""The least that a run does before anything may stop it early."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from .errors import EventError
from .state import Next
from .whole import whole

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Minimum", "optimizer_steps"]

_STEPPED = "OPTIMIZER_STEPPED"


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The least that a run does: all of what is given.

    Handlers that stop a run early hold their wish back until it is reached.

    Attributes:
        epochs: epochs completed.
        iters: iterations, each of one batch.
        steps: steps of any optimizer.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None)
        >>> state = trainer.run([1, 2], max_epochs=2)
        >>> Minimum(epochs=2, iters=4).reached(trainer), Minimum(epochs=3).reached(trainer)
        (True, False)
    """

    epochs: int = 0
    iters: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            number = whole(field.name, getattr(self, field.name), least=0)
            object.__setattr__(self, field.name, number)  # it is frozen

    def check(self, engine: Engine) -> None:
        """Refuse an engine that can't tell.

        Raises:
            EventError: if it counts no steps, and some are asked for.
        """
        if self.steps:
            optimizer_steps(engine)

    def reached(self, engine: Engine) -> bool:
        """Whether the run has done that much. Ask at an epoch's end or at a safe point."""
        progress = engine.progress
        within = progress.next in (Next.ITERATION, Next.ITERATION_COMPLETED)
        return (
            progress.epoch - within >= self.epochs
            and engine.state.iteration >= self.iters
            and (not self.steps or optimizer_steps(engine) >= self.steps)
        )


def optimizer_steps(engine: Engine) -> int:
    """How many steps the optimizers of a run have made; those left out don't count.

    Raises:
        EventError: if the engine does not fire OPTIMIZER_STEPPED.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> model = torch.nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> step = training_step(model, sgd, torch.nn.functional.mse_loss, accumulate=2)
        >>> trainer = Engine(step, name="train")
        >>> state = trainer.run([(torch.ones(4, 1), torch.ones(4, 1))] * 6)
        >>> optimizer_steps(trainer)
        3
    """
    if not engine.has_registered_events(_STEPPED):
        raise EventError(
            f"{engine!r} counts no steps of an optimizer, since it does not fire {_STEPPED}; make "
            f"it with a TrainingStep, or register StepEvents and fire that one, and do so before."
        )
    return engine.state.get_event_attrib_value(_STEPPED)
