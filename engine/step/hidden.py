"""What handlers can't look at, since a placement keeps it to itself; they are told before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..placement.zero_state import is_in_parts
from .optimization import Optimization

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["refuse_hidden_gradients", "refuse_hidden_weights"]


def refuse_hidden_gradients(engine: Engine, reader: str) -> None:
    """Refuse what looks at gradients that are not with their parameters.

    Args:
        engine: the engine that trains.
        reader: what looks at them, by name.

    Raises:
        ValueError: if a placement keeps them.
    """
    for one in engine.handlers.values():
        placement = one.placement if isinstance(one, Optimization) else None
        if placement is not None and placement.keeps_gradients:
            raise ValueError(
                f"{reader} looks at gradients, and {type(placement).__name__} keeps them to "
                f"itself; leave it out, or train replicas or shards. Their norm is known behind "
                f"each step, as optimization.norm."
            )


def refuse_hidden_weights(model: nn.Module, reader: str) -> None:
    """Refuse what looks at weights of which this process has a part that it can't read as one.

    Args:
        model: the model.
        reader: what looks at them, by name.

    Raises:
        ValueError: if ZeRO keeps them in parts.
    """
    for name, one in model.named_parameters():
        if is_in_parts(one):
            raise ValueError(
                f"{reader} reads the weights, and DeepSpeed keeps {name!r} in parts in stage 3; "
                f"leave it out, or train by stage 1 or 2, as replicas or as shards."
            )
