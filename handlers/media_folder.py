"""A folder of what a run shows: pictures, texts and tables as files, and an index of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from ..engine.data.media import columns_and_rows, drawn, histogram_of, pixels, png_of
from ..engine.engine import Engine
from ..engine.outermost import outermost
from ..engine.stream.file_sink import FileSink, Keep
from ..engine.stream.journal import Journal
from ..engine.stream.strict import strict

__all__ = ["MediaFolder"]


class MediaFolder(FileSink):
    """Writes what is shown into a folder, and a line for each file into its ``media.jsonl``.

    Images and figures are PNG files, several images tiles of one; texts are text files, histograms
    and tables JSON, in which NaN and infinities are ``"NaN"`` and ``"Infinity"``. A line of the
    index has ``run`` (the outermost engine), ``engine``, ``kind``, ``name``, ``step``, ``epoch``,
    ``file`` (within the folder) and ``wall_time``. Files are never overwritten. A run that goes on
    from a checkpoint drops what was written behind it, files and lines; one that starts anew sets
    the old index aside.

    Args:
        folder: where the files go; made if need be.
        names: shell patterns of the names that it takes.

    Attributes:
        client: the index, a :class:`~footplate.engine.stream.journal.Journal`, while a run lasts.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.engine.stream.media import show
        >>> folder = Path(tempfile.mkdtemp())
        >>> trainer = Engine(lambda engine, batch: show(engine, "text", "sample", batch))
        >>> media = trainer.attach(MediaFolder(folder))
        >>> state = trainer.run(["a", "b"])
        >>> [(line["step"], line["file"]) for line in Journal.read(folder / "media.jsonl")]
        [(1, 'sample_00000001.txt'), (2, 'sample_00000002.txt')]
    """

    client: Journal | None = None

    def __init__(self, folder: str | Path, *, names: str | Sequence[str] = "*") -> None:
        self.folder = Path(folder)
        super().__init__(self.folder / "media.jsonl", names=names)

    def open(self, keep: Keep | None) -> int:
        """Open the index; the files of lines that are not kept go with them."""
        number = count()

        def stays(line: dict[str, Any]) -> bool:
            if keep is None or keep(next(number), line):
                return True
            (self.folder / line["file"]).unlink(missing_ok=True)
            return False

        self.client = Journal(self.path, keep=stays)
        return self.client.entries

    def close(self) -> None:
        """Close the index."""
        if self.client is not None:
            self.client.close()
            self.client = None

    # ------------------------------------------------------------------ media

    def write_image(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write an image, or several as tiles of one."""
        self._add(engine, "image", name, step, png_of(pixels(value)), "png")

    def write_figure(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a figure as an image."""
        self._add(engine, "figure", name, step, png_of(drawn(value)), "png")

    def write_histogram(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write the counts and the edges of a histogram."""
        text = json.dumps(strict(asdict(histogram_of(value))))
        self._add(engine, "histogram", name, step, text.encode(), "json")

    def write_text(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a text."""
        self._add(engine, "text", name, step, str(value).encode(), "txt")

    def write_table(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write the columns and the rows of a table."""
        columns, rows = columns_and_rows(value)
        text = json.dumps(strict({"columns": columns, "rows": rows}))
        self._add(engine, "table", name, step, text.encode(), "json")

    def _add(
        self, engine: Engine, kind: str, name: str, step: int, content: bytes, suffix: str
    ) -> None:
        if self.client is None:
            return
        file = self._free(re.sub(r"[^\w.-]+", "_", name).lstrip("."), step, suffix)
        file.write_bytes(content)
        run = outermost(engine)
        line = {
            "run": run.name or "engine",
            "engine": engine.name or "engine",
            "kind": kind,
            "name": name,
            "step": step,
            "epoch": run.state.epoch,
            "file": file.name,
            "wall_time": time.time(),
        }
        self.client.append(line)
        self.rows += 1

    def _free(self, name: str, step: int, suffix: str) -> Path:
        """A file that is not there yet."""
        number, file = 1, self.folder / f"{name}_{step:08d}.{suffix}"
        while file.exists():
            file = self.folder / f"{name}_{step:08d}.{number}.{suffix}"
            number += 1
        return file
