"""Reloading data: other data every few epochs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..engine.engine import Engine
from ..engine.errors import DataError
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.source import length_of
from ..engine.state import Next

__all__ = ["ReloadData"]


class ReloadData(Handler):
    """Makes the data anew every ``every`` epochs; those of the first are given to ``run()``.

    New data begin a new pass. If an epoch was as long as the old data and the new ones say their
    length, it will be as long as these. A run that is resumed has the data of its epoch made
    anew, and goes on in them at its place; so ``make`` should depend on nothing but the epoch.

    Args:
        make: returns the data, given the epoch from which on they are used, if it takes a
            positional argument.
        every: for how many epochs data are used.

    Raises:
        TypeError: if ``make`` can't be called that way.
        ValueError: for a number that is not positive and whole.
        DataError: when ``make`` returns nothing.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: print(engine.state.epoch, batch))
        >>> reloading = trainer.attach(ReloadData(lambda epoch: [f"made in {epoch}"], every=2))
        >>> state = trainer.run(["given"], max_epochs=4)
        1 given
        2 given
        3 made in 3
        4 made in 3
    """

    priority = Priority.HIGH
    for_one_engine = True

    def __init__(self, make: Callable[..., Any], every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every is a positive whole number, given {every!r}.")
        self.make = make
        self.every = every
        self._takes_epoch = _takes_one(make)
        self._epoch: int | None = None  # the one that the data at work were made for
        self._length: int | None = None  # theirs
        self._made: Any = None

    def opened(self, engine: Engine) -> None:
        """Make the data of a run that goes on, if it was given others."""
        state, progress = engine.state, engine.progress
        if progress.next is Next.STARTED and state.iteration == 0:
            self._epoch = self._length = self._made = None
        between = progress.next in (Next.STARTED, Next.EPOCH_STARTED) and not progress.delivered
        if self._epoch is None or (between and self._is_due(state.epoch + 1)):
            return
        if self._made is None or state.dataloader is not self._made:
            state.dataloader = self._make(self._epoch)  # the place in them stays

    def epoch_started(self, engine: Engine) -> None:
        """Make new data if that is due."""
        state = engine.state
        if not self._is_due(state.epoch):
            return
        before = length_of(state.dataloader) if self._epoch is None else self._length
        engine.set_data(self._make(state.epoch))
        self._epoch, self._length = state.epoch, length_of(state.dataloader)
        if self._length is not None and state.epoch_length == before:
            state.epoch_length = self._length

    def _is_due(self, epoch: int) -> bool:
        return epoch > 1 and (epoch - 1) % self.every == 0

    def _make(self, epoch: int) -> Any:
        self._made = self.make(epoch) if self._takes_epoch else self.make()
        if self._made is None or length_of(self._made) == 0:
            what = "nothing" if self._made is None else "empty data"
            raise DataError(f"{self.make!r} made {what} for epoch {epoch}; return data.")
        return self._made

    def state_dict(self) -> dict[str, Any]:
        """The epoch that the data at work were made for, and their length."""
        return {"epoch": self._epoch, "length": self._length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the epoch that the data at work were made for, and their length."""
        self._epoch, self._length, self._made = state["epoch"], state["length"], None


def _takes_one(make: Callable[..., Any]) -> bool:
    """Whether it takes a positional argument; a function that also goes without is given one."""
    if not callable(make):
        raise TypeError(f"make is a function that returns data, given {make!r}.")
    try:
        signature = inspect.signature(make)
    except ValueError:
        raise TypeError(f"{make!r} does not say what it takes; wrap it in a function.") from None
    for takes in (True, False):
        try:
            signature.bind(*(1,) * takes)
        except TypeError:
            continue
        return takes
    raise TypeError(f"{make!r} would be called as make(epoch) or make(), and takes neither.")
