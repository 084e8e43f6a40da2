"""Processes: which one this is, by MMCV's names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ...engine.placement.ranks import is_first, rank, world_size

__all__ = ["get_dist_info", "master_only"]

P = ParamSpec("P")
R = TypeVar("R")


def get_dist_info() -> tuple[int, int]:
    """The number of this process, and how many there are.

    Example:
        >>> get_dist_info()
        (0, 1)
    """
    return rank(), world_size()


def master_only(func: Callable[P, R]) -> Callable[P, R | None]:
    """A function that does nothing but in the first process.

    Example:
        >>> master_only(max)(1, 2)
        2
    """

    @wraps(func)
    def only_there(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return func(*args, **kwargs) if is_first() else None

    return only_there
