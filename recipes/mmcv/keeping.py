"""Keeping: the checkpoints that were due, and besides them the best one alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from ...engine.checkpoints.store import CheckpointStore

__all__ = ["DueAndBest"]


class DueAndBest(CheckpointStore):
    """A store in which what was saved as the best, and is so no longer, goes unless it was due.

    The newest stays, too, as a run goes on from it.

    Args:
        directory: where the checkpoints are.
        interval: how many units there are from one that is due to the next; below 1 none is.
        unit: what is counted.
    """

    def __init__(
        self, directory: str | Path, interval: int, unit: Literal["epoch", "iteration"]
    ) -> None:
        super().__init__(directory)
        self.interval, self.unit = interval, unit

    def prune(self, run: str, *, last: int, best: int, spare: Collection[Path] = ()) -> None:
        """Take away this run's checkpoints but for the last that were due, best and newest."""
        own = [(path, one) for path, one in self if one.run == run and one.exact and not one.kept]
        by_count = {int(getattr(one, self.unit)): path for path, one in own}  # an epoch's end wins
        every = self.interval
        due = [path for count, path in by_count.items() if every > 0 and count % every == 0]
        super().prune(run, last=1, best=best, spare=[*spare, *due[-last:]])
