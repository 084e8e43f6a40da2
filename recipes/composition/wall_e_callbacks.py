"""Callbacks of wall_e: what they do at its points, as a hook."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["WallECallBack", "wall_e_hook"]

_POINTS = (
    "before_fit",
    "after_fit",
    "before_train",
    "after_train",
    "before_running_batch",
    "after_running_batch",
    "before_running_epoch",
    "after_running_epoch",
    "before_valid",
    "after_valid",
    "before_test",
    "after_test",
)
_STATE = ("state_dict", "load_state_dict")


class WallECallBack(Hook):
    """A callback of wall_e among the runner's hooks.

    Its methods take nothing, or what they ask for by name, as those of a :class:`.Hook` do; what
    they return counts for nothing. ``on_exception`` is handed the error, if it takes one. A
    ``runner`` that the callback's class declares, and that is ``None``, becomes the runner before
    ``on_register`` is called.

    Attributes:
        callback: the callback.
    """

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self.name = getattr(callback, "name", None)

    def on_register(self, runner: Runner) -> None:
        """Let the callback know of the runner."""
        if getattr(self.callback, "runner", runner) is None:
            self.callback.runner = runner
        if callable(told := getattr(self.callback, "on_register", None)):
            told(runner) if inspect.signature(told).parameters else told()


def wall_e_hook(callback: Any) -> WallECallBack:
    """A callback as a hook, which has the methods at wall_e's points that the callback has.

    Args:
        callback: an instance of wall_e's ``BaseCallBack``, or of a class with methods of its names.

    Example:
        >>> class Steps:
        ...     count = 0
        ...     def after_running_batch(self):
        ...         self.count += 1
        >>> hook = wall_e_hook(Steps())
        >>> hook.after_running_batch()
        >>> hook.callback.count
        1
    """
    kind = type(callback)
    methods = {
        name: _forwarded(name, getattr(kind, name)) for name in _POINTS if hasattr(kind, name)
    }
    if hasattr(kind, "on_exception"):
        methods["on_exception"] = _on_exception
    for name in _STATE:
        if hasattr(kind, name):
            methods[name] = _kept(name)
    made: WallECallBack = type(kind.__name__, (WallECallBack,), methods)(callback)
    return made


def _forwarded(name: str, method: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(method)  # so that it asks for what the callback's method asks for
    def forward(self: WallECallBack, **given: Any) -> None:
        getattr(self.callback, name)(**given)

    return forward


def _on_exception(self: WallECallBack, exception: BaseException) -> None:
    method = self.callback.on_exception
    try:
        inspect.signature(method).bind(exception)
    except TypeError:
        method()
    else:
        method(exception)


def _kept(name: str) -> Callable[..., Any]:
    def forward(self: WallECallBack, *state: Any) -> Any:
        return getattr(self.callback, name)(*state)

    return forward
