"""Footplate: an event-driven training engine for PyTorch.

The names below are the ones that most programs need; each is imported when it is first asked
for, so that ``import footplate`` costs next to nothing and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import (
        Bus,
        Engine,
        Event,
        Events,
        EventTable,
        Filter,
        Handler,
        Priority,
        Signalled,
        State,
        Workflow,
        after,
        before,
        every,
        once,
        where,
    )

__all__ = [
    "Bus",
    "Engine",
    "Event",
    "EventTable",
    "Events",
    "Filter",
    "Handler",
    "Priority",
    "Signalled",
    "State",
    "Workflow",
    "__version__",
    "after",
    "before",
    "every",
    "once",
    "where",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("footplate")
    if name in __all__:
        return getattr(importlib.import_module(".engine", __name__), name)
    from .engine.errors import nearest

    raise AttributeError(f"footplate has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return __all__
