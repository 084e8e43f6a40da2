"""Place: where a run stands, counted as MMCV counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...engine.engine import Engine
from ...engine.phases import Feed, Phase
from ...engine.state import Next

__all__ = ["Place"]

_WITHIN = (Next.ITERATION, Next.ITERATION_COMPLETED, Next.EPOCH_COMPLETED)


@dataclass
class Place:
    """Where a run stands. All counts begin with 0, and none counts what is under way.

    Attributes:
        epoch: epochs of training that are over; by iterations the pass over the data.
        iter: iterations of training that are over.
        inner_iter: iterations of the phase's epoch that are over; by iterations, of the phase.
    """

    epoch: int = 0
    iter: int = 0
    inner_iter: int = 0

    def return_to(self, trainer: Engine) -> None:
        """Stand where an engine stands by epochs, which has failed and will go on."""
        progress = trainer.progress
        self.iter, self.inner_iter = progress.iteration, progress.epoch_iteration
        self.epoch = progress.epoch - (progress.next in _WITHIN)

    def look(self, phases: Iterable[Phase], iteration: int) -> None:
        """Stand before an iteration of training, of a run by iterations.

        The pass is the one that the phase's batch before this one was of: MMCV notes it before it
        fetches the next.

        Args:
            phases: those of the workflow.
            iteration: the number of the iteration, from 0.
        """
        feeds = [one for one in phases if isinstance(one, Feed)]
        cycle, within = divmod(iteration, feeds[0].of)
        feed = next(one for one in feeds if one.has(within))
        inner = within - feed.behind
        taken = cycle * feed.n + inner
        self.epoch, self.iter = max(taken - 1, 0) // len(feed.loader), iteration
        self.inner_iter = inner
