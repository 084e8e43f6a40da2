"""The command merge: the weights of a checkpoint in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .outcome import Traceback, outcome

__all__ = ["merge"]


def merge(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint's directory, or the folder of a run.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that model.safetensors goes to.")
    ] = Path(),
    traceback: Traceback = False,
) -> None:
    """Write the weights of a checkpoint whole into one model.safetensors, for other tools.

    A run whose parameters lay in pieces on several processes saves them in several files. One
    process puts them together here; it takes memory for the weights, and nothing else.

    For example:

      footplate merge runs/large/checkpoints/00012000 --output exported
    """
    from ...engine.checkpoints.merging import merge as merged

    with outcome("merge", traceback=traceback):
        typer.echo(merged(checkpoint, output))
