"""Passes over data: begun, and taken up where they stood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["Passes", "Resumable"]


class Passes(Protocol):
    """One pass over data after the other, each of which can be taken up again.

    What is saved says how the pass under way was begun, not how far it has got: that is the
    position, which the engine counts.
    """

    def begin(self) -> Iterator[Any]:
        """Begin a new pass."""

    def go_on(self, position: int) -> Iterator[Any]:
        """Take up the pass that was begun last, or loaded, behind so many batches.

        The global random number generators are left as they were.

        Raises:
            DataError: if the data have fewer batches.
        """

    def state_dict(self) -> dict[str, Any]:
        """How the pass under way was begun, and what the next one needs, in plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know a pass that :meth:`state_dict` told of; :meth:`go_on` takes it up."""


@runtime_checkable
class Resumable(Protocol):
    """Data that say themselves how they are walked over."""

    def passes(self) -> Passes:
        """Passes over them for one engine."""
