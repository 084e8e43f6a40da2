"""The engine that was run by a person, and not by another engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["outermost"]


def outermost(engine: Engine) -> Engine:
    """The engine within whose run this one runs: a trainer, if it evaluates; itself otherwise.

    Example:
        >>> from footplate import Engine
        >>> evaluator = Engine(lambda engine, batch: outermost(engine).name, name="val")
        >>> trainer = Engine(lambda engine, batch: evaluator.run([0]).output, name="train")
        >>> trainer.run([0]).output, evaluator.run([0]).output
        ('train', 'val')
    """
    return engine if engine.watch is None else engine.watch.engine
