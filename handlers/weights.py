"""Histograms of weights and gradients."""

from __future__ import annotations

from torch import Tensor, nn

from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.step.announcer import register
from ..engine.step.events import StepEvents
from ..engine.step.hidden import refuse_hidden_gradients, refuse_hidden_weights
from ..engine.step.optimization import Optimization
from ..engine.stream.media import show
from ..engine.stream.scalars import MEDIA_LOGGED

__all__ = ["WeightHistograms"]

_NOW_AND_THEN = Events.ITERATION_STARTED(every=500)


class WeightHistograms(Handler):
    """Shows how weights are distributed, and their gradients, as ``weights/…``, ``gradients/…``.

    In an iteration that is asked for they are taken together when the gradients are ready, ahead
    of clipping and the step. If gradients are accumulated over batches, that is where the window
    is full, in this iteration or a later one; there is nothing of an iteration in which no
    gradient gets ready again before the run ends. Each parameter that is shown is read from its
    device by the sinks that have a place for histograms.

    Args:
        model: whose parameters.
        when: when to take them; an event of an iteration's beginning.
        gradients: whether to show the gradients. Without them the weights are taken at once, and
            the step need not be one of footplate's.

    Example:
        >>> import torch
        >>> from footplate.engine.step.training import training_step
        >>> model = nn.Linear(2, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(model, sgd, nn.functional.mse_loss), name="train")
        >>> when = Events.ITERATION_STARTED(every=2)
        >>> histograms = trainer.attach(WeightHistograms(model, when))
        >>> @trainer.on("MEDIA_LOGGED")
        ... def look(engine, step, name, value):
        ...     print(step, name, tuple(value.shape))
        >>> state = trainer.run([(torch.ones(4, 2), torch.ones(4, 1))] * 3)
        2 weights/weight (1, 2)
        2 gradients/weight (1, 2)
        2 weights/bias (1,)
        2 gradients/bias (1,)
    """

    def __init__(
        self,
        model: nn.Module,
        when: Event | EventList = _NOW_AND_THEN,
        *,
        gradients: bool = True,
    ) -> None:
        self.model = model
        self.when = when
        self.gradients = gradients
        self._due: set[int] = set()  # parameters that wait for their gradients, by identity

    def on_register(self, engine: Engine) -> None:
        """Show them when asked for, or when the gradients are ready next."""
        engine.register_events(MEDIA_LOGGED, behind=Events.ITERATION_COMPLETED)
        if not self.gradients:
            engine.add_event_handler(self.when, self._show_weights, priority=self.priority)
            return
        register(engine)
        engine.add_event_handler(self.when, self._mark, priority=self.priority)
        ready = StepEvents.GRADIENTS_READY
        engine.add_event_handler(ready, self._show_both, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Refuse a run in which there is nothing to see."""
        refuse_hidden_weights(self.model, "WeightHistograms")
        if self.gradients:
            refuse_hidden_gradients(engine, "WeightHistograms(gradients=True)")

    def _show_weights(self, engine: Engine) -> None:
        for name, one in self.model.named_parameters():
            _show(engine, f"weights/{name}", one)

    def _mark(self) -> None:
        self._due = {id(one) for one in self.model.parameters()}

    def _show_both(self, engine: Engine, optimization: Optimization) -> None:
        """Show the parameters of the optimizer at hand; there may be others, with their turns."""
        if not self._due:
            return
        ready = self._due & {id(one) for one in optimization.parameters}
        self._due -= ready
        for name, one in self.model.named_parameters():
            if id(one) in ready:
                _show(engine, f"weights/{name}", one)
                if one.grad is not None:
                    _show(engine, f"gradients/{name}", one.grad)


def _show(engine: Engine, name: str, tensor: Tensor) -> None:
    """Show a tensor; of one in shards all of it, which every process takes part in."""
    gather = getattr(tensor, "full_tensor", None)
    show(engine, "histogram", name, (tensor if gather is None else gather()).detach())
