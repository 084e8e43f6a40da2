"""The command plan: what a configuration would do, without doing it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console as Terminal
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from ..config.layers import Resolved, dump
from ..config.problems import ABSENT, ConfigError, Problem
from .choosing import Choice, Config, Overrides, Safe, resolved
from .outcome import Traceback, outcome

if TYPE_CHECKING:
    from ...engine.plan import Plan
    from ...handlers.lr_schedule import LRSchedule

__all__ = ["plan", "show_plan"]

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48
_MOST = 100_000  # moves of a schedule that are planned


def plan(
    config: Config,
    overrides: Overrides = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Show where each value came from.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the planned schedules into this PNG file.")
    ] = None,
    safe: Safe = False,
    traceback: Traceback = False,
) -> None:
    """Show what a configuration would do: its values, who runs on which event, the schedules.

    Everything is checked and built, nothing is trained, and no file is written but the picture.

    For example:

      footplate plan image_classification train_cfg.max_epochs=5 --sources

      footplate plan my.yaml --picture lr.png
    """
    with outcome("plan", traceback=traceback):
        show_plan(resolved(config, overrides, safe=safe), sources=sources, picture=picture)


def show_plan(choice: Choice, *, sources: bool = False, picture: Path | None = None) -> None:
    """Print the plan of a configuration.

    Args:
        choice: the configuration.
        sources: whether to say where each value came from, in the place of YAML.
        picture: where a picture of the schedules goes.
    """
    from ..runner import Runner

    terminal = Terminal()
    with tempfile.TemporaryDirectory() as folder:  # what is built makes folders for its files
        values = {**choice.config.values, "work_dir": folder, "resume": False}
        runner = Runner.from_cfg(values, objects=choice.objects)
        events, schedules = runner.trainer.describe(), runner.param_schedulers
        length = _lengths(runner)
    if sources:
        terminal.print(_with_sources(choice.config))
    else:
        text = dump(choice.config.values)
        terminal.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
    terminal.print("\nWho runs on which event of training:\n", style="bold")
    terminal.print(_table(events))
    for schedule in schedules:
        _show_schedule(terminal, schedule, length.get(schedule.unit))
    if picture is not None:
        for file in _draw(schedules, length, picture):
            terminal.print(f"A schedule is drawn in {file}")


def _table(events: Plan) -> Table:
    """The event plan, each event named once."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("event", "runs", "when", "priority"):
        table.add_column(column, overflow="fold")
    shown = ""
    for row in events.as_dicts():
        event = row["event"] if row["event"] != shown else ""
        shown = row["event"]
        table.add_row(*map(escape, (event, row["handler"], row["filter"], row["priority"])))
    return table


def _lengths(runner: Any) -> dict[str, int]:
    """How long the run is in each unit, as far as that is known."""
    length = runner.run_length
    known = {unit: length(unit) for unit in ("epoch", "iteration", "step")}
    return {unit: min(one, _MOST) for unit, one in known.items() if one}


def _with_sources(config: Resolved) -> Table:
    """Each value with its path, and where it came from."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True, overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for path, value in _leaves(config.values, ""):
        shown = value if isinstance(value, str) else dump(value).removesuffix("...\n").strip()
        table.add_row(escape(path), escape(shown), escape(config.origin_of(path)))
    return table


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            yield from _leaves(one, f"{path}[{number}]")
    else:
        yield path, value


def _show_schedule(terminal: Terminal, schedule: LRSchedule, steps: int | None) -> None:
    """The values of a schedule over the run, as bars."""
    if steps is None or schedule.metric is not None:
        return
    terminal.print(f"\nPlanned by {schedule.unit}, {steps} in all:\n", style="bold")
    for name, values in schedule.planned(steps).items():
        ends = f"{min(values):.1e} to {max(values):.1e}"
        bars = _bars(values, min(_WIDTH, terminal.width - len(ends) - 16))
        terminal.print(f"{name:12} {bars}  {ends}", highlight=False)


def _bars(values: Sequence[float], width: int) -> str:
    step = max(1, len(values) / width)
    shown = [values[int(at * step)] for at in range(min(width, len(values)))]
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0
    return "".join(_BARS[round((value - low) * scale)] for value in shown)


def _draw(
    schedules: Sequence[LRSchedule], length: Mapping[str, int], picture: Path
) -> Iterator[Path]:
    """Draw each schedule that follows a course of its own; the files."""
    drawable = [one for one in schedules if one.unit in length and one.metric is None]
    if not drawable:
        reason = "there is nothing to draw, as no schedule is known ahead"
        hint = " Give a param_scheduler, and train_cfg.max_epochs, or leave --picture out."
        raise ConfigError([Problem(path=str(picture), given=ABSENT, reason=reason, hint=hint)])
    for number, schedule in enumerate(drawable):
        beside = picture.with_stem(f"{picture.stem}_{number + 1}") if number else picture
        schedule.plot(beside, length[schedule.unit])
        yield beside
