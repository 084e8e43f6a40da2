"""Where a raw loop stands: in which epoch, behind which batch, and where in the data."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from ...engine.data.torch_loader import goes_by_indices
from ...engine.engine import Engine
from ...engine.errors import DataError
from ...engine.passes import moves_with_batches, passes_over
from ...engine.random import preserved
from ...engine.samplers import loaders_in
from ...engine.source import END, NOTHING, length_of
from ...engine.state import Next

__all__ = ["Standing"]


class Standing:
    """The place of a raw loop, held by an engine that never runs, and saved as its own is.

    Args:
        data: what is trained on.

    Attributes:
        data: as given.
        engine: what holds state, progress and source.
        cut: whether the epoch was left before its batches had ended.

    Example:
        >>> standing = Standing(["a", "b"])
        >>> standing.begin_epoch()
        >>> standing.take(), standing.batch, standing.has_batch
        (True, 'a', True)
        >>> standing.complete()
        >>> standing.iteration, standing.has_batch, standing.is_amid_epoch
        (1, False, True)
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.engine = Engine(_no_step, name="train")
        self.engine.state.dataloader = data
        self.cut = False
        self._keeps_place = _keeps_place(data)
        self._resumed = False  # whether no epoch has begun since

    @property
    def epoch(self) -> int:
        """The epoch under way, or the last one that was; 0 before the first."""
        return self.engine.state.epoch

    @property
    def iteration(self) -> int:
        """Batches taken so far, the one at hand included."""
        return self.engine.state.iteration

    @property
    def is_amid_epoch(self) -> bool:
        """Whether an epoch has begun, and is not over."""
        return self.engine.progress.next is Next.ITERATION

    @property
    def upcoming(self) -> int:
        """The number of the epoch that comes, once more if it is under way."""
        return self.epoch + (not self.is_amid_epoch)

    @property
    def has_batch(self) -> bool:
        """Whether a batch is at hand."""
        return self.engine.source.in_hand is not NOTHING

    @property
    def batch(self) -> Any:
        """The batch at hand."""
        return self.engine.source.in_hand

    def begin_epoch(self) -> None:
        """Begin an epoch, and with it a pass over the data."""
        state, progress, source = self.engine.state, self.engine.progress, self.engine.source
        if self._resumed and self._keeps_place and source.position is not None:
            with preserved():  # they have to be where they were, to begin the next pass from there
                source.take(self.data)
            source.in_hand = NOTHING
        source.restart(self.data)
        state.epoch, state.epoch_length = state.epoch + 1, length_of(self.data)
        progress.epoch_iteration, progress.next = 0, Next.ITERATION
        self.cut = self._resumed = False

    def take(self) -> bool:
        """Take the next batch in hand; returns whether there was one."""
        if self.engine.source.take(self.data) is END:
            return False
        self.engine.state.iteration += 1
        return True

    def complete(self) -> None:
        """Count the batch at hand as done."""
        progress, source = self.engine.progress, self.engine.source
        if source.in_hand is not NOTHING:
            source.in_hand = NOTHING
            progress.epoch_iteration += 1
            progress.stand(self.engine.state)

    def check_not_empty(self) -> None:
        """Refuse an epoch whose batches have ended before the first.

        Raises:
            DataError: if it was one.
        """
        if not self.engine.progress.epoch_iteration:
            raise DataError(
                f"pass {self.engine.source.passes} over the data gave no batch; give data that can "
                f"be iterated over again, such as a list or a DataLoader."
            )

    def leave(self, *, cut: bool = True) -> None:
        """End the epoch under way, if there is one.

        Args:
            cut: whether batches may be left.
        """
        if self.is_amid_epoch:
            self.complete()
            self.cut = cut
            if cut:
                self.engine.source.close()  # and so its worker processes
        self.engine.progress.next = Next.EPOCH_STARTED
        self.engine.progress.stand(self.engine.state)

    def pass_over(self, epoch: int) -> None:
        """Count an epoch for which no batch was asked."""
        self.engine.state.epoch = max(epoch, self.epoch)

    def taken_up(self) -> None:
        """Stand where the state that was loaded says, among as many processes as there are now."""
        source, progress, state = self.engine.source, self.engine.progress, self.engine.state
        self.cut, self._resumed = False, True
        source.expect(self.data)
        if source.moved:
            at = source.position
            before, now, there = source.refit(self.data)
            if state.epoch_length == before:  # else an epoch is no pass
                state.epoch_length = now
                if progress.epoch_iteration == at and there is not None:
                    progress.epoch_iteration = there


def _no_step(engine: Engine, batch: Any) -> None:
    raise RuntimeError("this engine holds the state of a raw loop, and is not to be run.")


def _keeps_place(data: Any) -> bool:
    """Whether data have a state of their own, in which their place is."""
    loaders = (one for one in loaders_in(data) if isinstance(one, DataLoader))
    return moves_with_batches(passes_over(data)) and not any(map(goes_by_indices, loaders))
