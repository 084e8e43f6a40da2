"""Where in the data a run stands: the iterator at work, and how far it was walked."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .errors import DataError
from .passes import Passes, estimates_its_length, passes_over, refit, rewind

__all__ = ["END", "NOTHING", "Source", "length_of"]

END: Final = object()
"""What a fetch gives when the iterator has no more."""

NOTHING: Final = object()
"""What is in hand when no batch is."""


class Source:
    """An iterator over the data, which goes on over epochs.

    Attributes:
        iterator: the iterator at work; ``None`` before the first fetch and after a run.
        in_hand: a batch that was fetched and whose iteration is not completed.
        passes: iterators made over data so far; the order of shuffled data follows it.
        position: batches taken in the current pass, the batch in hand included; of one-shot data,
            whose passes are one, since the first of them; ``None`` while no pass is under way.
        moved: whether another number of processes has walked so far.
        length: batches of a pass, as the run has found them or a saved one has; ``None`` if it
            hasn't.
    """

    __slots__ = (
        "_begun",
        "_left",
        "_of",
        "_one_shot",
        "_over",
        "_state",
        "_walked",
        "in_hand",
        "iterator",
        "length",
        "moved",
        "passes",
        "position",
    )

    def __init__(
        self,
        passes: int = 0,
        position: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.iterator: Iterator[Any] | None = None
        self.in_hand: Any = NOTHING
        self.passes = passes
        self.position = position
        self.moved = False
        self.length: int | None = None
        self._of: Any = None  # the data that are walked over
        self._over: Passes | None = None  # and how
        self._begun = False  # whether that is so in this run, rather than in one before
        self._state = state  # loaded, for the data that come
        self._one_shot: Any = None  # the data whose position it is, if they are one-shot
        self._walked: Any = None  # these, if they stand there already
        self._left = False  # their pass was left, so that others begin one

    @property
    def completed(self) -> int | None:
        """The position less the batch in hand."""
        if self.position is None or self.in_hand is NOTHING:
            return self.position
        return max(self.position - 1, 0)

    @property
    def next_pass(self) -> int:
        """The number, from 0, of the pass that is opened where no iterator is at work."""
        begins = self.position is None or self._left
        return self.passes if begins else max(self.passes - 1, 0)

    def take(self, data: Any) -> Any:
        """Take the next batch in hand, or return :data:`END`.

        An iterator that raised is given up, and the next fetch stands at its position again.
        """
        try:
            if self.iterator is None:
                self.open(data)
            batch = next(self.iterator, END)  # type: ignore[arg-type]
        except Exception as error:
            if not isinstance(error, DataError):
                number = (self.position or 0) + 1
                error.add_note(
                    f"raised by the data, a {type(data).__name__}, "
                    f"at batch {number} of pass {self.passes}, behind GET_BATCH_STARTED"
                )
            if self.iterator is not data:
                self.iterator = None
            raise
        if batch is not END:
            self.in_hand = batch
            self.position += 1  # type: ignore[operator]
        return batch

    def hold(self, batch: Any) -> None:
        """Have the next batch in hand, which was fetched before and is not fetched again."""
        self.in_hand = batch
        self.position = (self.position or 0) + 1

    def open(self, data: Any) -> None:
        """Stand at the position, or at the beginning of a pass."""
        begins = self._left and (data is not self._one_shot or data is self._walked)
        if self.position is None or data is None or begins:
            self.restart(data)
        else:
            self._left = False
            self.iterator = self._go_on(data, self.position)

    def restart(self, data: Any) -> None:
        """Begin a new pass."""
        self.iterator = itertools.repeat(None) if data is None else self._passes(data).begin()
        self.passes += data is not None
        if self.iterator is not data:
            self.position, self._walked = 0, None
        elif self.position is None or data is not self._walked:
            self.position, self._walked = 0, data
        self._one_shot, self._left = self._walked, False

    def expect(self, data: Any) -> None:
        """Say with which data a run goes on, before any of them is fetched."""
        if not self._left:
            self._one_shot = data if hasattr(data, "__next__") else None

    def refit(self, data: Any) -> tuple[int | None, int | None, int | None]:
        """Stand where the rest begins, shared out among as many processes as there are now.

        The pass is left where that can't be, and the next fetch begins another.

        Returns:
            how many batches a pass had for each process, and has, ``None`` where it is not known;
            and how many of these count as taken, ``None`` if no pass was under way.
        """
        self.moved = False
        if data is None:
            return None, None, None
        at = self.position
        fitted = refit(self._passes(data), at)
        if fitted is not None:
            self.position = fitted[2]
            return fitted
        before, now = self.length, length_of(data)
        self.position, self._left, self.length = None, at is not None, None
        if at is None or at == before:
            return before, now, None if at is None else now
        _warn_of_another_share(data)
        return before, now, 0

    def close(self) -> None:
        """Let go of the iterator, and so of its worker processes; the position stays."""
        self.position = self.completed
        self.in_hand = NOTHING
        self.iterator = None

    def abandon(self) -> None:
        """End the pass here; the next fetch begins another. The same one-shot data go on."""
        self.close()
        self._left = self._one_shot is not None
        if not self._left:
            self.position = None

    def replace(self) -> None:
        """Make way for other data, of which the next fetch begins a pass."""
        self.iterator = self.position = self._state = self.length = None

    def anew(self) -> Source:
        """For a run that starts anew; worker processes that persist are kept."""
        source = Source(state=None if self._begun else self._state)
        source._of, source._over = self._of, self._over
        return source

    def rewind(self) -> None:
        """Stand as if the pass under way had not been begun: it is begun when the run is, anew."""
        if self._over is not None and self._begun and self.position is not None:
            rewind(self._over)

    def state_dict(self) -> dict[str, Any] | None:
        """How the pass under way was begun, in plain values; ``None`` before the first."""
        if self._over is not None and self._begun:
            length = length_of(self._of)
            return {
                "kind": _kind(self._over),
                "pass": self._over.state_dict(),
                "length": self.length if length is None else length,
            }
        return None if self._state is None else dict(self._state)

    def _passes(self, data: Any) -> Passes:
        if data is not self._of or not self._begun:
            self._over = passes_over(data, self._over if data is self._of else None)
            self._of, self._begun = data, True
            state, self._state = self._state, None
            self.length = None if state is None else state.get("length")
            if state is not None and state.get("kind") == _kind(self._over):
                self._over.load_state_dict(state["pass"])
            elif state is not None:
                _warn_of_another_kind(data)
        return self._over  # type: ignore[return-value]

    def _go_on(self, data: Any, position: int) -> Iterator[Any]:
        length = length_of(data)
        one_shot = hasattr(data, "__next__")  # may go on behind its length, as an IterLoader does
        beyond = length is not None and position > length and not one_shot
        if beyond and not estimates_its_length(passes_over(data)):
            raise DataError(
                f"the run stands behind batch {position} of its data, but these have "
                f"only {length}; run with the data that it was begun with."
            )
        if one_shot and data is self._walked:
            return data  # type: ignore[no-any-return]
        iterator = self._passes(data).go_on(position)
        self._one_shot = self._walked = data if iterator is data else None
        return iterator


def length_of(data: Any) -> int | None:
    """How many batches the data say they have; ``None`` if they don't.

    Example:
        >>> length_of([1, 2]), length_of(iter([1, 2]))
        (2, None)
    """
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # no __len__, or one that says it has no answer
        return None


def _kind(passes: Passes) -> str:
    return type(passes).__name__.lstrip("_")


def _warn_of_another_share(data: Any) -> None:
    warnings.warn(
        f"the run was saved by another number of processes, and a {type(data).__name__} can't be "
        f"shared out anew amid a pass: the pass under way is left and a new one begun, and with it "
        f"the epoch, where that is one pass; so samples that were taken in it come again. Give "
        f"ordered_loader(…) of a map-style data set.",
        RuntimeWarning,
        stacklevel=2,
    )


def _warn_of_another_kind(data: Any) -> None:
    warnings.warn(
        f"the run was saved over data of another kind than this {type(data).__name__}; it goes "
        f"on at the same position, but the order may be another. Give the data that it was begun "
        f"with.",
        RuntimeWarning,
        stacklevel=2,
    )
