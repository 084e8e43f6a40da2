"""Schedules: what ``param_scheduler`` says, as handlers that move schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from ...engine.errors import nearest
from ...engine.events import Event, EventList, Events
from ...engine.step.schedulers import parts_of
from ...engine.whole import whole
from ...handlers.lr_schedule import LRSchedule
from ..config.objects import Objects, TypeNotFound
from ..config.problems import ABSENT, ConfigError, Problem
from ..config.registry import PARAM_SCHEDULERS
from .mmengine.schedules import in_torchs_words, is_given, is_ranged, is_users, taken
from .monitoring import monitored
from .slips import slips, taken_by

__all__ = ["DURATIONS", "OURS", "check_schedules", "durations", "schedules"]

Unit = Literal["epoch", "iteration", "step"]
_UNITS = ("epoch", "iteration", "step")
OURS = ("by_epoch", "unit", "begin", "end", "metric", "monitor", "convert_to_iter_based")
"""What is said of a scheduler besides the arguments of its class."""
DURATIONS = ("T_max", "total_iters", "total_steps")
"""How long a scheduler takes, which is filled in where nobody says it."""
_RANGE = ("begin", "end")
_PLURALS = {"epoch": "epochs", "iteration": "iterations", "step": "optimizer steps"}
_IN_UNITS = (*_RANGE, "T_0", "step_size", *DURATIONS)  # what counts epochs or iterations
_OPTIMIZER = ("optimizer", "params")


class Until(LRScheduler):
    """A scheduler of torch that moves so many times, and then leaves the values as they are.

    Args:
        scheduler: the scheduler.
        moves: how many times it moves.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> halving = Until(torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5), moves=2)
        >>> for _ in range(5):
        ...     sgd.step()
        ...     halving.step()
        >>> halving.get_last_lr()
        [0.25]
    """

    def __init__(self, scheduler: LRScheduler, moves: int) -> None:
        # the base class would move the scheduler once more
        self.optimizer, self.scheduler, self.moves = scheduler.optimizer, scheduler, moves
        self.last_epoch = 0

    def step(self, epoch: int | None = None) -> None:
        """Move it, as long as it moves."""
        self.last_epoch += 1
        if self.last_epoch <= self.moves:
            self.scheduler.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """The values that the optimizer has."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"last_epoch": self.last_epoch, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand there."""
        self.last_epoch = state_dict["last_epoch"]
        self.scheduler.load_state_dict(state_dict["scheduler"])


@dataclass(frozen=True)
class _Planned:
    """A scheduler, and by what it moves."""

    scheduler: Any
    unit: Unit = "epoch"
    metric: str | None = None


def schedules(
    given: Any,
    optimizers: Mapping[str, Optimizer],
    objects: Objects,
    length: Callable[[Unit], int | None],
    validated: Event | EventList = Events.EPOCH_COMPLETED,
) -> list[LRSchedule]:
    """The handlers that move a run's schedulers, one for each unit and metric.

    Args:
        given: what ``param_scheduler`` says: a scheduler, several in a list, or these by the
            names of the optimizers. A mapping has ``type``, the scheduler's arguments, and
            ``by_epoch`` or ``unit``, and ``begin`` and ``end`` in that, which are as MMEngine
            has them; or, for ``ReduceLROnPlateau``, the ``metric`` of the validation that it
            looks at. How long a scheduler takes, ``T_max`` say, need not be said: it is up to
            the end, its own or that of the run.
        optimizers: the optimizers by name; one alone has any name.
        objects: what builds what is given as ``{type: …}``.
        length: tells how long the run is, by unit; ``None`` if that is not known.
        validated: the events on which the run is validated.

    Raises:
        ConfigError: for what does not fit.
    """
    if given is None:
        return []
    by_optimizer = _dealt_out(given, optimizers)
    planned: dict[str, list[_Planned]] = {}
    by_name = isinstance(given, Mapping) and "type" not in given
    for name, several in by_optimizer.items():
        path = f"param_scheduler.{name}" if by_name else "param_scheduler"
        planned[name] = list(_planned(several, optimizers[name], path, objects, length))
    return list(_handlers(planned, validated, alone=len(optimizers) == 1))


def durations(handlers: Iterable[LRSchedule]) -> Iterator[tuple[Any, str, Any]]:
    """How long the schedulers of some handlers take: each, the name of the duration, and that."""
    for handler in handlers:
        for several in handler.schedulers.values():
            for part in (part for one in several for part in parts_of(one)):
                for name in DURATIONS:
                    if hasattr(part, name):
                        yield part, name, getattr(part, name)


