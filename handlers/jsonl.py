"""JSONL: a line of JSON for each log point."""

from __future__ import annotations

from itertools import count

from ..engine.engine import Engine
from ..engine.stream.file_sink import FileSink, Keep, row_of
from ..engine.stream.journal import Journal
from ..engine.stream.sink import LogPoint

__all__ = ["JSONL"]


class JSONL(FileSink):
    """Writes a line for each log point: where and when it was, and the scalars by name.

    Each line is handed to the operating system at once, so that a killed process loses none. A run
    that goes on from a checkpoint drops what was written behind it; one that starts anew sets the
    old file aside. NaN and infinities are written as ``NaN`` and ``Infinity``, as Python and
    pandas read them.

    Args:
        path: the file; it and its folder are made if need be.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.

    Attributes:
        client: the :class:`~footplate.engine.stream.journal.Journal` while a run lasts.

    Raises:
        ValueError: when a scalar is named as what each line begins with.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.handlers.scalars import Scalars
        >>> path = tempfile.mkdtemp() + "/scalars.jsonl"
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> sinks = trainer.attach(Scalars()), trainer.attach(JSONL(path))
        >>> state = trainer.run([4.0, 2.0])
        >>> [(line["on"], line["step"], line["loss"]) for line in Journal.read(path)]
        [('epoch', 2, 3.0)]
    """

    client: Journal | None = None

    def open(self, keep: Keep | None) -> int:
        """Open the journal."""
        number = count()
        self.client = Journal(self.path, keep=keep and (lambda row: keep(next(number), row)))
        return self.client.entries

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Write a line."""
        if self.client is not None:
            self.client.append(row_of(point))
            self.rows += 1

    def close(self) -> None:
        """Close the journal."""
        if self.client is not None:
            self.client.close()
            self.client = None
