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
    from .engine.checkpoints.loading import load_checkpoint
    from .engine.checkpoints.weights import load_from
    from .engine.hyper_parameters import hyper_parameters
    from .engine.stream.logging import log
    from .recipes.composition.hook import Hook
    from .recipes.runner import Runner

__all__ = [
    "Bus",
    "Engine",
    "Event",
    "EventTable",
    "Events",
    "Filter",
    "Handler",
    "Hook",
    "Priority",
    "Runner",
    "Signalled",
    "State",
    "Workflow",
    "__version__",
    "after",
    "before",
    "every",
    "hyper_parameters",
    "load_checkpoint",
    "load_from",
    "log",
    "once",
    "where",
]

_ROOMS = {
    "Hook": ".recipes.composition.hook",
    "Runner": ".recipes.runner",
    "hyper_parameters": ".engine.hyper_parameters",
    "load_checkpoint": ".engine.checkpoints.loading",
    "load_from": ".engine.checkpoints.weights",
    "log": ".engine.stream.logging",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("footplate")
    if name in __all__:
        return getattr(importlib.import_module(_ROOMS.get(name, ".engine"), __name__), name)
    from .engine.errors import nearest

    raise AttributeError(f"footplate has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return __all__