def check_schedules(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with a ``param_scheduler``."""
    if given is None or _is_scheduler(given):
        return
    if isinstance(given, Mapping) and "type" not in given and given:
        for name, one in given.items():
            yield from check_schedules(one, f"{path}.{name}", objects)
    elif isinstance(given, Mapping):
        yield from _check_one(dict(given), path, objects)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        for number, one in enumerate(given):
            yield from check_schedules(one, f"{path}[{number}]", objects)
    else:
        yield Problem(path=path, given=given, reason="is no scheduler, nor a mapping with type")


def _check_one(given: dict[str, Any], path: str, objects: Objects) -> Iterator[Problem]:
    given = in_torchs_words(given)
    ours = {name: given.pop(name) for name in OURS if name in given}
    for slip in slips(given, OURS, taken_by(given["type"], objects, PARAM_SCHEDULERS), path):
        given.pop(slip.path.rpartition(".")[2])
        yield slip
    missing = tuple(name for name in (*_OPTIMIZER, *DURATIONS) if name not in given)
    yield from objects.check(given, path, PARAM_SCHEDULERS, injected=missing)
    if ours.get("unit", "epoch") not in _UNITS:
        yield Problem(
            path=f"{path}.unit",
            given=ours["unit"],
            reason=f"is one of {', '.join(_UNITS)}",
            hint=nearest(str(ours["unit"]), _UNITS),
        )
    for name in ("by_epoch", "convert_to_iter_based"):
        if not isinstance(ours.get(name, True), bool):
            yield Problem(path=f"{path}.{name}", given=ours[name], reason="is true or false")
    for name in ("begin", "end"):
        try:
            whole(name, ours.get(name, 0) if ours.get(name) is not None else 0, least=0)
        except ValueError as error:
            yield Problem(path=f"{path}.{name}", given=ABSENT, reason=str(error))
    for name in ("metric", "monitor"):
        if not isinstance(ours.get(name, ""), str):
            yield Problem(path=f"{path}.{name}", given=ours[name], reason="is a metric's name")
    yield from _check_together(given.get("type"), ours, path, objects)


def _check_together(
    name: Any, ours: Mapping[str, Any], path: str, objects: Objects
) -> Iterator[Problem]:
    """What is right by itself, but not for this kind of scheduler."""
    try:
        kind = objects.find(name, PARAM_SCHEDULERS)
    except TypeNotFound:  # which was told already
        return
    metric = "monitor" if "monitor" in ours else "metric"
    if kind is ReduceLROnPlateau and metric not in ours:
        reason = "is the metric of the validation that ReduceLROnPlateau looks at; it is missing"
        yield Problem(path=f"{path}.{metric}", given=ABSENT, reason=reason)
    if kind is not ReduceLROnPlateau and metric in ours:
        reason = "is for ReduceLROnPlateau alone"
        yield Problem(path=f"{path}.{metric}", given=ours[metric], reason=reason)
    if is_users(kind) and getattr(kind, "need_val_args", False):
        reason = "is told metrics by MMEngine's own runner alone"
        hint = " For learning rates there is ReduceOnPlateauLR."
        yield Problem(path=f"{path}.type", given=name, reason=reason, hint=hint)
    plain = is_users(kind) or (
        inspect.isclass(kind) and issubclass(kind, LRScheduler) and kind is not ReduceLROnPlateau
    )
    begin, end = ours.get("begin") or 0, ours.get("end")
    for key in ("begin", "end"):
        if ours.get(key) and not plain:
            reason = "is for schedulers of torch that follow a course of their own"
            yield Problem(path=f"{path}.{key}", given=ours[key], reason=reason)
    if isinstance(begin, int) and isinstance(end, int) and end <= begin:
        reason = f"is behind begin, which is {begin}"
        yield Problem(path=f"{path}.end", given=end, reason=reason)


def _dealt_out(given: Any, optimizers: Mapping[str, Optimizer]) -> dict[str, list[Any]]:
    """What each optimizer is scheduled by."""
    by_name = isinstance(given, Mapping) and "type" not in given
    if not by_name:
        several = list(given) if isinstance(given, (list, tuple)) else [given]
        return dict.fromkeys(optimizers, several)
    for name in given:
        if name not in optimizers:
            raise ConfigError(
                [
                    Problem(
                        path=f"param_scheduler.{name}",
                        given=name,
                        reason=f"the optimizers are {', '.join(map(repr, optimizers))}",
                        hint=nearest(name, optimizers),
                    )
                ]
            )
    return {n: list(one) if isinstance(one, (list, tuple)) else [one] for n, one in given.items()}


def _planned(
    several: Sequence[Any],
    optimizer: Optimizer,
    path: str,
    objects: Objects,
    length: Callable[[Unit], int | None],
) -> Iterator[_Planned]:
    """Build them; those that begin later first, as they set the learning rate back when made."""
    numbered = list(enumerate(several))
    numbered.sort(key=lambda pair: not (isinstance(pair[1], Mapping) and pair[1].get("begin")))
    made: dict[int, _Planned] = {}
    for number, one in numbered:
        if is_given(one):
            course = taken(one)
            made[number] = _Planned(course, "epoch" if course.by_epoch else "iteration")
        elif not isinstance(one, Mapping):
            made[number] = _Planned(one)
        else:
            where = path if len(several) == 1 else f"{path}[{number}]"
            made[number] = _build(dict(one), optimizer, where, objects, length)
    yield from (made[number] for number in range(len(several)))


def _build(
    spec: dict[str, Any],
    optimizer: Optimizer,
    path: str,
    objects: Objects,
    length: Callable[[Unit], int | None],
) -> _Planned:
    if problems := list(_check_one(dict(spec), path, objects)):
        raise ConfigError(problems)
    spec = in_torchs_words(spec)
    ours = {name: spec.pop(name) for name in OURS if name in spec}
    unit: Unit = ours.get("unit") or ("epoch" if ours.get("by_epoch", True) else "iteration")
    if ours.get("convert_to_iter_based") and unit == "epoch":
        batches = _batches_in_epoch(length, f"{path}.convert_to_iter_based")
        ours, spec, unit = _times(ours, batches), _times(spec, batches), "iteration"
    begin, end = ours.get("begin") or 0, ours.get("end")
    kind = objects.find(spec["type"], PARAM_SCHEDULERS)
    if is_ranged(kind) or is_users(kind):
        spec |= {"begin": begin, "end": length(unit) if end is None else end}
        if is_users(kind):
            spec |= {"by_epoch": unit == "epoch"}
        made = objects.build(spec, PARAM_SCHEDULERS, path=path, optimizer=optimizer)
        return _Planned(taken(made) if is_users(kind) else made, unit)
    if wanted := list(_unsaid(kind, spec, fills=end is not None)):
        whole_run = length(unit) if end is None else end
        if whole_run is None:
            reason = f"is not said, and how many {_PLURALS[unit]} the run has is not known"
            raise ConfigError([Problem(path=f"{path}.{wanted[0]}", given=ABSENT, reason=reason)])
        spec.update(dict.fromkeys(wanted, max(1, whole_run - begin)))
    scheduler = objects.build(spec, PARAM_SCHEDULERS, path=path, optimizer=optimizer)
    if begin:
        waiting = ConstantLR(optimizer, factor=1.0, total_iters=begin)
        scheduler = SequentialLR(optimizer, [waiting, scheduler], [begin])
    if end is not None:
        scheduler = Until(scheduler, end)
    metric = ours.get("metric") or ours.get("monitor")
    return _Planned(scheduler, unit, None if metric is None else monitored(metric))


def _batches_in_epoch(length: Callable[[Unit], int | None], path: str) -> int:
    epochs, iterations = length("epoch"), length("iteration")
    if not epochs or not iterations:
        reason = "takes epochs for iterations, but how many an epoch has is not known"
        raise ConfigError([Problem(path=path, given=ABSENT, reason=reason)])
    return iterations // epochs


def _times(options: Mapping[str, Any], batches: int) -> dict[str, Any]:
    """Options whose durations, in epochs, are said in iterations."""
    said = dict(options)
    for name in [name for name in _IN_UNITS if isinstance(said.get(name), (int, float))]:
        said[name] *= batches
    for name in [name for name in ("milestones", "periods") if name in said]:
        said[name] = [one * batches for one in said[name]]
    return said


def _unsaid(kind: Any, spec: Mapping[str, Any], *, fills: bool) -> Iterator[str]:
    """The durations that nobody says: not even torch by a default, or against it by an end."""
    parameters = inspect.signature(kind).parameters
    for name in DURATIONS:
        if name in parameters and name not in spec and "epochs" not in spec:
            default = parameters[name].default
            if fills or default is None or default is inspect.Parameter.empty:
                yield name


def _handlers(
    planned: Mapping[str, Sequence[_Planned]], validated: Event | EventList, *, alone: bool
) -> Iterator[LRSchedule]:
    groups: dict[tuple[Unit, str | None, bool], dict[str, list[Any]]] = {}
    for name, several in planned.items():
        for one in several:
            plateau = isinstance(one.scheduler, ReduceLROnPlateau)
            key = (one.unit, one.metric, plateau)
            groups.setdefault(key, {}).setdefault(name, []).append(one.scheduler)
    for number, ((unit, metric, plateau), by_name) in enumerate(groups.items()):
        given: Any = next(iter(by_name.values())) if alone else by_name
        handler = LRSchedule(given, unit, metric=metric, when=validated if plateau else None)
        handler.name = "lr_schedule" if number == 0 else f"lr_schedule_{number + 1}"
        yield handler


def _is_scheduler(given: object) -> bool:
    return hasattr(given, "state_dict") and not isinstance(given, Mapping)
