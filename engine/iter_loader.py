"""An endless iterator over data that end, which knows in which pass it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .beginning import check_data
from .errors import DataError
from .passes import Passes, estimates_its_length, moves_with_batches, passes_over
from .random import preserved
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

    def __init__(self, loader: Any) -> None:
        if loader is None:
            raise TypeError("an IterLoader needs data; for steps that need none, give [None].")
        check_data(loader)
        self.loader = loader
        self._passes = passes_over(loader)
        self.epoch = self.position = self.taken = 0
        self._iterator: Iterator[Any] | None = None
        self._is_one_shot = hasattr(loader, "__next__")
        self._passes_are_walked = False
        self._begun: int | None = None  # the pass that was begun last
        self._known: tuple[int, int, int] | None = None  # epoch, position, taken: of a saved run

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
        if self._known is not None and taken == self._known[-1]:
            self._stand(*self._known)
            return
        length = length_of(self.loader)
        if length and not estimates_its_length(self._passes):
            epoch = max(taken - 1, 0) // length
            self._stand(epoch, taken - epoch * length, taken)
            return
        if taken < self.taken:
            self._stand(0, 0, 0)
        with preserved():
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

    def make_passes(self) -> Passes:
        """Itself, as an engine's data: skipped to where the run stands, and one pass of them."""
        return _Endless(self, self._passes)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: ``epoch``, ``position`` and ``taken``; ``data``: how the pass began."""
        stands = {"epoch": self.epoch, "position": self.position, "taken": self.taken}
        return {**stands, "data": self._passes.state_dict(), "begun": self._begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand there again; the pass is taken up at its position at the next fetch."""
        self.expect(state)
        self._stand(state["epoch"], state["position"], state["taken"])

    def expect(self, state: Mapping[str, Any]) -> None:
        """Know a place, and how its pass was begun, for when it is sought."""
        self._known = state["epoch"], state["position"], state["taken"]
        if "data" in state:
            self._passes.load_state_dict(state["data"])
            self._begun = state["begun"]

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
        if self._is_one_shot and self._passes_are_walked:
            raise DataError(
                "the data are a one-shot iterator, which can't be walked again from its "
                "beginning; give data that can be iterated over again, such as a list or a "
                "DataLoader."
            )
        length = length_of(self.loader)
        over = length is not None and self.position >= length
        tells = moves_with_batches(self._passes) or estimates_its_length(self._passes)
        if self.position and over and not tells:
            return iter(())  # the pass is over: its end comes next
        self._passes_are_walked = True
        if self.position or self._begun == self.epoch:
            iterator = self._passes.go_on(self.position)
        else:
            iterator = self._passes.begin()
        self._begun = self.epoch
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


class _Endless:
    """An :class:`IterLoader` as an engine's data, which count batches and not its passes."""

    def __init__(self, batches: IterLoader, passes: Passes) -> None:
        self._batches = batches
        self.moves_with_batches = moves_with_batches(passes)

    def begin(self) -> Iterator[Any]:
        return self._batches

    def go_on(self, position: int) -> Iterator[Any]:
        self._batches.skip(position)
        return self._batches

    def state_dict(self) -> dict[str, Any]:
        return self._batches.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches.expect(state)
