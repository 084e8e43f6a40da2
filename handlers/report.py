"""Report: one page about a run, written when it is over."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.outermost import outermost
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from .report_page.page import write_report

__all__ = ["Report"]

_log = logging.getLogger("footplate.report")


class Report(Handler):
    """Writes ``report.html`` from what a run has left in its folder, whatever ended the run.

    The page shows what it finds: curves from the ``scalars.jsonl`` of a JSONL sink; status, time,
    event plan, configuration, confusion matrices and sample predictions from a RunRecord;
    pictures, checkpoints, a trace. Attach it last, so that the others have written what they
    write. The command ``footplate report`` makes the same page of a run that was killed or that
    still goes on. Of several processes the first alone writes. A page that can't be written is a
    warning of the logger ``footplate.report``; the run keeps its result.

    Args:
        folder: the run's folder.
        output: the page; by default ``report.html`` in the folder.

    Raises:
        OSError: when the run begins, if there can be no page at that place.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.handlers.run_record import RunRecord
        >>> folder = Path(tempfile.mkdtemp())
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> record, report = trainer.attach(RunRecord(folder)), trainer.attach(Report(folder))
        >>> state = trainer.run([0])
        >>> (folder / "report.html").read_text().startswith("<!doctype html>")
        True
    """

    priority = Priority.LOWEST

    def __init__(self, folder: str | Path, *, output: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.output = output

    def opened(self, engine: Engine) -> None:
        """Make the folders now, rather than fail when the run is over."""
        if not is_first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        page = self.folder / "report.html" if self.output is None else Path(self.output)
        if page.is_dir():
            raise IsADirectoryError(f"output= is the page, a file; {page} is a folder.")
        page.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(page.parent, os.W_OK):
            raise PermissionError(f"the page can't be written: {page.parent} is read-only.")

    def closed(self, engine: Engine) -> None:
        """Write the page, behind all others; of nested engines it is the outer one's."""
        if not is_first() or outermost(engine) is not engine:
            return
        try:
            write_report(self.folder, self.output)
        except Exception as error:
            _log.warning("the report of %s could not be written: %s", self.folder, error)
