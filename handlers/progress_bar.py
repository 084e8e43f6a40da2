"""Progress bars: one line for each engine that runs, by rich."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import Progress, Task, TaskID
from rich.text import Text

from ..engine.engine import Engine
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from ..engine.stream.scalars import readable

__all__ = ["ProgressBar"]

_SHARE = 200  # drawing takes a 200th of the time, as long as it then is done each second
_WIDTH = 40  # of a bar


class ProgressBar(Handler):
    """Shows a bar for the epoch of each engine that it is attached to.

    Attach one object to a trainer and its evaluators, and their bars stand below each other while
    they run. Beside a bar stand the metrics asked for, and what was logged with ``bar=True``, as of
    the last log point. Where the output is no terminal a plain line now and then tells how far a
    long run is. Of several processes the first alone draws.

    Args:
        metrics: entries of ``engine.state.metrics`` to show; a tensor is not read, so that drawing
            never waits for a device.
        interval: seconds between two drawings at least, and more where drawing takes long; 0 to
            draw in each iteration.
        plain: seconds between two lines where there is no terminal; ``None`` for none.
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
        metrics: Sequence[str] = (),
        *,
        interval: float = 0.1,
        plain: float | None = 60.0,
        console: Console | None = None,
    ) -> None:
        self.metrics = tuple(metrics)
        self.interval = interval
        self.plain = plain
        self.console = console
        self._console: Console | None = None  # while something runs
        self._progress: Progress | None = None
        self._tasks: dict[int, TaskID] = {}  # of the engines that run, by identity
        self._due = math.inf

    def on_register(self, engine: Engine) -> None:
        """Move the bar at each iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Begin to draw with the outermost engine, and give each its line."""
        if self._console is None:
            self._begin(self.console or Console())
        if self._progress is not None:
            done, total = _extent(engine, engine.progress.epoch_iteration)
            self._tasks[id(engine)] = self._progress.add_task(
                _title(engine), total=total, completed=int(done % (total or 1)), shown=""
            )
        else:
            self._tasks[id(engine)] = TaskID(0)

    def _begin(self, console: Console) -> None:
        self._console = console
        if console.is_terminal and is_first():
            self._due = 0.0
            self._progress = _Lines(console=console, auto_refresh=False, transient=True)
            self._progress.start()
        else:
            wait = self.plain if is_first() else None
            self._due = math.inf if wait is None else time.monotonic() + wait

    def epoch_started(self, engine: Engine) -> None:
        """Say which epoch it is, and set the bar to where that stands."""
        task = self._tasks.get(id(engine))
        if self._progress is None or task is None:
            return
        done, total = _extent(engine, engine.progress.epoch_iteration)
        completed = done % (total or 1)
        self._progress.update(task, total=total, completed=completed, description=_title(engine))
        if time.monotonic() >= self._due:  # the first iteration may take long
            self._progress.refresh()

    def closed(self, engine: Engine) -> None:
        """Take the line away, and end the drawing with the outermost engine."""
        task = self._tasks.pop(id(engine), None)
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)
        if not self._tasks:
            if self._progress is not None:
                self._progress.stop()
            self._progress = self._console = None

    def _advance(self, engine: Engine) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        done, total = _extent(engine, engine.progress.epoch_iteration + 1)
        shown = "  ".join(f"{name} {value}" for name, value in self._shown(engine).items())
        if self._progress is not None:
            task = self._tasks[id(engine)]
            self._progress.update(task, completed=done, total=total, shown=shown)
            self._progress.refresh()
            drawn = time.monotonic()
            wait = max(self.interval, min(_SHARE * (drawn - now), 1.0))
            self._due = drawn + (self.interval and wait)
        elif self._console is not None:
            self._due = now + (self.plain or math.inf)
            of = f"/{total}" if total else ""
            print(f"{_title(engine)} {done}{of}  {shown}".rstrip(), file=self._console.file)

    def _shown(self, engine: Engine) -> dict[str, str]:
        """The values beside the bar, as far as they are known without a wait."""
        metrics, history = engine.state.metrics, engine.history
        found = {name: metrics[name] for name in self.metrics if name in metrics}
        found.update((name, one.last) for name, one in history.items() if one.bar and one.count)
        tensor = "requires_grad"
        return {name: readable(one) for name, one in found.items() if not hasattr(one, tensor)}


class _Lines(Progress):
    """A line of text for each engine that runs.

    It is drawn anew with each line that is printed, and rich's own table takes six times as long.
    """

    def get_renderables(self) -> Iterator[Text]:
        """The lines, in columns; names are no markup, and may have brackets."""
        tasks = self.tasks
        counts = [_count(task) for task in tasks]
        title = max((len(task.description) for task in tasks), default=0)
        width = max(map(len, counts), default=0)
        for task, count in zip(tasks, counts, strict=True):
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append(f"{task.description:{title}} ")
            done = min(task.completed / task.total, 1.0) if task.total else 0.0
            full = int(done * _WIDTH)
            bar = "-" if self.console.options.ascii_only else "━"
            line.append(bar * full, "bar.finished" if full == _WIDTH else "bar.complete")
            line.append(bar * (_WIDTH - full), "bar.back")
            line.append(f" {count:>{width}}", "progress.download")
            line.append(f" {_left(task)}", "progress.remaining")
            yield line.append(f" {task.fields['shown']}")


def _count(task: Task) -> str:
    return f"{task.completed:.0f}/{'?' if task.total is None else f'{task.total:.0f}'}"


def _left(task: Task) -> str:
    """The time that is left, as of the speed of late."""
    seconds = task.time_remaining
    return "-:--:--" if seconds is None else str(timedelta(seconds=math.ceil(seconds)))


def _extent(engine: Engine, in_epoch: int) -> tuple[int, float | None]:
    """How many iterations are done, and of how many: of the run, if that is counted by them."""
    state = engine.state
    if state.max_iters not in (None, math.inf):
        return state.iteration, state.max_iters
    return in_epoch, state.epoch_length


def _title(engine: Engine) -> str:
    state = engine.state
    if state.max_iters not in (None, math.inf):
        return engine.name or "engine"
    epochs = "" if state.max_epochs in (None, math.inf) else f"/{state.max_epochs}"
    return f"{engine.name or 'engine'} [{state.epoch}{epochs}]"
