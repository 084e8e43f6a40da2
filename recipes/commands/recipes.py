"""The commands recipes and copy: what there is to begin with, and a copy to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console as Terminal
from rich.table import Table

from ..config.problems import ABSENT, ConfigError, Problem
from .choosing import CONFIGS, recipes
from .outcome import Traceback, outcome

__all__ = ["copy", "list_recipes"]


def list_recipes() -> None:
    """List the recipes: what each of them trains, and whether it is a script, too.

    For example:

      footplate recipes

      footplate train image_classification
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("recipe", "what it trains", "script"):
        table.add_column(column)
    for name, file in recipes().items():
        table.add_row(name, _first_comment(file), "yes" if _script(name).is_file() else "")
    Terminal().print(table)


def copy(
    recipe: Annotated[str, typer.Argument(help="The name of a recipe.")],
    folder: Annotated[Path, typer.Argument(help="Where to.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    traceback: Traceback = False,
) -> None:
    """Copy a recipe: its configuration, with those it builds on, and its script.

    The configuration trains the parts that Footplate has until it names those of your script.

    For example:

      footplate copy image_classification

      footplate copy language_model experiments --force
    """
    with outcome("copy", traceback=traceback):
        known = recipes()
        if recipe not in known:
            reason = f"there is no recipe of this name; there are {', '.join(known)}"
            raise ConfigError([Problem(path="", given=recipe, reason=reason)])
        files = [file for file in (*_with_bases(known[recipe]), _script(recipe)) if file.is_file()]
        taken = [folder / file.name for file in files if (folder / file.name).exists()]
        if taken and not force:
            reason = "it is there already"
            hint = " Give another folder, or --force to replace it."
            raise ConfigError(
                [Problem(path=str(one), given=ABSENT, reason=reason, hint=hint) for one in taken]
            )
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())
            typer.echo(folder / file.name)
        if _script(recipe) in files:
            typer.echo(_how_to_change(recipe), err=True)


def _with_bases(file: Path) -> list[Path]:
    """A configuration and those that it builds on."""
    first = next((line for line in file.read_text().splitlines() if "_base_:" in line), None)
    if first is None:
        return [file]
    return [file, *_with_bases(file.parent / first.partition(":")[2].strip())]


def _how_to_change(recipe: str) -> str:
    return (
        f"{recipe}.yaml trains parts of Footplate's own {recipe}.py. To have it train yours, "
        f"write {recipe}. in place of footplate.recipes.{recipe}. in it, and run it in that folder."
    )


def _script(recipe: str) -> Path:
    return CONFIGS.parent / f"{recipe}.py"


def _first_comment(file: Path) -> str:
    line = file.read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip().rstrip(".")
