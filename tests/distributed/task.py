"""A task to launch: little data, and a model that may fail, or be killed, in one process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from footplate import Hook

__all__ = ["FullDisk", "Net", "Numbers", "OwnLength"]


class Numbers(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """The first numbers, twice each, and themselves as targets."""

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.full((2,), float(index)), torch.tensor([float(index)])


class OwnLength(Numbers):
    """As many numbers as ten and the rank."""

    def __init__(self) -> None:
        super().__init__(10 + int(os.environ["RANK"]))


class Net(nn.Module):
    """A layer, and a fault.

    Args:
        fault: ``"raise"``, ``"kill"``, ``"hang"``, or ``"exit"``.
        rank: where.
        at: in which batch of training.
        once: a file that is there once it has happened; not twice then.
        seconds: that a batch takes.
        code: to exit with.
    """

    def __init__(
        self,
        fault: str = "",
        rank: int = 1,
        at: int = 3,
        once: str = "",
        seconds: float = 0,
        code: int = 7,
    ) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.fault, self.rank, self.at = fault, rank, at
        self.once, self.seconds, self.batches, self.code = once, seconds, 0, code

    def forward(self, pairs: Tensor) -> Tensor:
        """Of a batch of pairs."""
        self.batches += self.training
        time.sleep(self.seconds)
        mine = int(os.environ.get("RANK", "0")) == self.rank
        if self.fault and mine and self.batches == self.at:
            self._fail()
        predicted: Tensor = self.layer(pairs)
        return predicted

    def _fail(self) -> None:
        if self.once:
            if Path(self.once).exists():
                return
            Path(self.once).touch()
        if self.fault == "raise":
            raise ArithmeticError("the third batch is bad")
        if self.fault == "hang":
            time.sleep(1000)
        if self.fault == "exit":
            print("a library says good-bye", flush=True)
            os.write(2, b"last words\n")
            os._exit(self.code)
        os.kill(os.getpid(), signal.SIGKILL)


class FullDisk(Hook):
    """Has no space for checkpoints in one process, once there is a file ``full``."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def before_save_checkpoint(self, checkpoint: object) -> None:
        """Fail."""
        if int(os.environ["RANK"]) == self.rank and Path("full").exists():
            raise OSError("no space left")
