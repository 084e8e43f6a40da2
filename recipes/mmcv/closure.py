"""ClosureHook: one function as a hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...engine.errors import nearest
from .hook import HOOKS, Hook

__all__ = ["ClosureHook"]


@HOOKS.register_module()
class ClosureHook(Hook):
    """Calls a function with the runner at one stage.

    Args:
        fn_name: the method of a hook that it is.
        fn: the function.

    Raises:
        ValueError: for another name.
        TypeError: for what can't be called.

    Example:
        >>> ClosureHook("after_run", print).get_triggered_stages()
        ['after_run']
    """

    def __init__(self, fn_name: str, fn: Callable[[Any], Any]) -> None:
        known = [name for name in dir(Hook) if name.startswith(("before_", "after_"))]
        if fn_name not in known:
            raise ValueError(
                f"fn_name is one of {', '.join(known)}, given {fn_name!r}.{nearest(fn_name, known)}"
            )
        if not callable(fn):
            raise TypeError(f"fn is a function of the runner, given {fn!r:.80}.")
        setattr(self, fn_name, fn)
