"""Trace: where the time of a run goes, handler by handler."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from ..engine.trace.chrome import write_chrome_trace
from ..engine.trace.table import Line, findings, left_out, lines, table
from ..engine.trace.timeline import Timeline
from ..engine.trace.tracing import Tracer, name_of, trace
from ..engine.whole import whole

__all__ = ["Trace"]

_logger = logging.getLogger("footplate.trace")


class Trace(Handler):
    """Records how long each event, each handler, each step and each wait for data takes.

    Engines that run within this one, as an evaluator does, are recorded, too. When the run ends,
    whatever ended it, a file is written that https://ui.perfetto.dev shows, and the logger
    ``footplate.trace`` warns where handlers take more than 10 % of the time, or the data more than
    20 %. ``print(trace)`` shows a table, whose times add up to the whole.

    Each ``run()`` is a trace of its own, which replaces the one before, in the file as well.
    Nothing waits for a device: what a step queues there is paid for by whoever waits for it. Of an
    evaluator that has a trace of its own, this one sees the handler that runs it. Nothing of a
    trace is saved with the run. Of several processes the first alone writes a file.

    Args:
        path: the file to write, ``"trace.json"`` say; folders are made. None by default.
        max_spans: how many spans are kept for the file, from the first on; memory is set aside for
            them, 32 bytes each. The table is of all.

    Raises:
        ValueError: for a path that is a folder, or ``max_spans`` less than 1.

    Example:
        >>> from footplate import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> @trainer.on(Events.EPOCH_COMPLETED)
        ... def report(engine):
        ...     pass
        >>> trace = trainer.attach(Trace())
        >>> state = trainer.run([1, 2, 3], max_epochs=2)
        >>> sorted((line.what, line.calls) for line in trace.lines())
        [('data wait', 6), ('dispatch', 4), ('report', 2), ('step', 6)]
    """

    priority = Priority.LOWEST
    for_one_engine = True

    def __init__(self, path: str | os.PathLike[str] | None = None, *, max_spans: int = 200_000):
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.is_dir():
            raise ValueError(f"path= is a file to write, but {self.path} is a folder.")
        self._timeline = Timeline(whole("max_spans", max_spans))

    def on_register(self, engine: Engine) -> None:
        """Trace from the next event on; a run that is under way from here."""
        tracer = Tracer(self._timeline, (name_of(engine),), self)
        trace(engine, tracer)
        if engine.watch is not None:
            tracer.begin(engine)

    def on_unregister(self, engine: Engine) -> None:
        """Trace no longer; of a run that is under way the file is written now."""
        if engine.tracer is not None and engine.tracer.handler is self:
            engine.tracer.part(engine)

    def opened(self, engine: Engine) -> None:
        """Make the file's folder now, rather than fail when the run is over."""
        if self.path is not None and is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def closed(self, engine: Engine) -> None:
        """Write the file, and warn of what takes too long."""
        self._timeline.finish()
        for finding in findings(self._timeline):
            _logger.warning("%s", finding)
        if self.path is not None and is_first():
            self.write(self.path)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the last run in Chrome's trace event format.

        Args:
            path: the file; what is there is replaced.
        """
        remarks = [*left_out(self._timeline), *findings(self._timeline)]
        write_chrome_trace(self._timeline, Path(path), remarks=remarks)

    def lines(self) -> list[Line]:
        """What took the time of the last run; see :func:`footplate.engine.trace.table.lines`."""
        return lines(self._timeline)

    def table(self) -> str:
        """What took the time of the last run, as people read it; ``print(trace)`` prints it."""
        return table(self._timeline)

    def __str__(self) -> str:
        return self.table()
