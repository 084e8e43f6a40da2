"""The command in several real processes, however they are launched."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from footplate.engine.checkpoints.finding import find
from tests.distributed.launching import surroundings

__all__ = [
    "BOUND",
    "COMMAND",
    "CONFIG",
    "FAULT",
    "OURS",
    "TORCHRUN",
    "Done",
    "run_of",
    "since_saved",
    "started",
    "train",
    "waited",
]

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
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
OURS = ("--nproc", "2")
FAULT = "ArithmeticError: the third batch is bad"
BOUND = 30  # seconds from a fault, or a signal, to the end
SECONDS = 100


class Done(NamedTuple):
    """How a command has ended."""

    code: int
    out: str
    err: str
    seconds: float  # that it was waited for
    at: float  # when, as files tell the time


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


def train(
    folder: Path, *options: str, launcher: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    """The command that trains, which has begun, by itself or by a launcher."""
    command = [*launcher, *COMMAND] if launcher[:1] != TORCHRUN[:1] else [*launcher, *COMMAND[1:]]
    return started([*command, "train", "task.yaml", *options], folder, **environment)


def waited(process: subprocess.Popen[str]) -> Done:
    """How it ends."""
    begun = time.monotonic()
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return Done(process.returncode, out, err, time.monotonic() - begun, time.time())


def since_saved(folder: Path, done: Done) -> float:
    """Seconds from the last save of a run, behind which a fault comes at once, to its end."""
    saved = find(run_of(folder))
    assert saved is not None
    return done.at - (saved / "manifest.json").stat().st_mtime


def run_of(folder: Path) -> Path:
    """The only run in a folder."""
    (run,) = folder.glob("work_dirs/*")
    return run
