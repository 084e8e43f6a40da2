"""Early stopping: end a run whose metric no longer improves."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..engine.better import mode_of
from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.minimum import Minimum
from ..engine.priority import Priority
from ..engine.state import Next
from ..engine.whole import whole

__all__ = ["EarlyStopping"]


class EarlyStopping(Handler):
    """Terminates the run when a metric has not improved for a while, or is beyond hope or need.

    The decision is taken behind evaluation; what is due to be saved at the same point still is.

    Each look counts. ``engine.state.metrics`` does not tell whether a value was measured since the
    last look, so one that is measured more rarely would be taken for a lack of improvement: give
    ``when`` the very event behind which it is measured.

    Args:
        metric: an entry of ``engine.state.metrics``.
        patience: how many looks in a row without improvement end the run.
        mode: whether ``"max"`` or ``"min"`` is better; by default the metric's name tells, as
            ``"val_loss"`` does, and if it does not, ``"max"``.
        min_delta: by how much a value must be better than the best to count as an improvement.
        threshold: a value that is good enough: as good as this or better ends the run.
        divergence: a value that is hopeless: worse than this ends the run.
        check_finite: whether NaN or an infinity ends the run; otherwise NaN is no improvement.
        warm_up: how many looks to leave out at first.
        minimum: what the run does in any case. A decision to stop stands, and is held back until
            then.
        when: when to look: the event, and the filter, on which the metric is measured.

    Attributes:
        best: the best value so far.
        waited: how many looks ago that was.
        reason: why it wants to stop, or has stopped; ``None`` while it does not. The record of a
            run that it has ended has it, too, and so does the report.

    Raises:
        KeyError: when it looks and the metric is not there.

    Example:
        >>> from footplate import Engine, Events
        >>> accuracies = iter([0.5, 0.8, 0.7, 0.8, 0.9])
        >>> trainer = Engine(lambda engine, batch: None)
        >>> @trainer.on(Events.EPOCH_COMPLETED, priority="HIGH")
        ... def measure(engine):
        ...     engine.state.metrics["accuracy"] = next(accuracies)
        >>> stopping = trainer.attach(EarlyStopping("accuracy", patience=2))
        >>> state = trainer.run([0], max_epochs=10)
        >>> state.epoch, str(state.reason), stopping.reason
        (4, 'terminated', 'accuracy has not improved in 2 looks; the best is 0.8')
    """

    priority = Priority.BELOW_NORMAL
    for_one_engine = True
    replicated = True

    def __init__(
        self,
        metric: str,
        patience: int,
        *,
        mode: Literal["max", "min"] | None = None,
        min_delta: float = 0.0,
        threshold: float | None = None,
        divergence: float | None = None,
        check_finite: bool = True,
        warm_up: int = 0,
        minimum: Minimum | None = None,
        when: Event | EventList = Events.EPOCH_COMPLETED,
    ) -> None:
        if not min_delta >= 0:
            raise ValueError(f"min_delta is not negative, given {min_delta}.")
        self.metric = metric
        self.patience = whole("patience", patience)
        self.sign = 1.0 if mode_of(metric, mode) == "max" else -1.0
        self.min_delta = min_delta
        self.threshold = threshold
        self.divergence = divergence
        self.check_finite = check_finite
        self.warm_up = whole("warm_up", warm_up, least=0)
        self.minimum = minimum
        self.when = when
        self.best: float | None = None
        self.waited = 0
        self.reason: str | None = None
        self._looks = 0
        self._looked_at: int | None = None
        self._check_bounds()

    def on_register(self, engine: Engine) -> None:
        """Look on the event asked for; a decision held back may be due at any safe point."""
        engine.add_event_handler(self.when, self._look, priority=self.priority)
        if self.minimum is not None:
            self.minimum.check(engine)
            engine.add_event_handler(Events.SAFE_POINT, self._stop, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Stop if that was decided when the state was saved which the run goes on from."""
        if engine.progress.next is not Next.STARTED:
            self._stop(engine)

    def started(self, engine: Engine) -> None:
        """Have patience anew; and forget the best, unless the run goes on from the one before."""
        self.waited, self.reason = 0, None
        if engine.state.iteration == 0:
            self.best, self._looks, self._looked_at = None, 0, None

    def _look(self, engine: Engine) -> None:
        if self._looked_at != engine.state.iteration:  # else an error has the event fire again
            self._looks += 1
            if self._looks > self.warm_up and self.reason is None:
                self.reason = self._judge(self._value(engine))
            self._looked_at = engine.state.iteration
        self._stop(engine)

    def _stop(self, engine: Engine) -> None:
        if self.reason and (self.minimum is None or self.minimum.reached(engine)):
            engine.terminate()

    def _value(self, engine: Engine) -> float:
        metrics = engine.state.metrics
        if self.metric not in metrics:
            raise KeyError(
                f"early stopping needs metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics)) or 'none'}.{nearest(self.metric, metrics)} It "
                f"looks on {self.when!r}; if the metric is measured on another event or more "
                f"rarely, give that as when=…."
            )
        return float(metrics[self.metric])

    def _judge(self, value: float) -> str | None:
        """Take a value in; return why it ends the run, if it does."""
        if self.check_finite and not math.isfinite(value):
            return f"{self.metric} is {value}, which is not finite"
        improved = self.best is None or self.sign * (value - self.best) > self.min_delta
        if improved and not math.isnan(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.divergence is not None and self.sign * (value - self.divergence) < 0:
            return f"{self.metric} is {value}, worse than the divergence bound {self.divergence}"
        if self.threshold is not None and self.sign * (value - self.threshold) >= 0:
            return f"{self.metric} is {value}, as good as the threshold {self.threshold}"
        if self.waited >= self.patience:
            looks = "look" if self.waited == 1 else "looks"
            return (
                f"{self.metric} has not improved in {self.waited} {looks}; the best is {self.best}"
            )
        return None

    def _check_bounds(self) -> None:
        for name in ("threshold", "divergence"):
            if (bound := getattr(self, name)) is not None and math.isnan(bound):
                raise ValueError(f"{name} is a number to compare with, given {bound}.")
        if self.threshold is None or self.divergence is None:
            return
        if self.sign * (self.threshold - self.divergence) <= 0:
            raise ValueError(
                f"threshold={self.threshold} is not better than divergence={self.divergence}, so "
                f"that any value would end the run; are they, or the mode, the wrong way round?"
            )

    def state_dict(self) -> dict[str, Any]:
        """The best value, how long ago it was, and whether and why to stop."""
        return {
            "best": self.best,
            "waited": self.waited,
            "looks": self._looks,
            "reason": self.reason,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the best value, how long ago it was, and whether and why to stop."""
        self.best, self.waited = state["best"], state["waited"]
        self._looks, self.reason = state["looks"], state["reason"]
