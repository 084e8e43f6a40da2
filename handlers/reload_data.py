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
from ..engine.whole import whole

__all__ = ["ReloadData"]


class ReloadData(Handler):
    """Makes the data anew every ``every`` epochs; those of the first are given to ``run()``.

    New data begin a new pass. If an epoch was as long as the old data, it will be as long as the
    new ones, whether they say their length or not. A run that is resumed has the data of its
    epoch made anew, and goes on in them at its place; so ``make`` should depend on nothing but
    the epoch.

    It is for the engine that trains. An evaluator is run anew each time, and never gets beyond
    its first epoch; its data are replaced before an evaluation, as they are read then:
    ``@trainer.on(Events.EPOCH_COMPLETED, priority="HIGH")`` on a function that sets
    ``evaluation.data``.

    Args:
        make: returns the data, given the epoch from which on they are used, if it takes a
            positional argument.
        every: for how many epochs data are used.

    Raises:
        TypeError: if ``make`` can't be called that way.
        ValueError: for a number that is not positive and whole; when another engine runs this
            one over too few epochs for any data to be made.
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
        self.make = make
        self.every = whole("every", every)
        self._takes_epoch = _takes_one(make)
        self._epoch: int | None = None  # the one that the data at work were made for
        self._length: int | None = None  # theirs
        self._found = False  # whether the length of an epoch is where their end is found
        self._made: Any = None

    def opened(self, engine: Engine) -> None:
        """Make the data of a run that goes on, if it was given others."""
        state, progress = engine.state, engine.progress
        if progress.next is Next.STARTED and state.iteration == 0:
            self._epoch = self._length = self._made = None
            self._found = state.epoch_length is None
            self._check_limit(engine)
        between = progress.next in (Next.STARTED, Next.EPOCH_STARTED) and not progress.delivered
        if self._epoch is None or (between and self._is_due(state.epoch + 1)):
            return
        if self._made is None or state.dataloader is not self._made:
            state.dataloader = self._make(self._epoch)  # the place in them stays
        within = progress.next in (Next.ITERATION, Next.ITERATION_COMPLETED)
        if self._found and state.epoch - within < self._epoch:
            state.epoch_length = None  # it is not found yet, and not that of what run() was given

    def epoch_started(self, engine: Engine) -> None:
        """Make new data if that is due."""
        state = engine.state
        if not self._is_due(state.epoch):
            return
        before = length_of(state.dataloader) if self._epoch is None else self._length
        follows = self._found if before is None else state.epoch_length == before
        engine.set_data(self._make(state.epoch))
        self._epoch, self._length = state.epoch, length_of(state.dataloader)
        if follows:
            state.epoch_length, self._found = self._length, self._length is None

    def _check_limit(self, engine: Engine) -> None:
        limit, watch = engine.state.max_epochs, engine.watch
        nested = watch is not None and watch.engine is not engine
        if nested and limit is not None and limit <= self.every:
            raise ValueError(
                f"another engine runs {engine!r} anew each time, over {limit} epoch(s), so its "
                f"data would never be reloaded; replace the data of that evaluation or phase in "
                f"a handler of the engine that runs it."
            )

    def _is_due(self, epoch: int) -> bool:
        return epoch > 1 and (epoch - 1) % self.every == 0

    def _make(self, epoch: int) -> Any:
        self._made = self.make(epoch) if self._takes_epoch else self.make()
        if self._made is None or length_of(self._made) == 0:
            what = "nothing" if self._made is None else "empty data"
            raise DataError(f"{self.make!r} made {what} for epoch {epoch}; return data.")
        return self._made

    def state_dict(self) -> dict[str, Any]:
        """The epoch that the data at work were made for, and what is known of their length."""
        return {"epoch": self._epoch, "length": self._length, "found": self._found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the epoch that the data at work were made for, and what is known of their length."""
        self._epoch, self._length, self._made = state["epoch"], state["length"], None
        self._found = state["found"]


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
