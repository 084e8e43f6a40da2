"""An endless iterator over data that end, which knows in which pass it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .beginning import check_data
from .errors import DataError
from .samplers import samplers_in
from .source import END, length_of

__all__ = ["IterLoader"]


class IterLoader(Iterator[Any]):
    """Gives batches without end: where a pass over the loader ends, the next one begins.

    At each pass it calls ``set_epoch(epoch)`` on every sampler or dataset of the loader that has
    such a method.

    It may be an engine's data: an epoch is one pass then, unless its length is given, and a run
    that goes on from a saved state puts a fresh one at its place.

    The idea is MMCV's, of its iteration-based runner.

    Args:
        loader: what can be iterated over again and again, such as a list or a DataLoader; a
            one-shot iterator will do as long as one pass is enough.
        preserving: a context in which a pass is walked up to its position again; with
            :func:`footplate.engine.random.preserved` that draws no random numbers.

    Attributes:
        loader: as given.
        epoch: the pass that the last batch is from, counted from 0: passes completed before it.
        position: batches taken in that pass.
        taken: batches taken in all.

    Raises:
        TypeError: if the loader can't be iterated over.
        DataError: from ``next()``, if a pass gives no batch, if the loader gives less than its
            length says, or if it is a one-shot iterator and has ended.

    Example:
        >>> batches = IterLoader("abc")
        >>> [next(batches) for _ in range(5)]
        ['a', 'b', 'c', 'a', 'b']
        >>> batches.epoch, batches.position, len(batches)
        (1, 2, 3)
    """

    def __init__(
        self, loader: Any, *, preserving: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        if loader is None:
            raise TypeError("an IterLoader needs data; for steps that need none, give [None].")
        check_data(loader)
        self.loader = loader
        self.preserving = preserving
        self.epoch = self.position = self.taken = 0
        self._iterator: Iterator[Any] | None = None
        self._walks_the_loader = False  # which is one-shot, then: nothing can walk it again

    def __next__(self) -> Any:
        batch = self._fetch()
        if batch is END and self.position:
            self._check_end()
            self.epoch, self.position, self._iterator = self.epoch + 1, 0, None
            batch = self._fetch()
        if batch is END:
            raise DataError(
                f"pass {self.epoch} over the data, counted from 0, gave no batch; "
                f"give data that can be iterated over again, such as a list or a DataLoader."
            )
        self.position += 1
        self.taken += 1
        return batch

    def __len__(self) -> int:
        """Batches of one pass."""
        return len(self.loader)

    def seek(self, taken: int) -> None:
        """Stand where so many batches have been taken.

        With a loader that knows its length no pass but the last is walked for it; one that does
        not is walked from where it stands, or from the first pass if that lies behind.

        Args:
            taken: batches taken in all.

        Raises:
            DataError: now or at the next fetch, if that is behind where a one-shot iterator stands.
        """
        if taken == self.taken:
            return
        if length := length_of(self.loader):
            epoch = max(taken - 1, 0) // length
            self._stand(epoch, taken - epoch * length, taken)
            return
        if taken < self.taken:
            self._stand(0, 0, 0)
        with self.preserving():
            while self.taken < taken:
                next(self)

    def skip(self, count: int) -> int:
        """Pass by so many batches; an engine whose run goes on asks for that.

        Only batches of the pass that is stood in then are walked, and that is done now.

        Returns:
            how many those were: all of them.

        Raises:
            DataError: if the loader has fewer.
        """
        self.seek(self.taken + count)
        if self._iterator is None:
            self._iterator = self._open()
        return count

    def state_dict(self) -> dict[str, int]:
        """Where it stands: ``epoch``, ``position`` and ``taken``."""
        return {"epoch": self.epoch, "position": self.position, "taken": self.taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Stand there again; the pass is walked up to its position at the next fetch."""
        self._stand(state["epoch"], state["position"], state["taken"])

    def _stand(self, epoch: int, position: int, taken: int) -> None:
        self.epoch, self.position, self.taken = epoch, position, taken
        self._iterator = None

    def _fetch(self) -> Any:
        """The next batch of the pass, or END. What raised is walked up to its position again."""
        try:
            if self._iterator is None:
                self._iterator = self._open()
            return next(self._iterator, END)
        except Exception:
            if self._iterator is not self.loader:
                self._iterator = None
            raise

    def _open(self) -> Iterator[Any]:
        for one in samplers_in(self.loader):
            one.set_epoch(self.epoch)
        if not self.position:
            return self._pass()
        length = length_of(self.loader)
        if length is not None and self.position >= length:
            return iter(())  # the pass is over: its end comes next
        with self.preserving():
            iterator = self._pass()
            for number in range(self.position):
                if next(iterator, END) is END:
                    raise DataError(
                        f"pass {self.epoch} stands behind batch {self.position}, but the data "
                        f"have only {number}; go on with the data that it was begun with."
                    )
        return iterator

    def _pass(self) -> Iterator[Any]:
        iterator: Iterator[Any] = iter(self.loader)
        if iterator is self.loader:
            if self._walks_the_loader:
                raise DataError(
                    "the data are a one-shot iterator, which can't be walked again from its "
                    "beginning; give data that can be iterated over again, such as a list or a "
                    "DataLoader."
                )
            self._walks_the_loader = True
        return iterator

    def _check_end(self) -> None:
        """Refuse an end that comes too early, or that nothing can follow."""
        promised = length_of(self.loader)
        if promised is not None and self.position < promised:
            raise DataError(
                f"the data say that they have {promised} batches, but ended behind "
                f"{self.position}; mend their __len__, or the StopIteration that something in "
                f"them raised."
            )
        if self._iterator is self.loader:
            raise DataError(
                f"the data are a one-shot iterator that ended behind {self.position} batches, and "
                f"more are needed; give data that can be iterated over again, such as a list or a "
                f"DataLoader."
            )
