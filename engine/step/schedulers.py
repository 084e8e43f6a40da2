"""Schedulers of torch and pytorch-ignite: what they are bound to, and how they begin and move."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import StateError, nearest

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = [
    "Beginning",
    "Bound",
    "begin",
    "by_name",
    "check",
    "check_metric",
    "distinct",
    "move",
    "optimizer_of",
    "parts_of",
]


class Bound:
    """A scheduler, its optimizer, and the epoch or iteration that this last made a step in.

    Attributes:
        scheduler, optimizer: the two.
        stepped: where a step was made last; 0 if none was.
        left_out: where one was left out last.
        moved: the iteration behind which the scheduler was moved last.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.optimizer = optimizer_of(scheduler)
        self.stepped = self.left_out = self.moved = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the scheduler stands, and what was noted."""
        state = copy.deepcopy(self.scheduler.state_dict())
        noted = {"stepped": self.stepped, "left_out": self.left_out, "moved": self.moved}
        return {"scheduler": state, "kind": self.kind, **noted}

    @property
    def kind(self) -> str:
        """The names of the scheduler's class, and of those that it is made of."""
        return ", ".join(type(part).__name__ for part in parts_of(self.scheduler))

    def check(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of another kind of scheduler; older ones don't say of which they are.

        Raises:
            StateError: naming both.
        """
        if state.get("kind", self.kind) != self.kind:
            raise StateError(
                f"the state is that of a scheduler of {state['kind']}, and this one is of "
                f"{self.kind}; go on with the scheduler that the run was begun with, or leave the "
                f"schedule out of what is resumed."
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set both."""
        self.scheduler.load_state_dict(copy.deepcopy(state["scheduler"]))  # some take it apart
        self.stepped, self.left_out = state["stepped"], state["left_out"]
        self.moved = state["moved"]


def by_name(given: object) -> dict[str, list[Any]]:
    """Schedulers by name, whatever way they were given; without a name they have an empty one."""
    named = given if isinstance(given, Mapping) else {"": given}
    if wrong := [name for name in named if not isinstance(name, str)]:
        raise TypeError(f"names of schedulers are strings, given {wrong[0]!r}.")
    lists = {
        name: list(one) if isinstance(one, (list, tuple)) else [one] for name, one in named.items()
    }
    if not lists or not all(lists.values()):
        raise ValueError(f"LRSchedule() was given no scheduler in {given!r}; give one or several.")
    return lists


def check(schedulers: list[Any]) -> None:
    """Refuse what can't be moved, at once and not in the midst of a run."""
    for one in schedulers:
        if not _is_scheduler(one):
            kind = "the class " if isinstance(one, type) else ""
            raise TypeError(
                f"LRSchedule() takes a scheduler of torch.optim.lr_scheduler or a parameter "
                f"scheduler of ignite.handlers, bound to its optimizer, or several of them in a "
                f"list or dict; given {kind}{one!r:.80}."
            )
        optimizer_of(one)
    parts = [part for one in schedulers for part in parts_of(one)]
    for part in filter(_is_ignites, parts):
        _check_ignites(part)
    if len(distinct(parts)) != len(parts):
        twice = next(one for one in parts if sum(one is other for other in parts) > 1)
        raise ValueError(
            f"this {type(twice).__name__} is given twice, by itself or within another scheduler, "
            f"and would move twice as fast; give it once."
        )


def check_metric(schedulers: list[Any], unit: str, metric: str | None, when: object | None) -> None:
    """Refuse a metric, or an event to look at it, where no scheduler takes one."""
    kinds = " and ".join(dict.fromkeys(type(one).__name__ for one in schedulers))
    plateaus = [one for one in schedulers if isinstance(one, ReduceLROnPlateau)]
    if (metric is not None) != bool(plateaus):
        raise ValueError(
            f"metric={metric!r} with {kinds}: a metric is needed for ReduceLROnPlateau, and for "
            f"no other scheduler."
        )
    if when is not None and (len(plateaus) != len(schedulers) or unit == "step"):
        raise ValueError(
            f"when={when!r} with unit {unit!r} and {kinds}: `when` is for ReduceLROnPlateau "
            f"alone, by epoch or iteration; give other schedulers a schedule of their own."
        )


def _check_ignites(part: Any) -> None:
    from ignite.handlers.param_scheduler import ParamGroupScheduler, ReduceLROnPlateauScheduler

    if isinstance(part, ReduceLROnPlateauScheduler):
        raise TypeError(
            "pytorch-ignite's ReduceLROnPlateauScheduler is made for its evaluator; give torch's "
            "ReduceLROnPlateau with metric=…"
        )
    if not hasattr(getattr(part, "lr_scheduler", part), "state_dict"):
        raise TypeError(
            "pytorch-ignite's LRScheduler can't save torch's CosineAnnealingWarmRestarts; give "
            "that itself, with warm_up() of footplate.engine.step.warm_up if need be."
        )
    if isinstance(part, ParamGroupScheduler):
        return  # its parts say what they set
    for group in part.optimizer_param_groups:
        if part.param_name not in group:
            known = [name for name in group if name not in ("params", "initial_lr")]
            raise ValueError(
                f"{type(part).__name__} sets {part.param_name!r}, which its optimizer does not "
                f"have; it has {', '.join(known)}.{nearest(part.param_name, known)}"
            )


def _is_scheduler(given: object) -> bool:
    return isinstance(given, LRScheduler) or _is_ignites(given)


def _is_ignites(given: object) -> bool:
    if isinstance(given, LRScheduler):
        return False
    # takes long to import
    from ignite.handlers.param_scheduler import ParamGroupScheduler, ParamScheduler

    return isinstance(given, (ParamScheduler, ParamGroupScheduler))


def parts_of(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those that it is made of."""
    yield scheduler
    for name in ("schedulers", "_schedulers", "scheduler", "lr_scheduler"):
        inner = getattr(scheduler, name, None)
        for one in inner if isinstance(inner, (list, tuple)) else [inner]:
            if one is not None and _is_scheduler(one):
                yield from parts_of(one)


def optimizer_of(scheduler: Any) -> Any:
    """The one optimizer that a scheduler is bound to; in pytorch-ignite a group has a list."""
    optimizer = scheduler.optimizer
    several = distinct(optimizer if isinstance(optimizer, list) else [optimizer])
    if len(several) > 1:
        raise ValueError(
            f"{type(scheduler).__name__} sets values of {len(several)} optimizers; give its "
            f"schedulers in a list, so that each moves with its own optimizer."
        )
    return several[0]


def distinct(given: Any) -> list[Any]:
    """Objects without repetition, by identity."""
    return list({id(one): one for one in given}.values())


def begin(schedulers: list[Any], engine: Engine | None = None) -> None:
    """Set the first values of pytorch-ignite's; torch's did it when they were made."""
    for scheduler in filter(_is_ignites, schedulers):
        scheduler(engine)


def move(scheduler: Any, engine: Engine | None = None) -> None:
    """Move a scheduler by one."""
    if _is_ignites(scheduler):
        scheduler(engine)
    elif getattr(scheduler.optimizer, "_opt_called", False):
        scheduler.step()
    else:
        with _before_the_first_step():
            scheduler.step()


@contextmanager
def _before_the_first_step() -> Generator[None, None, None]:
    """Accumulated batches come before a step, so torch's warning of it would be a false alarm."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step\(\)`")
        yield


class Beginning:
    """What pytorch-ignite's schedulers begin with: their states, and values they go on from."""

    def __init__(self, schedulers: list[Any]) -> None:
        guests = filter(_is_ignites, schedulers)
        self.states = [(one, copy.deepcopy(one.state_dict())) for one in guests]
        self.values = [
            (part, [group[part.param_name] for group in part.optimizer_param_groups])
            for one, _ in self.states
            for part in parts_of(one)
            if _is_ignites(part) and isinstance(part.param_name, str)
        ]

    def restore(self) -> None:
        """Set all of them back to it."""
        for scheduler, state in self.states:
            scheduler.load_state_dict(copy.deepcopy(state))
        for part, values in self.values:
            for group, value in zip(part.optimizer_param_groups, values, strict=True):
                group[part.param_name] = value
