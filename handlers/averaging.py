"""Averaged weights: an exponential moving average, and stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Events
from ..engine.step.averages import Averaging
from ..engine.step.events import StepEvents
from ..engine.whole import whole

__all__ = ["EMA", "SWA"]


class EMA(Averaging):
    """An exponential moving average of the weights, updated when an optimizer has stepped.

    ``average = decay * average + (1 - decay) * weights``. It is updated on OPTIMIZER_STEPPED if
    the engine fires that, so that steps left out and batches that are accumulated don't count,
    else on ITERATION_COMPLETED.

    Args:
        model: the model that is trained.
        decay: how much of the average stays, from 0 to less than 1.
        warm_up: whether the decay begins lower, by TensorFlow's rule: the lesser of ``decay`` and
            ``(1 + n) / (10 + n)`` behind ``n`` updates.
        every: how many steps there are from one update to the next.
        buffers: whether running statistics and other buffers are a ``"copy"`` or an
            ``"average"``.
        optimization: of several optimizations, the one whose steps count, by name; all by
            default.

    Raises:
        ValueError: for a decay outside of that range, and for ``every`` less than 1.

    Example:
        >>> import torch
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> def step(engine, batch):
        ...     with torch.no_grad():
        ...         model.weight += 1.0
        >>> trainer = Engine(step, name="train")
        >>> ema = trainer.attach(EMA(model, decay=0.5))
        >>> state = trainer.run(range(3))
        >>> with ema.applied():
        ...     model.weight.item()
        2.25
        >>> model.weight.item()
        3.0
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.999,
        *,
        warm_up: bool = False,
        every: int = 1,
        buffers: Literal["copy", "average"] = "copy",
        optimization: str | None = None,
    ) -> None:
        super().__init__(model, buffers=buffers)
        if not 0 <= decay < 1:
            raise ValueError(f"decay is at least 0 and less than 1, given {decay!r}.")
        self.decay = decay
        self.warm_up = warm_up
        self.every = whole("every", every)
        self.optimization = optimization
        self.steps = 0

    @property
    def current_decay(self) -> float:
        """The decay of the next update."""
        rising = (1 + self.updates) / (10 + self.updates)
        return min(self.decay, rising) if self.warm_up else self.decay

    def on_register(self, engine: Engine) -> None:
        """Update on optimizer steps where they are told, else on iterations."""
        super().on_register(engine)
        wanted = self.optimization
        if wanted is not None and wanted not in engine.handlers:
            raise ValueError(
                f"{engine!r} has no optimization named {wanted!r} yet; attach it first."
                f"{nearest(wanted, engine.handlers)}"
            )
        if engine.has_registered_events(StepEvents.OPTIMIZER_STEPPED):
            event, handler = StepEvents.OPTIMIZER_STEPPED, self._stepped
            engine.add_event_handler(event, handler, priority=self.priority)
        else:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._step, priority=self.priority)

    def _forget(self) -> None:
        super()._forget()
        self.steps = 0

    def _stepped(self, optimization: Any) -> None:
        if self.optimization in (None, optimization.name):
            self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.update()

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        average = get_ema_multi_avg_fn(self.current_decay)  # type: ignore[no-untyped-call]
        average(averaged, current, None)

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many steps and updates are in it; see :class:`Averaging`."""
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the average; see :class:`Averaging`."""
        super().load_state_dict(state)
        self.steps = state["steps"]


class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs.

    By Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
    (2018). It goes with a learning rate that stays high, as ``torch.optim.swa_utils.SWALR`` gives
    it, and a model with batch norm needs :meth:`~Averaging.update_batch_norm` in the end.

    Args:
        model: the model that is trained.
        start: the first epoch whose end counts.
        every: how many epochs there are from one that counts to the next.
        buffers: whether running statistics and other buffers are a ``"copy"`` or an
            ``"average"``.

    Raises:
        ValueError: for ``start`` or ``every`` less than 1.

    Example:
        >>> import torch
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> def step(engine, batch):
        ...     with torch.no_grad():
        ...         model.weight += 1.0
        >>> trainer = Engine(step, name="train")
        >>> swa = trainer.attach(SWA(model, start=2, every=2))
        >>> state = trainer.run([0], max_epochs=7)
        >>> swa.updates, swa.model_state_dict()["weight"].item()
        (3, 4.0)
    """

    def __init__(
        self,
        model: nn.Module,
        start: int,
        *,
        every: int = 1,
        buffers: Literal["copy", "average"] = "copy",
    ) -> None:
        super().__init__(model, buffers=buffers)
        self.start = whole("start", start)
        self._taken_at: int | None = None
        self.every = whole("every", every)

    def _forget(self) -> None:
        super()._forget()
        self._taken_at = None

    def epoch_completed(self, engine: Engine) -> None:
        """Take the weights in if this epoch counts."""
        since = engine.state.epoch - self.start
        again = self._taken_at == engine.state.iteration  # an error has the event fire again
        if since >= 0 and since % self.every == 0 and not again:
            self.update()
            self._taken_at = engine.state.iteration

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        average = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
        average(averaged, current, self.updates)
