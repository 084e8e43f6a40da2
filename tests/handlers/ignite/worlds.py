"""Engines to try a class of pytorch-ignite on: its own, ours, and ours by the bridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine as IgniteEngine

from footplate import Engine
from footplate.engine.nested import map_nested
from footplate.handlers.ignite import as_ignite


class World:
    """One way to run a class.

    Attributes:
        engine: makes an engine of a step.
        given: makes of an engine what the class is given where it asks for pytorch-ignite's.
    """

    def __init__(self, engine: Callable[..., Any], given: Callable[[Any], Any]) -> None:
        self.engine, self.given = engine, given


IGNITE = World(IgniteEngine, lambda engine: engine)
OURS = World(Engine, lambda engine: engine)
BRIDGED = World(Engine, as_ignite)


def shown(value: Any) -> str:
    """A value to compare: every number in full, every tensor as a list."""
    return repr(map_nested(torch.Tensor.tolist, value, kind=torch.Tensor))
