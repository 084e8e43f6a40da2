"""An engine's state as plain values, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .beginning import is_done, set_limit
from .errors import StateError
from .source import NOTHING, Source
from .state import Next, Progress, Reason, Stopwatch

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["LoadReport", "dump", "is_plain", "load", "stateful"]

_FORMAT = 1
_LEAST = {"iteration": 0, "epoch": 0, "epoch_length": 1, "max_epochs": 1, "max_iters": 1}
_EXACT = {
    "next", "epoch", "epoch_iteration", "delivered", "counts", "pass", "position", "run_seconds",
    "epoch_seconds",
}  # fmt: skip


class LoadReport(NamedTuple):
    """What did not match when a state was loaded.

    Attributes:
        missing: handlers that are attached but got no state.
        unexpected: states that found no handler.

    Example:
        >>> from footplate import Engine
        >>> from footplate.handlers.early_stopping import EarlyStopping
        >>> engine = Engine(lambda engine, batch: None)
        >>> saved = engine.state_dict()
        >>> _ = engine.attach(EarlyStopping("loss", patience=3), name="stop")
        >>> engine.load_state_dict(saved, strict=False)
        LoadReport(missing=('stop',), unexpected=())
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def is_plain(value: object) -> bool:
    """Whether a value can be saved and loaded with ``weights_only=True``.

    Example:
        >>> is_plain({"loss": [0.5, None]}), is_plain(object())
        (True, False)
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return True
    if type(value) in (list, tuple):
        return all(map(is_plain, value))  # type: ignore[call-overload]
    if type(value) is dict:
        return all(isinstance(key, (str, int)) and is_plain(one) for key, one in value.items())
    return _is_tensor(value)


def dump(engine: Engine) -> dict[str, Any]:
    """The state dict of an engine.

    Exact is what is taken at SAFE_POINT. Taken while handlers of ITERATION_COMPLETED or
    EPOCH_COMPLETED run, it says that their event is over, as it does in pytorch-ignite; taken
    earlier in an iteration or at EPOCH_STARTED, that these are still to come.
    """
    state, progress = engine.state, engine.progress
    limit = "max_epochs" if state.max_iters is None else "max_iters"
    keys = ("epoch_length", "iteration", limit, *engine.state_dict_user_keys)
    plain = {key: getattr(state, key) for key in keys}
    exact: dict[str, Any] = {
        "format": _FORMAT,
        "next": str(progress.next),
        "epoch": state.epoch,
        "epoch_iteration": progress.epoch_iteration,
        "delivered": progress.delivered,
        "counts": dict(progress.counts),
        "pass": engine.source.passes,
        "position": engine.source.completed,
        "data": engine.source.state_dict(),
        "run_seconds": progress.run_time.seconds,
        "epoch_seconds": progress.epoch_time.seconds,
        "handlers": {key: handler.state_dict() for key, handler in stateful(engine).items()},
        "notes": engine.notes.state_dict(),
    }
    if progress.next in (Next.TERMINATE, Next.COMPLETED):
        exact["reason"] = str(progress.reason)
    cut = progress.delivered or progress.next is Next.ITERATION_COMPLETED
    if cut and is_plain(state.output):
        exact["output"] = _detached(state.output)  # for the receivers that still wait for it
    if progress.next is Next.ITERATION_COMPLETED and is_plain(state.batch):
        exact["batch"] = _detached(state.batch)
    if engine.delivering == "ITERATION_COMPLETED":
        exact["epoch_iteration"] += 1
        exact["position"] = engine.source.position
    elif engine.delivering == "COMPLETED":
        exact["next"] = str(Next.NOTHING)
    elif engine.delivering == "EPOCH_COMPLETED":
        exact["next"] = str(Next.EPOCH_STARTED)
    elif engine.watch and progress.next is Next.ITERATION:
        plain["iteration"] = progress.iteration
    elif engine.watch and progress.next is Next.EPOCH_STARTED:
        exact["epoch"] = progress.epoch
    return {**plain, "footplate": exact}


def load(engine: Engine, given: Mapping[str, Any], *, strict: bool) -> LoadReport:
    """Set an engine to a state; nothing is changed if anything is wrong."""
    if engine.watch is not None:
        raise RuntimeError(f"{engine!r} is running; load a state before run() or behind it.")
    exact = given.get("footplate", {})
    _check_exact(exact)
    _check_keys(engine, given)
    _check_numbers(given)
    attached = stateful(engine)
    states = exact.get("handlers", {}) if exact else dict.fromkeys(attached)
    report = LoadReport(
        tuple(key for key in attached if key not in states),
        tuple(key for key in states if key not in attached),
    )
    known = {"epoch_length", *_LEAST, "footplate", *engine.state_dict_user_keys}
    if strict and (unknown := [key for key in given if key not in known]):
        raise StateError(
            f"the state has {_listed(unknown)}, which {engine!r} knows nothing of; it takes "
            f"{_listed(sorted(known))}. Add to state_dict_user_keys, or load with strict=False."
        )
    if strict and any(report):
        parts = [f"no state for {_listed(report.missing)}"] * bool(report.missing)
        parts += [f"no handler for {_listed(report.unexpected)}"] * bool(report.unexpected)
        raise StateError(
            f"the state does not fit the handlers of {engine!r}: {'; '.join(parts)}. Attach the "
            f"same handlers under the same names, or load with strict=False."
        )
    try:
        progress = _exact_progress(exact) if exact else None
    except (TypeError, ValueError) as error:
        raise StateError(f"the state's key 'footplate' is not as it was saved: {error}.") from error
    going = attached.keys() & states.keys() if exact else set()
    for key in going:
        if hasattr(attached[key], "check_state"):
            attached[key].check_state(states[key])
    for key in going:
        try:
            attached[key].load_state_dict(states[key])
        except Exception as error:
            error.add_note(f"raised by handler {key!r} of {engine!r}, loading its state")
            raise
    _place(engine, given, exact, progress)
    return report


def _check_keys(engine: Engine, given: Mapping[str, Any]) -> None:
    counted = [key for key in ("iteration", "epoch") if key in given]
    limits = [key for key in ("max_epochs", "max_iters") if key in given]
    has = f"it has {_listed(given)}"
    if len(counted) != 1:
        raise StateError(f"a state has exactly one of 'iteration' and 'epoch'; {has}.")
    if len(limits) != 1:
        raise StateError(f"a state has exactly one of 'max_epochs' and 'max_iters'; {has}.")
    needed = ("epoch_length", *engine.state_dict_user_keys)
    if missing := [key for key in needed if key not in given]:
        raise StateError(f"the state lacks {_listed(missing)}; {has}.")
    if not given.get("footplate") and given[counted[0]] and not given["epoch_length"]:
        raise StateError(
            f"{counted[0]}={given[counted[0]]} can't be placed without a positive epoch_length; "
            f"{has} with epoch_length={given['epoch_length']}."
        )


def _check_numbers(given: Mapping[str, Any]) -> None:
    for key, least in _LEAST.items():
        value = given.get(key, least)
        absent = value is None and key not in ("iteration", "epoch")
        whole = isinstance(value, int) and not isinstance(value, bool)
        endless = value == math.inf and key in ("max_epochs", "max_iters")
        if not absent and not endless and not (whole and value >= least):
            raise StateError(f"a state's {key} is a whole number from {least} on, given {value!r}.")


def _check_exact(exact: Mapping[str, Any]) -> None:
    if exact and exact.get("format") != _FORMAT:
        raise StateError(
            f"the state has format {exact.get('format')!r}, and this version reads {_FORMAT}."
        )
    if exact and (missing := sorted(_EXACT - exact.keys())):
        raise StateError(f"the state's key 'footplate' lacks {_listed(missing)}.")


def _place(
    engine: Engine, given: Mapping[str, Any], exact: Mapping[str, Any], progress: Progress | None
) -> None:
    """Set counters, limits, progress and place in the data."""
    state, length = engine.state, given["epoch_length"]
    iteration = given["iteration"] if "iteration" in given else given["epoch"] * (length or 0)
    epoch = exact["epoch"] if exact else iteration // length if iteration else 0
    limit = "max_epochs" if "max_epochs" in given else "max_iters"
    reached = epoch if limit == "max_epochs" else iteration
    if given[limit] is not None and given[limit] < reached:
        raise StateError(f"the state stands at {reached}, beyond its {limit}={given[limit]}.")
    state.iteration, state.epoch, state.epoch_length = iteration, epoch, length
    state.max_epochs = state.max_iters = None
    set_limit(state, limit, given[limit])
    for key in engine.state_dict_user_keys:
        setattr(state, key, given[key])
    if progress is not None:
        engine.source.close()
        engine.source = Source(exact["pass"], exact["position"], exact.get("data"))
    else:
        within = iteration % length if iteration else 0
        progress = Progress(epoch_iteration=within)
        progress.next = Next.ITERATION if within else Next.EPOCH_STARTED
        if not iteration:
            progress.next = Next.STARTED
        elif is_done(state):
            progress.next = Next.NOTHING
        if within:  # begun in the next epoch, as the engine counts
            state.epoch += 1
        engine.source = Source(1 if within else 0, within or None)
    engine.notes.load_state_dict(exact.get("notes", {}))
    progress.iteration, progress.epoch, progress.loaded = state.iteration, state.epoch, True
    engine.progress = progress
    state.output = progress.output
    engine.bind_state()


def _exact_progress(exact: Mapping[str, Any]) -> Progress:
    following = Next(exact["next"])
    otherwise = Reason.TERMINATED if following is Next.TERMINATE else Reason.COMPLETED
    return Progress(
        next=following,
        reason=Reason(exact.get("reason", otherwise)),
        epoch_iteration=exact["epoch_iteration"],
        delivered=exact["delivered"],
        counts=dict(exact["counts"]),
        run_time=Stopwatch(exact["run_seconds"]),
        epoch_time=Stopwatch(exact["epoch_seconds"]),
        batch=exact.get("batch", NOTHING),
        output=exact.get("output"),
    )


def stateful(engine: Engine) -> dict[str, Any]:
    """The handlers whose state is saved with an engine, by key."""
    return {
        key: handler
        for key, handler in engine.handlers.items()
        if hasattr(handler, "state_dict") and hasattr(handler, "load_state_dict")
    }


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor, asked without importing torch."""
    return any(f"{c.__module__}.{c.__name__}" == "torch.Tensor" for c in type(value).__mro__)


def _detached(value: Any) -> Any:
    """A plain value without the graph that its tensors may hold."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_detached, value))
    if isinstance(value, dict):
        return {key: _detached(one) for key, one in value.items()}
    return value.detach() if _is_tensor(value) else value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
