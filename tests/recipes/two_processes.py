"""Recipes in two processes of this machine: run to their end, or killed on the way."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.distributed.commanding import TORCHRUN
from tests.distributed.launching import surroundings

__all__ = ["command", "killed_behind_a_checkpoint", "printed", "script", "weights"]


def script(recipe: str) -> list[str]:
    """The recipe's script, launched by torchrun."""
    return [*TORCHRUN, "-m", f"footplate.recipes.{recipe}"]


def command(recipe: str, *options: str) -> list[str]:
    """The recipe's configuration, trained by the command."""
    return [sys.executable, "-m", "footplate.recipes.cli", "train", recipe, *options]


def printed(run: Sequence[str], folder: Path) -> str:
    """What a command prints; it has to end well."""
    process = _begun(run, folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def killed_behind_a_checkpoint(run: Sequence[str], folder: Path) -> None:
    """Begin a command, and kill all of its processes when there is a checkpoint."""
    process = _begun(run, folder)
    launcher = psutil.Process(process.pid)
    try:
        deadline = time.monotonic() + 300
        while not list(folder.rglob("checkpoints/0*/manifest.json")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        workers = launcher.children(recursive=True) if process.poll() is None else []
        for one in (launcher, *workers):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(workers)
        process.communicate()


def weights(folder: Path) -> dict[str, str]:
    """The digests of the files of weights in the last checkpoint of the one run there."""
    (checkpoints,) = folder.rglob("checkpoints")
    last = max(checkpoints.glob("0*"))
    files = json.loads((last / "manifest.json").read_text())["files"]
    return {name: told[1] for name, told in files.items() if name.endswith(".safetensors")}


def _begun(run: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        run,
        cwd=folder,
        env=surroundings(COLUMNS="100"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
