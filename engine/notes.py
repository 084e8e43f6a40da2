"""Notes: what is saved with an engine, and waits for whoever asks for it when the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Notes"]


class Notes:
    """What some want to find again when a run goes on, though it may do so without them.

    The state of a handler has to find its handler, or loading it is an error. A note is left by
    its key; nobody misses it, and it stays, over further saves, until it is taken.

    Example:
        >>> first, second = Notes(), Notes()
        >>> rows = [1, 2, 3]
        >>> first.keep("file", lambda: len(rows))
        >>> second.load_state_dict(first.state_dict())
        >>> second.take("file"), second.take("file")
        (3, None)
    """

    def __init__(self) -> None:
        self._tell: dict[str, Callable[[], Any]] = {}
        self._told: dict[str, Any] = {}

    def keep(self, key: str, tell: Callable[[], Any]) -> None:
        """Have what a function returns, in plain values, saved with the engine from now on.

        As long as a note lies there that nobody has taken, that is saved in its place.
        """
        self._tell[key] = tell

    def leave(self, key: str, note: Any) -> None:
        """Leave a note by a key, for whoever takes it when the run goes on."""
        self._told[key] = note

    def take(self, key: str) -> Any:
        """The note that was left by a key, which is gone then; ``None`` if there is none."""
        return self._told.pop(key, None)

    def clear(self) -> None:
        """Forget what was left, as a run starts anew."""
        self._told.clear()

    def state_dict(self) -> dict[str, Any]:
        """All notes by their keys."""
        tell = {key: one for key, one in self._tell.items() if key not in self._told}
        return {**self._told, **{key: one() for key, one in tell.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Leave these notes in place of others."""
        self._told = dict(state)
