"""The command in several real processes, however they are launched."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.distributed.launching import surroundings

__all__ = ["COMMAND", "CONFIG", "Done", "run_of", "started", "waited"]

COMMAND = [sys.executable, "-m", "footplate.recipes.cli"]
CONFIG = """\
model: {type: tests.distributed.task.Net}
train_dataloader: {dataset: {type: tests.distributed.task.Numbers}, batch_size: 2}
train_cfg: {max_epochs: 2, loss: torch.nn.functional.mse_loss}
optim_wrapper: {optimizer: {type: SGD, lr: 1.0e-5}}
randomness: {seed: 1}
visualizer: false
default_hooks: {checkpoint: {interval: 1, by_epoch: false}}
"""
SECONDS = 100


class Done(NamedTuple):
    """How a command has ended."""

    code: int
    out: str
    err: str
    seconds: float


def started(command: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A command that has begun, in a folder with the configuration ``task.yaml``."""
    (folder / "task.yaml").write_text(CONFIG)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=surroundings(COLUMNS="100", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waited(process: subprocess.Popen[str]) -> Done:
    """How it ends."""
    begun = time.monotonic()
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return Done(process.returncode, out, err, time.monotonic() - begun)


def run_of(folder: Path) -> Path:
    """The only run in a folder."""
    (run,) = folder.glob("work_dirs/*")
    return run
