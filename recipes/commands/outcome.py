"""Outcomes: how a command ends, and what it says of an error."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from traceback import format_exception, walk_tb
from typing import Annotated

import typer

from ...engine.errors import (
    DataError,
    EventError,
    HandlerError,
    LaunchError,
    Signalled,
    StateError,
)
from ...engine.placement.failures import error_file, follows_from_another, write_error
from ...engine.placement.ranks import is_first, rank, world_size
from ..config.finding import TypeNotFound
from ..config.problems import ConfigError

__all__ = ["INTERRUPTED", "STOPPED", "Traceback", "ended", "outcome"]

INTERRUPTED = 128
"""What a signal's number is added to: 130 behind Ctrl-C, 143 behind SIGTERM."""

STOPPED = "stopped"
"""The file beside a process's error file that is there if a signal has stopped it, as it should."""

_TELLING = (
    ConfigError,
    DataError,
    EventError,
    HandlerError,
    ImportError,
    LaunchError,
    OSError,
    StateError,
    TypeNotFound,
)
"""Errors that say all there is to say, in words meant for whoever gave the command."""

_COMMANDS = (typer.Exit, typer.Abort, typer.BadParameter)
"""What typer ends a command by."""

_PATIENCE = 3  # seconds in which a launcher sees that another process has failed before

Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the code an error was raised.")
]


@contextmanager
def outcome(name: str, *, traceback: bool = False) -> Generator[None, None, None]:
    """Around what a command of footplate does: :func:`ended`, under its name.

    Args:
        name: the command.
        traceback: whether to show where an error was raised, even if it says all there is to say.
    """
    with ended(f"footplate {name}", lambda error: not traceback and _says_all(error)):
        yield


@contextmanager
def ended(name: str, says_all: Callable[[Exception], bool]) -> Generator[None, None, None]:
    """Around what a command does: an error becomes a message and an exit code.

    ====  ==========================================================
    0     all went well
    1     an error, which is told on the standard error
    2     the command was not understood
    130   stopped by Ctrl-C, at a safe point
    143   stopped by SIGTERM, likewise; 128 and its number for others
    ====  ==========================================================

    Of several processes each tells its error to what has launched them, which shows the first.

    Args:
        name: what its messages begin with.
        says_all: whether an error needs no traceback.
    """
    try:
        yield
    except (KeyboardInterrupt, Signalled) as stop:
        number = stop.signum if isinstance(stop, Signalled) else int(signal.SIGINT)
        if is_first():
            print(f"{name}: {str(stop) or 'stopped by Ctrl-C'}", file=sys.stderr)
        if (file := error_file()) is not None:
            file.with_name(STOPPED).touch()
        raise typer.Exit(INTERRUPTED + number) from None
    except _COMMANDS:
        raise
    except Exception as error:
        short = says_all(error)
        if error_file() is not None or world_size() > 1:
            told = f"{name}: {_told(error)}" if short else "".join(format_exception(error))
            _tell_launcher(error, told.rstrip())
            raise typer.Exit(1) from None
        if not short:
            raise
        print(f"{name}: {_told(error)}", file=sys.stderr)
        raise typer.Exit(1) from None


def _says_all(error: Exception) -> bool:
    """Whether an error needs no traceback."""
    return isinstance(error, _TELLING) or (isinstance(error, ValueError) and _is_the_runners(error))


def _tell_launcher(error: Exception, text: str) -> None:
    """Have the error of one of several processes be told, but not above the one it follows from."""
    follows = follows_from_another(error)
    if follows:
        text = f"another process is gone ({error})"
    if (file := error_file()) is not None:
        write_error(file, text, follows=follows)
    else:
        print(f"rank {rank()}: {text}", file=sys.stderr, flush=True)
    if follows:  # else a launcher may see this process end before the one that has failed
        time.sleep(_PATIENCE)


def _is_the_runners(error: BaseException) -> bool:
    """Whether the runner has raised it, or what it is composed of, and not something it calls."""
    module = ""
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
    return module.startswith(("footplate.recipes.composition.", "footplate.recipes.runner"))


def _told(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        return f"{len(error.problems)} things are wrong with the configuration:\n{lines}"
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"{text}{notes}"
