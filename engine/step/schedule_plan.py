"""Plans of schedules: the values that are to come, found by moving copies of the schedulers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch.optim.lr_scheduler import LRScheduler

from ..random import preserved
from ..stream.scalars import scalars_of
from .schedulers import begin, distinct, move, optimizer_of, parts_of

__all__ = ["Curve", "planned"]


class _Watched(NamedTuple):
    """An optimizer in a plan: its name there, and which of its values are scheduled."""

    optimizer: Any
    name: str
    scheduled: set[str]


class Curve(NamedTuple):
    """One value over the moves of a plan: what it is called in all, its name, its numbers.

    Example:
        >>> Curve("head/lr", "lr", [0.1, 0.01]).values
        [0.1, 0.01]
    """

    key: str
    name: str
    values: list[float]


def _watched(schedulers: Mapping[str, list[Any]]) -> list[_Watched]:
    """The optimizers of schedulers; if there are several, each by the first name that it has."""
    everyone = [one for several in schedulers.values() for one in several]
    alone = len(distinct(map(optimizer_of, everyone))) == 1
    found: dict[int, _Watched] = {}
    for name, several in schedulers.items():
        fresh = [one for one in distinct(map(optimizer_of, several)) if id(one) not in found]
        for number, optimizer in enumerate(fresh):
            its_name = "/".join([name] * bool(name) + [str(number)] * (len(fresh) > 1))
            moving = [one for one in everyone if optimizer_of(one) is optimizer]
            scheduled = {value for one in moving for value in _scheduled(one)}
            found[id(optimizer)] = _Watched(optimizer, "" if alone else its_name, scheduled)
    return list(found.values())


def _scheduled(scheduler: Any) -> Iterator[str]:
    """The names of the values that a scheduler is made for."""
    for part in parts_of(scheduler):
        if isinstance(part, LRScheduler):
            yield getattr(part, "param_name", "lr")
        elif isinstance(part.param_name, str):
            yield part.param_name


def planned(schedulers: Mapping[str, list[Any]], steps: int, *, begun: bool) -> list[Curve]:
    """Move copies that are bound to stand-ins of their optimizers, and note all values.

    Args:
        schedulers: lists of schedulers by name.
        steps: how many values.
        begun: whether pytorch-ignite's have set their first values.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> halving = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        >>> planned({"": [halving]}, 4, begun=True)
        [Curve(key='lr', name='lr', values=[1.0, 0.5, 0.25, 0.125])]
        >>> optimizer.param_groups[0]["lr"]   # untouched
        1.0
    """
    watched = _watched(schedulers)
    stand_ins = [_stand_in(one.optimizer) for one in watched]
    memo = {id(one.optimizer): to for one, to in zip(watched, stand_ins, strict=True)}
    rows = []
    with preserved():  # a schedule may draw random numbers
        everyone = [one for several in schedulers.values() for one in several]
        copies = copy.deepcopy(everyone, memo)
        if not begun:
            begin(copies)
        for step in range(steps):
            for scheduler in copies if step else ():
                move(scheduler)
            rows.append([[_numbers(group) for group in one.param_groups] for one in stand_ins])
    return [
        curve
        for one, its_own in zip(watched, zip(*rows, strict=True), strict=True)
        for curve in _curves_of(one, its_own)
    ]


def _curves_of(one: _Watched, rows: Sequence[list[dict[str, float]]]) -> Iterator[Curve]:
    """The curves of what is scheduled, and of what else moves, as momentum in ``OneCycleLR``."""
    for number, first in enumerate(rows[0]):
        for name in first:
            values = [groups[number][name] for groups in rows]
            if name in one.scheduled or len(set(values)) > 1:
                parts = [one.name] * bool(one.name) + [name] + [str(number)] * (len(rows[0]) > 1)
                yield Curve("/".join(parts), name, values)


def _stand_in(optimizer: Any) -> SimpleNamespace:
    """All that a scheduler needs of an optimizer: its parameter groups, without parameters."""

    def step() -> None: ...

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]  # torch asks for it
    groups = [
        {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    return SimpleNamespace(param_groups=groups, step=step, _opt_called=True)


def _numbers(group: dict[str, Any]) -> dict[str, float]:
    """The numbers of a parameter group, those of pairs as betas[0] and betas[1]."""
    flat = {}
    for name, value in group.items():
        several = isinstance(value, (tuple, list))
        flat.update({f"{name}[{i}]": v for i, v in enumerate(value)} if several else {name: value})
    return scalars_of(flat)
