"""The console: one readable line at each log point, and a row for each epoch."""

from __future__ import annotations

import datetime
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from ..engine.data.media import columns_and_rows
from ..engine.engine import Engine
from ..engine.outermost import outermost
from ..engine.stream.scalars import readable
from ..engine.stream.sink import LogPoint, Sink

__all__ = ["Console"]

_FIRST = ("lr", "eta", "time", "data_time", "memory")
"""What a line begins with, if it is logged."""


class Console(Sink):
    """Prints what a :class:`~footplate.handlers.scalars.Scalars` logs.

    At a log point of an iteration a line says which engine it is, its epoch, and which iteration
    of that; then the learning rate, the time that is left, the seconds that an iteration took and
    those of them that it waited for data, and the memory used, as far as somebody tells them; then
    what the stream brought. At the end of an epoch a row sums it up. Texts, such as the system's
    environment, are printed as they are. Without a stream all of it goes to the logger
    ``footplate.console``.

    Args:
        names: shell patterns of what to print.
        every: which log points of iterations to print: each n-th.
        stream: where to print; ``"stdout"`` is what that is at the time. ``None`` leaves it all
            to Python's logging.
        file: where to write the lines besides, each with the time; the file grows.

    Example:
        >>> from footplate import Engine, Events
        >>> from footplate.handlers.scalars import Scalars
        >>> trainer = Engine(lambda engine, batch: {"loss": 1 / batch}, name="train")
        >>> scalars = trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
        >>> console = trainer.attach(Console())
        >>> state = trainer.run([1, 2, 4, 8], max_epochs=2)
        train [1/2][2/4]  loss 0.7500
        train [1/2][4/4]  loss 0.1875
        train [1/2]  loss_epoch 0.4688
        train [2/2][2/4]  loss 0.7500
        train [2/2][4/4]  loss 0.1875
        train [2/2]  loss_epoch 0.4688
    """

    def __init__(
        self,
        *,
        names: str | Sequence[str] = "*",
        every: int = 1,
        stream: TextIO | Literal["stdout"] | None = "stdout",
        file: str | Path | None = None,
    ) -> None:
        super().__init__(names=names, every=every)
        self.stream = stream
        self.file = None if file is None else Path(file)
        self.client = logging.getLogger("footplate.console")
        self._log: TextIO | None = None

    def begin(self, engine: Engine) -> None:
        """Open the file."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._log = self.file.open("a", encoding="utf-8")

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Print a line."""
        shown = dict(point.scalars)
        parts = [f"{point.engine} {_place(engine, point)}"]
        parts += [f"{name} {_read(name, shown.pop(name))}" for name in _FIRST if name in shown]
        parts += [f"{name} {_read(name, value)}" for name, value in shown.items()]
        self._say("  ".join(parts))

    def write_text(self, engine: Engine, name: str, value: str, step: int) -> None:
        """Print a text."""
        self._say(value)

    def write_table(
        self, engine: Engine, name: str, value: Sequence[Mapping[str, Any]], step: int
    ) -> None:
        """Print a table; what its columns are called stands above, but for name and value."""
        columns, cells = columns_and_rows(value)
        rows = [["" if cell is None else readable(cell) for cell in row] for row in cells]
        if rows and columns != ["name", "value"]:
            rows.insert(0, columns)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        self._say("\n  ".join([f"{name}:", *lines]))

    def end(self, engine: Engine, status: str) -> None:
        """Say how the run ended if it did not end well, and close the file."""
        if status in ("error", "signalled", "interrupted"):
            self._say(f"{engine.name or 'engine'} {status} at iteration {engine.state.iteration}")
        if self._log is not None:
            self._log.close()
            self._log = None

    def _say(self, text: str) -> None:
        if self.stream is None:
            self.client.info(text)
        else:
            stream = sys.stdout if self.stream == "stdout" else self.stream
            print(text, file=stream, flush=True)
        if self._log is not None:
            now = datetime.datetime.now().isoformat(" ", "seconds")
            self._log.write(f"{now}  {text}\n")
            self._log.flush()


def _place(engine: Engine, point: LogPoint) -> str:
    """Where the run stands, as ``[epoch/epochs][iteration/iterations]``."""
    run = outermost(engine).state
    where = f"[{point.epoch}{_of(run.max_epochs)}]"
    if run.max_iters not in (None, math.inf):
        where = f"[{point.step}/{run.max_iters}]"
        if run is engine.state:
            return where
    if point.on != "iteration" or not engine.state.iteration:
        return where
    return f"{where}[{engine.progress.epoch_iteration + 1}{_of(engine.state.epoch_length)}]"


def _of(limit: float | None) -> str:
    return "" if limit in (None, math.inf) else f"/{limit}"


def _read(name: str, value: float) -> str:
    if name == "eta":
        return str(datetime.timedelta(seconds=round(value))) if math.isfinite(value) else "?"
    if name == "memory":
        return f"{value:.0f} MiB"
    if name in ("time", "data_time"):
        return f"{value:.3f} s"
    if name.endswith("/s"):
        return f"{value:.4g}" if value < 1000 else f"{value:.0f}"
    return f"{value:.2e}" if name.startswith("lr") else readable(value)
