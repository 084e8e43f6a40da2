"""Handlers that pytorch-ignite's classes add through a view: what they are called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...engine.signature import check_plain, label

__all__ = ["Received", "Settled"]


class _Stand:
    """Stands for a handler, and is taken for it wherever it is listed, compared or removed."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.__qualname__ = label(handler)
        self.handler = handler

    def __eq__(self, other: object) -> bool:
        return bool(self.handler == (other.handler if isinstance(other, _Stand) else other))

    def __hash__(self) -> int:
        return hash(self.handler)

    def __repr__(self) -> str:
        return repr(self.handler)


class Received(_Stand):
    """A handler that is given a view where it asks for the engine.

    Args:
        handler: the handler.
        engine: what it would be given.
        view: what it is given in its place.
    """

    def __init__(self, handler: Callable[..., Any], engine: object, view: object) -> None:
        check_plain(handler, "an event")
        super().__init__(handler)
        self.__wrapped__ = handler  # which has the signature
        self._engine, self._view = engine, view

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler."""
        if args and args[0] is self._engine:
            args = (self._view, *args[1:])
        return self.handler(*args, **kwargs)


class Settled(_Stand):
    """A handler with all that it is called with; of an event it wants nothing.

    Args:
        handler: the handler.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """

    def __init__(
        self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(handler)
        self._args, self._kwargs = args, kwargs

    def __call__(self) -> Any:
        """Call the handler."""
        return self.handler(*self._args, **self._kwargs)
