"""Calling the command: within this process, or in one of its own as people do."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from footplate.recipes.cli import main

COMMAND = [sys.executable, "-m", "footplate.recipes.cli"]


def called(*options: object, folder: Path | None = None, **environment: str) -> Any:
    """The command with some options, in a folder; what it printed, at 100 columns."""
    before = list(sys.path)  # it adds the folder
    with chdir(folder or Path.cwd()):
        try:
            runner = CliRunner(env={"COLUMNS": "100", **environment})
            return runner.invoke(main, [str(one) for one in options])
        finally:
            sys.path[:] = before


def called_outside(
    *options: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def run_in(folder: Path) -> Path:
    """The only run of the only experiment in a folder of runs."""
    (run,) = folder.glob("runs/*/*")
    return run
