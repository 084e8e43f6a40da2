"""An evaluation: a new run of one engine, whose metrics go to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .engine import Engine
from .handler import Handler
from .placement.ranks import gathered, world_size
from .source import length_of
from .stream.scalars import METRICS_COMPUTED

__all__ = ["check_names", "empty_share", "evaluate", "measured", "report"]


def evaluate(
    engine: Engine, evaluator: Engine, data: Any, *, prefix: str, epoch_length: int | None = None
) -> None:
    """Run an evaluator anew, and hand its metrics on.

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
    metrics = measured(evaluator, data, epoch_length=epoch_length)
    report(engine, {prefix + name: value for name, value in metrics.items()})


def measured(evaluator: Engine, data: Any, *, epoch_length: int | None = None) -> dict[str, Any]:
    """Run an evaluator anew, and return its metrics.

    What was under way there, an earlier run that failed included, is not gone on with. Among
    several processes one may have an empty share of the data: it goes through an epoch of no
    iterations, so that its metrics take part in what all processes do together.

    Args:
        evaluator: the engine to run.
        data: what it runs over, one epoch.
        epoch_length: iterations of that epoch; by default one pass over the data.
    """
    state = evaluator.state
    if epoch_length is None:
        epoch_length = empty_share(data)
    state.max_epochs = state.max_iters = None  # a new run, even after one that failed
    state.metrics.clear()  # what this one does not measure is not known
    evaluator.run(data, epoch_length=epoch_length)
    return dict(state.metrics)


def empty_share(data: Any) -> int | None:
    """The length of an epoch over data that are empty as the share of one of several processes.

    Args:
        data: what is to be run over.

    Returns:
        0 in that case; ``None``, for the length that the data have, in any other.

    Raises:
        DataError: on all processes, if it is so on all of them.

    Example:
        >>> empty_share([]) is None
        True
    """
    if world_size() == 1:
        return None
    lengths = gathered(length_of(data))
    return 0 if length_of(data) == 0 and any(lengths) else None


def report(engine: Engine, metrics: Mapping[str, Any], *, before: Iterable[str] = ()) -> None:
    """Put what an evaluation measured into an engine's metrics, and let it be heard.

    METRICS_COMPUTED fires if somebody has registered it.

    Args:
        engine: whose metrics they become.
        metrics: by their names there.
        before: the names of those of the evaluation before; what is not measured anew, at this
            iteration, does not stand there any longer.
    """
    state = engine.state
    for name in before:
        if state.measured.get(name) != state.iteration:
            state.metrics.pop(name, None)
    state.metrics.update(metrics)
    state.measured.update(dict.fromkeys(metrics, state.iteration))
    if engine.has_registered_events(METRICS_COMPUTED):
        channel = engine.channels[METRICS_COMPUTED]
        if metrics and channel.calls:
            engine.emit(channel, {"metrics": dict(metrics), "on": "epoch"})


def check_names(engine: Engine, handler: Handler, measures: Mapping[str, Any]) -> None:
    """Refuse metrics that another handler of the engine measures, too, by something else.

    Args:
        engine: in whose metrics they stand.
        handler: whose they are.
        measures: what measures them, by their names; that of other handlers is their attribute
            ``measures``.

    Raises:
        ValueError: for the same name twice; it says what both are measured by.
    """
    for key, other in engine.handlers.items():
        theirs = {} if other is handler else getattr(other, "measures", {})
        for name in measures.keys() & theirs.keys():
            if theirs[name] is not measures[name]:
                raise ValueError(
                    f"{name!r} is measured by {measures[name]} and, for handler {key!r}, by "
                    f"{theirs[name]}; give one of them another name or prefix."
                )
