"""Sinks that write one file: what becomes of it when a run begins anew, and when one goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .journal import set_aside
from .sink import LogPoint, Sink

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["COLUMNS", "FileSink", "Keep", "row_of"]

COLUMNS = ("run", "engine", "on", "step", "epoch", "wall_time")
"""What a row begins with; the scalars follow by name."""

Keep = Callable[[int, Mapping[str, Any]], bool]
"""Which rows that are there already stay, by their number from 0 and what they hold."""


class FileSink(Sink):
    """Base of sinks that write rows to one file, each with the ``step`` that it is of.

    A run that goes on drops the rows that it will write again: those of the iterations that it
    repeats, and those behind the row that was the last when it was saved, or when an evaluation
    began that a signal cut. It leaves those of other engines' runs. A run that starts anew sets a
    file aside that it finds, ``name.csv`` as ``name.1.csv`` and so on. Another engine that runs
    later with the same object, as a tester does behind a trainer, adds to its file.

    Args:
        path: the file; it and its folder are made if need be.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.

    Attributes:
        rows: how many rows the file has; a subclass counts those that it adds.

    Example:
        >>> from footplate import Engine, Events
        >>> from footplate.handlers.scalars import Scalars
        >>> class Text(FileSink):
        ...     def open(self, keep):
        ...         self.file = self.path.open("w")
        ...         return 0
        ...     def close(self):
        ...         self.file.close()
        ...     def write(self, engine, point):
        ...         print(point.step, point.scalars["loss"], file=self.file)
        ...         self.rows += 1
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> _ = trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
        >>> sink = trainer.attach(Text("losses.txt", names="loss", every=2))
        >>> state = trainer.run([4.0, 2.0, 1.0, 0.5])
        >>> sink.path.read_text().splitlines(), sink.rows
        (['2 2.0', '4 0.5'], 2)
    """

    def __init__(
        self, path: str | Path, *, names: str | Sequence[str] = "*", every: int = 1
    ) -> None:
        super().__init__(names=names, every=every)
        self.path = Path(path)
        self.rows = 0

    def open(self, keep: Keep | None) -> int:
        """Open the file to add to it, without the rows that are not kept; return how many are."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError

    def start_anew(self, *, again: bool) -> None:
        """Set the file aside."""
        set_aside(self.path)

    def begin(self, engine: Engine) -> None:
        """Open the file."""
        goes_on = engine.progress.began > 0
        self.rows = self.open(_before(engine, self.goes_on_from) if goes_on else None)

    def place(self) -> int:
        """How many rows there are."""
        return self.rows

    def end(self, engine: Engine, status: str) -> None:
        """Close the file."""
        self.close()


def row_of(point: LogPoint) -> dict[str, Any]:
    """A log point as a row.

    Raises:
        ValueError: for a scalar with the name of one of :data:`COLUMNS`.

    Example:
        >>> row = row_of(LogPoint("train", "train", "epoch", 10, 1, {"loss": 0.5}))
        >>> {name: value for name, value in row.items() if name != "wall_time"}
        {'run': 'train', 'engine': 'train', 'on': 'epoch', 'step': 10, 'epoch': 1, 'loss': 0.5}
    """
    if clash := [name for name in COLUMNS if name in point.scalars]:
        raise ValueError(
            f"a scalar is named {clash[0]!r}, which is what a column is named that each row has; "
            f"give it another name, or Scalars(prefix=…) to all of the step's output."
        )
    told = (point.run, point.engine, point.on, point.step, point.epoch, time.time())
    return {**dict(zip(COLUMNS, told, strict=True)), **point.scalars}


def _before(run: Engine, rows: int | None) -> Keep:
    """What stays of the file when a run goes on: all that it will not write again.

    Args:
        run: the outermost engine.
        rows: how many of the rows stand, if that is known.
    """
    name = run.name or "engine"
    step, loaded = run.progress.began, run.progress.loaded

    def keep(number: int, row: Mapping[str, Any]) -> bool:
        if row["run"] != name:
            return True
        if rows is not None and number >= rows:
            return False
        if loaded and row["engine"] == name and row.get("on") == "run":
            return int(row["step"]) < step  # a checkpoint is saved ahead of a run's end
        return int(row["step"]) <= step

    return keep
