"""An evaluation: a new run of one engine, whose metrics go to another."""

from __future__ import annotations

from typing import Any

from .engine import Engine

__all__ = ["evaluate"]


def evaluate(
    engine: Engine, evaluator: Engine, data: Any, *, prefix: str, epoch_length: int | None = None
) -> None:
    """Run an evaluator anew, and hand its metrics on.

    What was under way there, an earlier run that failed included, is not gone on with.

    Args:
        engine: whose metrics they become.
        evaluator: the engine to run.
        data: what it runs over, one epoch.
        prefix: what the metrics' names begin with on ``engine``.
        epoch_length: iterations of that epoch; by default one pass over the data.

    Example:
        >>> trainer = Engine(lambda engine, batch: None)
        >>> evaluator = Engine(lambda engine, batch: engine.state.metrics.update(last=batch))
        >>> evaluate(trainer, evaluator, [1, 2, 3], prefix="val_")
        >>> trainer.state.metrics
        {'val_last': 3}
    """
    state = evaluator.state
    state.max_epochs = state.max_iters = None  # a new run, even after one that failed
    state.metrics.clear()  # what this one does not measure is not known
    evaluator.run(data, epoch_length=epoch_length)
    for key, value in state.metrics.items():
        engine.state.metrics[prefix + key] = value
        engine.state.measured[prefix + key] = engine.state.iteration
