"""A guard against losses that are no longer numbers."""

from __future__ import annotations

import math
from pathlib import Path

from ..engine.checkpoints.store import CheckpointStore
from ..engine.engine import Engine
from ..engine.errors import HandlerError
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.placement.ranks import world_size
from ..engine.priority import Priority
from ..engine.stream.scalars import SCALARS_LOGGED, VALUE_LOGGED

__all__ = ["NonFiniteError", "StopOnNonFinite"]


class NonFiniteError(ArithmeticError):
    """A loss is not a finite number.

    Args:
        name: the loss's name.
        iteration: where it was seen first; on another process, at the latest.
        value: what it was.
        checkpoint: the last checkpoint whose weights gave finite losses; ``None`` for none.
        elsewhere: whether it was so on another process, and not on this one.

    Example:
        >>> error = NonFiniteError("loss", 120, float("nan"), Path("checkpoints/00000100"))
        >>> str(error).partition(". ")[0]
        "'loss' was nan in iteration 120; the last good checkpoint is checkpoints/00000100"
    """

    def __init__(
        self,
        name: str,
        iteration: int,
        value: float,
        checkpoint: Path | None,
        *,
        elsewhere: bool = False,
    ) -> None:
        self.name, self.iteration, self.value = name, iteration, value
        self.checkpoint = checkpoint
        back = f"the last good checkpoint is {checkpoint}" if checkpoint else "no good checkpoint"
        where = "on another process by" if elsewhere else "in"
        super().__init__(
            f"{name!r} was {value} {where} iteration {iteration}; {back}. Look for a learning rate "
            f"that is too high, gradients without clipping, or bad data; DetectAnomaly finds the "
            f"operation."
        )


class StopOnNonFinite(Handler):
    """Ends the run with an error when a loss is NaN or infinite.

    It looks at what :class:`~footplate.handlers.scalars.Scalars` reads at its log points, so it
    costs no operation and no wait in between; the error still names the first iteration. Several
    processes end at the same log point, whose means are of all of them.

    Args:
        checkpoints: the directory of checkpoints, to say which is the last good one.
        names: what to look at; all by default.

    Raises:
        NonFiniteError: at the log point behind the iteration.
        HandlerError: when a run begins in which nothing would be read.

    Example:
        >>> from footplate import Engine
        >>> from footplate.handlers.scalars import Scalars
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> scalars, guard = trainer.attach(Scalars()), trainer.attach(StopOnNonFinite())
        >>> try:
        ...     _ = trainer.run([0.5, float("nan"), 0.5])
        ... except NonFiniteError as error:
        ...     print(error.name, error.iteration)
        loss 2
    """

    priority = Priority.LOW  # behind the sinks, which show what it was

    def __init__(
        self, checkpoints: str | Path | None = None, *, names: tuple[str, ...] | None = None
    ) -> None:
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self.names = names

    def on_register(self, engine: Engine) -> None:
        """Look at each log point."""
        engine.register_events(SCALARS_LOGGED, behind=Events.ITERATION_COMPLETED)
        engine.add_event_handler(SCALARS_LOGGED, self._look, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Refuse to guard a run that would not be looked at."""
        if VALUE_LOGGED.name not in engine.channels:
            raise HandlerError(
                f"{type(self).__name__} looks at what Scalars reads, and {engine!r} has none; "
                f"attach a Scalars() too."
            )

    def _look(
        self,
        engine: Engine,
        step: int,
        scalars: dict[str, float],
        values: dict[str, list[tuple[int, float]]],
    ) -> None:
        looked_at = {
            name: pairs
            for name, pairs in values.items()
            if self.names is None or name in self.names
        }
        bad = [
            (iteration, name, number)
            for name, pairs in looked_at.items()
            for iteration, number in pairs
            if not math.isfinite(number)
        ]
        if bad:
            iteration, name, number = min(bad, key=lambda one: one[0])
            raise NonFiniteError(name, iteration, number, self._last_good(iteration))
        if world_size() > 1:
            self._look_elsewhere(step, scalars, looked_at)

    def _look_elsewhere(
        self,
        step: int,
        scalars: dict[str, float],
        looked_at: dict[str, list[tuple[int, float]]],
    ) -> None:
        """Look at the means, which a number of another process has spoiled, if there is one."""
        for name, pairs in looked_at.items():
            if not math.isfinite(mean := scalars.get(name, 0.0)):
                good = self._last_good(min((one for one, _ in pairs), default=step))
                raise NonFiniteError(name, step, mean, good, elsewhere=True)

    def _last_good(self, iteration: int) -> Path | None:
        """The last checkpoint whose weights were used in an iteration before this one."""
        if self.checkpoints is None:
            return None
        store = CheckpointStore(self.checkpoints)
        good = [path for path, manifest in store if manifest.iteration < iteration - 1]
        return good[-1] if good else None
