"""An evaluation: a new run of one engine, whose metrics go to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .engine import Engine
from .handler import Handler
from .nested import map_nested
from .placement.ranks import gathered, world_size
from .serialization import stateful
from .source import length_of
from .stream.scalars import METRICS_COMPUTED

__all__ = [
    "check_names", "empty_share", "evaluate", "give_back", "lasting", "measured", "report", "taken",
]  # fmt: skip


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


def lasting(evaluator: Engine, engine: Engine | None = None) -> dict[str, Any]:
    """The handlers whose states outlast an evaluation, by key.

    Args:
        evaluator: what they are attached to.
        engine: what it evaluates; those that are attached to this, too, are saved with it.

    Example:
        >>> from ignite.metrics import Average
        >>> from footplate.handlers.curves import Curves
        >>> from footplate.handlers.metrics import Metrics
        >>> evaluator = Engine(lambda engine, batch: batch, name="val")
        >>> _ = evaluator.attach(Metrics({"mean": Average()})), evaluator.attach(Curves())
        >>> list(lasting(evaluator))
        ['curves']
    """
    others = [] if engine is None else [*engine.handlers.values()]
    return {
        key: one
        for key, one in stateful(evaluator).items()
        if not getattr(one, "begins_anew", False) and not any(one is other for other in others)
    }


def taken(handlers: Mapping[str, Any]) -> dict[str, Any]:
    """The states of handlers, which stay as they are when these go on.

    Example:
        >>> from footplate.handlers.curves import Curves
        >>> curves = Curves()
        >>> before = taken({"curves": curves})
        >>> curves.values["loss"] = [(1, 0.5)]
        >>> before
        {'curves': {'values': {}}}
    """
    return {key: map_nested(_copied, one.state_dict()) for key, one in handlers.items()}


def give_back(evaluator: Engine, handlers: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Set handlers of an evaluator to states of theirs.

    Args:
        evaluator: what they are attached to, which an error names.
        handlers: by key.
        states: of some of them, or all.
    """
    for key, state in states.items():
        try:
            handlers[key].load_state_dict(state)
        except Exception as error:
            error.add_note(f"raised by handler {key!r} of {evaluator!r}, loading its state")
            raise


def _copied(value: Any) -> Any:
    """A tensor or a set of its own; what else is not walked through does not change."""
    if hasattr(value, "detach"):
        return value.detach().clone()
    return set(value) if type(value) is set else value
