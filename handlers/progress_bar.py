"""Progress bars: one line for each engine that runs, by rich."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ..engine.engine import Engine
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.scalars import readable

__all__ = ["ProgressBar"]


class ProgressBar(Handler):
    """Shows a bar for the epoch of each engine that it is attached to.

    Attach one object to a trainer and its evaluators, and their bars stand below each other while
    they run. Where the output is no terminal it stays quiet.

    Args:
        metrics: entries of ``engine.state.metrics`` to show in the bar.
        interval: seconds between two drawings at least.
        console: where to draw; standard output by default.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> bar = trainer.attach(ProgressBar(metrics=["loss"]))
        >>> state = trainer.run([0, 1, 2], max_epochs=2)
    """

    priority = Priority.BELOW_NORMAL

    def __init__(
        self,
        metrics: tuple[str, ...] | list[str] = (),
        *,
        interval: float = 0.1,
        console: Console | None = None,
    ) -> None:
        self.metrics = tuple(metrics)
        self.interval = interval
        self.console = console
        self._progress: Progress | None = None
        self._tasks: dict[int, TaskID] = {}  # of the engines that run, by identity
        self._drawn = 0.0

    def on_register(self, engine: Engine) -> None:
        """Move the bar at each iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Begin to draw with the outermost engine, and give each its line."""
        console = self.console or Console()
        if not console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[shown]}"),
                console=console,
                auto_refresh=False,
                transient=True,
            )
            self._progress.start()
        self._tasks[id(engine)] = self._progress.add_task("", shown="")
        self.epoch_started(engine)

    def epoch_started(self, engine: Engine) -> None:
        """Say which epoch it is, and set the bar to where that stands."""
        task = self._tasks.get(id(engine))
        if self._progress is None or task is None:
            return
        state = engine.state
        epochs = "" if state.max_epochs in (None, math.inf) else f"/{state.max_epochs}"
        self._progress.reset(
            task,
            total=state.epoch_length,
            completed=engine.progress.epoch_iteration % (state.epoch_length or 1),
            description=f"{engine.name or 'engine'} [{state.epoch}{epochs}]",
        )

    def closed(self, engine: Engine) -> None:
        """Take the line away, and end the drawing with the outermost engine."""
        task = self._tasks.pop(id(engine), None)
        if self._progress is None or task is None:
            return
        self._progress.remove_task(task)
        if not self._tasks:
            self._progress.stop()
            self._progress = None

    def _advance(self, engine: Engine) -> None:
        now = time.monotonic()
        if self._progress is None or now - self._drawn < self.interval:
            return
        self._drawn = now
        state = engine.state
        shown = {key: state.metrics[key] for key in self.metrics if key in state.metrics}
        self._progress.update(
            self._tasks[id(engine)],
            completed=engine.progress.epoch_iteration + 1,
            total=state.epoch_length,
            shown="  ".join(f"{key} {readable(value)}" for key, value in shown.items()),
        )
        self._progress.refresh()
