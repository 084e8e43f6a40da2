"""Outcomes: how a command ends, and what it says of an error."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Annotated

import typer

from ...engine.errors import DataError, EventError, HandlerError, Signalled, StateError
from ..config.finding import TypeNotFound
from ..config.problems import ConfigError

__all__ = ["INTERRUPTED", "Traceback", "outcome"]

INTERRUPTED = 128
"""What a signal's number is added to: 130 behind Ctrl-C, 143 behind SIGTERM."""

_TELLING = (
    ConfigError,
    DataError,
    EventError,
    HandlerError,
    ImportError,
    OSError,
    StateError,
    TypeNotFound,
)
"""Errors that say all there is to say, in words meant for whoever gave the command."""

Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the code an error was raised.")
]


@contextmanager
def outcome(name: str, *, traceback: bool = False) -> Generator[None, None, None]:
    """Around what a command does: an error becomes a message and an exit code.

    ====  ==========================================================
    0     all went well
    1     an error, which is told on the standard error
    2     the command was not understood
    130   stopped by Ctrl-C, at a safe point
    143   stopped by SIGTERM, likewise; 128 and its number for others
    ====  ==========================================================

    Args:
        name: the command.
        traceback: whether to show where an error was raised, even if it says all there is to say.
    """
    try:
        yield
    except (KeyboardInterrupt, Signalled) as stop:
        number = stop.signum if isinstance(stop, Signalled) else int(signal.SIGINT)
        print(f"footplate {name}: {str(stop) or 'stopped by Ctrl-C'}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED + number) from None
    except (*_TELLING, ValueError) as error:
        if traceback or not (isinstance(error, _TELLING) or _is_the_runners(error)):
            raise
        print(f"footplate {name}: {_told(error)}", file=sys.stderr)
        raise typer.Exit(1) from None


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
