"""A script as a command: its run has a folder, keeps its options, goes on with them, and ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console as Terminal
from rich.table import Table

from ...engine.errors import DataError, LaunchError, Signalled, StateError
from ...engine.placement.ranks import from_first, is_first
from ..composition.folders import new_folder, timestamp
from .outcome import ended

__all__ = ["figures", "say", "script_run"]

_OPTIONS = "options.json"
_TELLING = (DataError, ImportError, LaunchError, StateError)


@contextmanager
def script_run(context: typer.Context) -> Generator[tuple[Path, dict[str, Any]], None, None]:
    """A run of a script: a new one in a folder of its own or, with ``--resume``, the last one.

    The command has the options ``folder``, where its runs are kept, and ``resume``. All others are
    what a run is made with. They are kept in its folder; who resumes it can't give others. A run
    that is stopped by Ctrl-C or SIGTERM ends with 130 or 143, as a command of footplate does, and
    an error that says all there is to say has no traceback. If it came before the run had left
    anything, the folder goes, too, so that ``--resume`` means the run before.

    Args:
        context: the command's; ``main`` of a script gets it as an argument of this type.

    Returns:
        the run's folder, and its options by name, as JSON has them: a path is a string.

    Raises:
        typer.BadParameter: if options are given for a run that has its own.
        typer.Exit: at the end, if the run was stopped, or has failed.

    Example:
        >>> import tempfile
        >>> from typer.testing import CliRunner
        >>> script = typer.Typer()
        >>> @script.command()
        ... def main(context: typer.Context, folder: Path, lr: float = 0.1, resume: bool = False):
        ...     with script_run(context) as (run, options):
        ...         say(f"{options}, kept in {run.name[:2]}…")
        >>> folder = tempfile.mkdtemp()
        >>> for given in (["--lr", "0.5"], ["--resume"]):
        ...     print(CliRunner().invoke(script, [folder, *given]).stdout.splitlines()[0])
        {'lr': 0.5}, kept in 20…
        {'lr': 0.5}, kept in 20…
    """
    begun = time.perf_counter()
    with ended(context.info_name or "script", lambda error: isinstance(error, _TELLING)):
        run, options = _begun(context)
        try:
            yield run, options
        except (KeyboardInterrupt, Signalled):
            say(f"--resume goes on with its last checkpoint, in {run.resolve()}")
            raise
        except Exception:
            _forget(run)
            raise
        say(f"It took {time.perf_counter() - begun:.1f} s. The run's files are in {run.resolve()}")


def say(what: str | Table) -> None:
    """Print a text or a table, once among several processes.

    Example:
        >>> say("the fourth [of five]")
        the fourth [of five]
    """
    if is_first():
        Terminal(soft_wrap=True).print(what, markup=False, highlight=False)


def figures(title: str, results: Mapping[str, str]) -> Table:
    """A table of what a run has come to.

    Args:
        title: what it is headed by.
        results: the figures, as they are to be shown, by name.

    Example:
        >>> figures("Digits", {"accuracy": "99 %", "epochs": "12"}).row_count
        2
    """
    table = Table(title=title, show_header=False)
    for row in results.items():
        table.add_row(*row)
    return table


def _begun(context: typer.Context) -> tuple[Path, dict[str, Any]]:
    """The folder and the options of a new run, or of the last one."""
    options = dict(context.params)
    folder, resume = Path(options.pop("folder")), options.pop("resume")
    last = from_first(lambda: max(folder.glob(f"2*/{_OPTIONS}"), default=None) if resume else None)
    if last is not None:
        if given := [name for name in options if _is_given(context, name)]:
            named = ", ".join("--" + name.replace("_", "-") for name in given)
            raise typer.BadParameter(f"--resume keeps the run's options; leave out {named}.")
        return last.parent, json.loads(last.read_text(encoding="utf-8"))
    text = json.dumps(options, indent=2, default=os.fspath)
    run = new_folder(folder, timestamp())
    if is_first():
        whole = run / f".{_OPTIONS}"
        whole.write_text(text, encoding="utf-8")
        whole.replace(run / _OPTIONS)  # a kill leaves no half of it
    return run, json.loads(text)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _forget(run: Path) -> None:
    """Take the folder of a run away if nothing is in it but its options."""
    if is_first() and [file.name for file in run.iterdir()] == [_OPTIONS]:
        (run / _OPTIONS).unlink()
        run.rmdir()
