"""CSV: a row for each log point."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ..engine.engine import Engine
from ..engine.stream.file_sink import COLUMNS, FileSink, Keep, row_of
from ..engine.stream.sink import LogPoint

__all__ = ["CSV"]


class CSV(FileSink):
    """Writes a table with a row for each log point.

    Its columns are ``run`` (the outermost engine), ``engine``, ``on``, ``step``, ``epoch``,
    ``wall_time`` (seconds since 1970), and the scalars by name. For a name that appears later the
    file is replaced by one with a wider header. NaN and infinities are written as ``nan`` and
    ``inf``; what a log point lacks is empty.

    Each row is handed to the operating system at once, so that a killed process loses none. A run
    that goes on from a checkpoint drops what was written behind it; one that starts anew sets the
    old file aside.

    Args:
        path: the file; it and its folder are made if need be.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.

    Attributes:
        client: the open file, while a run lasts.

    Raises:
        ValueError: when a scalar is named as one of the first columns; when a run goes on and the
            file is no such table.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.handlers.scalars import Scalars
        >>> path = Path(tempfile.mkdtemp(), "scalars.csv")
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> sinks = trainer.attach(Scalars()), trainer.attach(CSV(path))
        >>> state = trainer.run([4.0, 2.0])
        >>> print(path.read_text().splitlines()[0])
        run,engine,on,step,epoch,wall_time,loss,loss_epoch
    """

    client: TextIO | None = None

    def __init__(
        self, path: str | Path, *, names: str | Sequence[str] = "*", every: int = 1
    ) -> None:
        super().__init__(path, names=names, every=every)
        self._columns = list(COLUMNS)

    def open(self, keep: Keep | None) -> int:
        """Open the file; it is replaced as a whole, or left as it is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._columns, rows = self._read()
        if keep is not None:
            rows = [row for number, row in enumerate(rows) if keep(number, row)]
        whole = self._text(rows)
        if whole != self.path.read_text(encoding="utf-8", errors="replace"):
            self._replace(whole)
        self._reopen()
        return len(rows)

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Write a row."""
        row = row_of(point)
        if new := [name for name in row if name not in self._columns]:
            self.close()
            self._columns, rows = self._read()
            self._columns += new
            self._replace(self._text(rows))
            self._reopen()
        if self.client is not None:
            self.client.write(self._text([row], header=False))
            self.client.flush()
            self.rows += 1

    def close(self) -> None:
        """Close the file."""
        if self.client is not None:
            self.client.close()
            self.client = None

    def _reopen(self) -> None:
        self.client = self.path.open("a", newline="", encoding="utf-8")

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The header, and the rows that are whole."""
        text = self.path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        whole = text[: text.rfind("\n") + 1]  # a kill may have left the half of a line
        header, *rows = csv.reader(io.StringIO(whole, newline="")) if whole else [list(COLUMNS)]
        if tuple(header[: len(COLUMNS)]) != COLUMNS:
            raise ValueError(
                f"{self.path} is to be gone on with, but it begins with {','.join(header)!r:.80} "
                f"in place of {','.join(COLUMNS)!r}; give another path, or move it away."
            )
        return header, [dict(zip(header, r, strict=True)) for r in rows if len(r) == len(header)]

    def _text(self, rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _replace(self, text: str) -> None:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(self.path)
