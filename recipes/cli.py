"""The command ``footplate``.

footplate report runs/digits
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from footplate.handlers.report_page.locating import locate
from footplate.handlers.report_page.page import write_report

__all__ = ["main"]

main = typer.Typer(
    name="footplate", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@main.callback()
def footplate() -> None:
    """Look at what footplate has trained."""


@main.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a folder of runs.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; by default RUN/report.html.")
    ] = None,
) -> None:
    """Make one page of a run: curves, metrics, mistakes, time, checkpoints, configuration.

    It needs no network to be looked at, and shows whatever there is of a run, also of one that was
    killed or still goes on. Of a folder of several runs it takes the one written to last.
    """
    try:
        found = locate(run)
        if found.others:
            typer.echo(
                f"{run} holds {len(found.others) + 1} runs; this is the last, {found.folder.name}.",
                err=True,
            )
        path = write_report(found.folder, output)
    except OSError as error:
        typer.echo(f"footplate report: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(path)


if __name__ == "__main__":
    main()
