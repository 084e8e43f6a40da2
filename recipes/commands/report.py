"""The command report: one page of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ...handlers.report_page.locating import locate
from ...handlers.report_page.page import write_report
from .outcome import Traceback, outcome

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a folder of runs.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; by default RUN/report.html.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    traceback: Traceback = False,
) -> None:
    """Make one page of a run: curves, metrics, mistakes, time, checkpoints, configuration.

    It needs no network to be looked at, and shows whatever there is of a run, also of one that was
    killed or still goes on. Of a folder of several runs it takes the one written to last.

    For example:

      footplate report runs/image_classification

      footplate report RUN --output page.html --open
    """
    with outcome("report", traceback=traceback):
        found = locate(run)
        if found.others:
            typer.echo(
                f"{run} holds {len(found.others) + 1} runs; this is the last, {found.folder.name}.",
                err=True,
            )
        path = write_report(found.folder, output)
        typer.echo(path)
        if open_it and not webbrowser.open(path.resolve().as_uri()):
            typer.echo("no browser could be opened.", err=True)
