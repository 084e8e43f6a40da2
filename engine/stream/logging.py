"""Logging from code that has no engine at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..stopping import current_engine

__all__ = ["log"]


def log(
    name: str,
    value: Any,
    *,
    on: Literal["iteration", "epoch"] = "iteration",
    weight: Any = None,
    bar: bool = False,
    to: str | Sequence[str] | None = None,
) -> None:
    """Hand a number to the scalar stream of the engine that runs; nothing happens where none does.

    It is for models and the like, which are also called outside of any run. The arguments are
    those of :meth:`.Engine.log`.

    Args:
        name: what it is called.
        value: a number, or a tensor of one, which stays on its device until it is read.
        on: whether it is logged as it comes, or as the mean of an epoch.
        weight: what it weighs in means; by default the samples in the batch.
        bar: whether progress bars show it.
        to: the sinks that it is for; all by default.

    Example:
        >>> from footplate import Engine
        >>> def model(x):
        ...     log("mean", x / 2)
        >>> model(3.0)
        >>> trainer = Engine(lambda engine, batch: model(batch), name="train")
        >>> from footplate.handlers.scalars import Scalars
        >>> scalars = trainer.attach(Scalars())
        >>> state = trainer.run([3.0, 5.0])
        >>> trainer.history["mean"].values
        [(1, 1.5), (2, 2.5)]
    """
    engine = current_engine()
    if engine is not None:
        engine.log(name, value, on=on, weight=weight, bar=bar, to=to)
