"""Choosing: which configuration or run an argument of the command means."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import nearest
from ..config.layers import Resolved, load
from ..config.objects import SAFE, Objects
from ..config.problems import ABSENT, ConfigError, Problem

__all__ = ["Choice", "Config", "Overrides", "Safe", "objects_for", "recipes", "resolved"]

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""Where the recipes' own configurations are."""

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a recipe.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="What to change: train_cfg.max_epochs=5"),
]
Safe = Annotated[
    bool,
    typer.Option("--safe", help="Use types of torch, ignite, torchmetrics and footplate alone."),
]


@dataclass(frozen=True)
class Choice:
    """A configuration with its origins, and what may build its objects."""

    config: Resolved
    objects: Objects


def recipes() -> dict[str, Path]:
    """The recipes' configurations by name."""
    return {file.stem: file for file in sorted(CONFIGS.glob("*.yaml"))}


def resolved(config: str, overrides: Sequence[str] | None, *, safe: bool) -> Choice:
    """The configuration that a file or a recipe's name means, with what is changed.

    Args:
        config: the path of a YAML file or of one of MMEngine's in Python, or a recipe's name.
        overrides: assignments.
        safe: whether types may come from the libraries of the field alone; modules beside where
            the command was given are not even looked for then.

    Raises:
        ConfigError: if there is no such file or recipe, or it can't be read.
    """
    for one in overrides or ():
        if "=" not in one:
            reason = "is neither an assignment nor an option"
            hint = " Write what to change as train_cfg.max_epochs=5."
            raise ConfigError([Problem(path=one, given=ABSENT, reason=reason, hint=hint)])
    objects, file = objects_for(safe=safe), _file(config)
    if safe and file.suffix == ".py":
        reason = "a configuration in Python is run, which --safe does not allow; write YAML"
        raise ConfigError([Problem(path="", given=config, reason=reason)])
    return Choice(load(file, overrides=tuple(overrides or ()), arguments=_arguments(file)), objects)


def _arguments(file: Path) -> list[str]:
    """What of a file in Python is meant; the runner is loaded for that alone."""
    if file.suffix != ".py":
        return []
    from ..composition.settings import arguments_in_files
    from ..runner import Runner

    return arguments_in_files(Runner)


def objects_for(*, safe: bool) -> Objects:
    """What builds objects, with types of the user's own beside where the command was given.

    Args:
        safe: whether types may come from the libraries of the field alone.
    """
    if not safe and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    return Objects(SAFE if safe else None)


def _file(config: str) -> Path:
    path, known = Path(config).expanduser(), recipes()
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    if config in known:
        return known[config]
    reason = "there is no recipe of this name, nor a file"
    hint = nearest(config, known) or f" Recipes are {', '.join(known)}."
    raise ConfigError([Problem(path="", given=config, reason=reason, hint=hint)])
