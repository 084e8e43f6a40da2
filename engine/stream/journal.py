"""A journal: a file of JSON lines that grows while a run lasts, and that a kill can't spoil."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Journal", "set_aside"]


class Journal:
    """Appends entries to a file, one line of JSON each.

    Each line is handed to the operating system at once, so that a kill of the process loses none;
    the half of a line that a machine's crash may leave is dropped when the file is opened again.

    Args:
        path: the file; it and its folder are made if need be.
        keep: which entries that are there already stay; all by default. A run that goes on from
            a checkpoint drops what was written behind it.

    Attributes:
        entries: how many entries the file has.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.jsonl"
        >>> journal = Journal(path)
        >>> journal.append({"step": 1, "loss": 0.5})
        >>> journal.append({"step": 2, "loss": 0.25})
        >>> journal.close()
        >>> journal = Journal(path, keep=lambda entry: entry["step"] < 2)
        >>> journal.close()
        >>> Journal.read(path)
        [{'step': 1, 'loss': 0.5}]
    """

    def __init__(
        self, path: str | Path, *, keep: Callable[[dict[str, Any]], bool] | None = None
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.entries = self._cut(keep) if self.path.exists() else 0
        self._file: TextIO | None = self.path.open("a", encoding="utf-8")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry."""
        if self._file is None:
            raise ValueError(f"{self.path} is closed.")
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        self.entries += 1

    def close(self) -> None:
        """Close the file. Doing so again does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @staticmethod
    def read(path: str | Path) -> list[dict[str, Any]]:
        """The entries of a file, also of one that is being written or was left by a kill."""
        return [entry for _, entry in _entries(Path(path))]

    def _cut(self, keep: Callable[[dict[str, Any]], bool] | None) -> int:
        """Drop what is torn or not kept; the file is replaced as a whole, or left as it is.

        Returns:
            how many entries stay.
        """
        kept = [line for line, entry in _entries(self.path) if keep is None or keep(entry)]
        text = "".join(f"{line}\n" for line in kept)
        if text != self.path.read_text(encoding="utf-8", errors="replace"):
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.path)
        return len(kept)


def set_aside(path: Path) -> None:
    """Rename a file that is there, so that a new one can take its place: ``name.1.suffix``.

    Example:
        >>> path = Path("scores.jsonl")
        >>> _ = path.write_text("of the run before")
        >>> set_aside(path)
        >>> path.exists(), path.with_name("scores.1.jsonl").read_text()
        (False, 'of the run before')
    """
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
            number += 1
        path.rename(aside)


def _entries(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the half of a line
        if isinstance(entry, dict):
            yield line, entry
