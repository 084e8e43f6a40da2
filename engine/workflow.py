"""Workflows: phases of several engines that take turns, by epoch or by iteration.

There is one loop, that of the train engine. Everything else is connected to its events:

==================  ======================================  =====================================
phase               ``unit="epoch"``                        ``unit="iteration"``
==================  ======================================  =====================================
before all train    EPOCH_STARTED                           ITERATION_STARTED
behind train units  EPOCH_COMPLETED                         ITERATION_COMPLETED
train, of several   EPOCH_STARTED: the epoch's data         GET_BATCH_STARTED: the batch's data
==================  ======================================  =====================================

When each of them runs is a filter, a pure question about the event's count; so a run that goes on
from a saved state goes on with its phases, too, though a workflow saves nothing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .engine import Engine
from .errors import nearest
from .phases import UNITS, Feed, Phase, phases_of
from .state import State
from .whole import whole

__all__ = ["Workflow"]

_OF_A_RUN = ("max_epochs", "max_iters", "epoch_length")


class Workflow:
    """Lets engines take turns: ``[("train", 2), ("val", 1)]`` trains twice, then validates once.

    A unit is an epoch or an iteration. The cycle of phases is gone through until the train
    phases have made ``max_epochs`` or ``max_iters`` units. The limit is looked at before each
    unit: where it cuts a train phase, the other phases of the cycle still run. A phase that
    comes before all train phases begins a cycle, and so runs only if one begins.

    The phases are connected to the train engine as soon as the workflow is made, and
    ``print(engines["train"].describe())`` shows them. A ``terminate()`` ends the run at once, and
    phases that were still to come don't run.

    Each epoch of a phase that does not train is a new run of its engine. Its iterations are one
    run of an epoch of that length, over batches that go on where the phase stood the last time
    (:class:`~footplate.engine.iter_loader.IterLoader`). The engine's metrics go to the train
    engine as ``"<name>_<metric>"``.

    With one train phase its loader is handed to the train engine as it is. With several, an
    epoch is one pass over the loader of its phase; by iteration the train engine's epoch is one
    cycle, and each loader goes on where it stood.

    The semantics are those of MMCV's ``EpochBasedRunner`` and ``IterBasedRunner``, but for one
    thing: by iteration, a phase that comes before all train phases runs when the batch of the
    train iteration behind it has been fetched, and so is on ITERATION_STARTED; MMCV fetches that
    batch when the phase is over. Batches and their order are the same. Where fetching and the
    phase draw from the same random numbers, these fall to them in the other order.

    Args:
        phases: pairs of an engine's name and how many units it runs, in order.
        engines: the engines by name.
        unit: ``"epoch"`` or ``"iteration"``.
        train: the name of the engine whose units count towards the limit.

    Attributes:
        phases: the phases, in order.
        engines: the engines by name.
        limit: what :meth:`run` counts by: ``"max_epochs"`` or ``"max_iters"``.

    Raises:
        ValueError: if there is no phase or no train phase, if a name or the unit is unknown, if
            a number of units is not whole and positive, if an engine has two names, or if the
            train engine is in a workflow already.
        TypeError: if an engine is none, or a phase no pair.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: print("train", batch), name="train")
        >>> evaluator = Engine(lambda engine, batch: print("val", batch), name="val")
        >>> workflow = Workflow(
        ...     [("train", 2), ("val", 1)], {"train": trainer, "val": evaluator}, unit="iteration"
        ... )
        >>> state = workflow.run([[1, 2, 3], "ab"], max_iters=4)
        train 1
        train 2
        val a
        train 3
        train 1
        val b
    """

    def __init__(
        self,
        phases: Sequence[tuple[str, int]],
        engines: Mapping[str, Engine],
        unit: str = "epoch",
        *,
        train: str = "train",
    ) -> None:
        if not isinstance(unit, str) or unit not in UNITS:
            raise ValueError(
                f"unit is 'epoch' or 'iteration', given {unit!r}.{nearest(str(unit), UNITS)}"
            )
        self.engines = _checked_engines(engines, train)
        self.phases = tuple(
            phases_of(list(_checked_phases(phases, engines, train)), engines, unit, train)
        )
        self.limit = self.phases[0].limit
        self._train = train
        self._feeds = [phase for phase in self.phases if isinstance(phase, Feed)]
        _refuse_a_second(engines[train])
        silent = self._feeds if len(self._feeds) == 1 else ()  # the engine's own data
        self._handles = [
            engines[train].add_event_handler(phase.event(), phase, priority=phase.priority)
            for phase in self.phases
            if phase not in silent
        ]
        self._attached = True

    def run(
        self,
        loaders: Sequence[Any],
        max_epochs: float | None = None,
        max_iters: float | None = None,
        **keywords: Any,
    ) -> State:
        """Run until the train phases have made so many units.

        It starts anew, or goes on from an interruption, an error, a loaded state or with a larger
        limit, as the train engine's :meth:`~footplate.engine.engine.Engine.run` does. What was
        loaded brings its limit along.

        Args:
            loaders: one for each phase, in their order.
            max_epochs: train epochs in all, of a workflow by epoch; ``math.inf`` for no limit.
            max_iters: train iterations in all, of a workflow by iteration; likewise.
            keywords: become ``engine.state.keywords`` of each engine, for the steps to read.
                Names that are easily taken for limits are refused.

        Returns:
            the train engine's state.

        Raises:
            ValueError: for the limit of the other unit, or none, or a number of loaders that is
                not that of the phases.
            TypeError: for loaders that are no list, or can't be iterated over; for a keyword that
                is nearly the name of a limit, or of an epoch's length.
            DataError: for a loader with no batch.
            RuntimeError: if the workflow was taken away, or the train engine is running.
        """
        trainer = self.engines[self._train]
        if not self._attached:
            raise RuntimeError(f"{self!r} was taken away from its engine; make another.")
        if trainer.watch is not None:
            raise RuntimeError(f"{trainer!r} is running; let it finish first.")
        _refuse_slips(keywords)
        limit = self._checked_limit({"max_epochs": max_epochs, "max_iters": max_iters})
        for phase, loader in zip(self.phases, self._checked_loaders(loaders), strict=True):
            phase.take(loader)
        for engine in self.engines.values():
            engine.state.keywords = dict(keywords)
        data, length = self._data_at_hand()
        limits: dict[str, Any] = {self.limit: limit}
        return trainer.run(data, epoch_length=length, **limits)

    def detach(self) -> None:
        """Take the phases away from the train engine. Doing so again does nothing."""
        for handle in self._handles:
            handle.remove()
        self._attached = False

    def __repr__(self) -> str:
        phases = ", ".join(f"{phase.name} x {phase.n}" for phase in self.phases)
        return f"<Workflow of {self.limit.removeprefix('max_')}: {phases}>"

    def _checked_limit(self, limits: Mapping[str, float | None]) -> float | None:
        (other,) = limits.keys() - {self.limit}
        if limits[other] is not None:
            raise ValueError(
                f"{self!r} counts by {self.limit}, given {other}={limits[other]!r}; give "
                f"{self.limit}=, or make the workflow with another unit."
            )
        limit = limits[self.limit]
        if limit is None and getattr(self.engines[self._train].state, self.limit) is None:
            raise ValueError(f"{self!r} needs a limit; give {self.limit}=.")
        return limit if limit in (None, math.inf) else whole(self.limit, limit)

    def _checked_loaders(self, loaders: Sequence[Any]) -> Sequence[Any]:
        if not isinstance(loaders, (list, tuple)):
            raise TypeError(
                f"loaders is a list with one loader for each phase, "
                f"given a {type(loaders).__name__}."
            )
        given, needed = len(loaders), len(self.phases)
        if given != needed:
            lacking = f"{self.phases[given]} has none" if given < needed else "some have no phase"
            raise ValueError(f"{needed} phases were given {given} loaders: {lacking}.")
        for phase, loader in zip(self.phases, loaders, strict=True):
            phase.check(loader)
        return loaders

    def _data_at_hand(self) -> tuple[Any, int | None]:
        """What the train engine begins with or goes on with, and the length of its epochs."""
        if len(self._feeds) == 1:
            return self._feeds[0].loader, None
        trainer = self.engines[self._train]
        done = self._feeds[0].done(trainer)
        return next(feed for feed in self._feeds if feed.has(done)).place(trainer, done)


def _checked_engines(engines: Mapping[str, Engine], train: str) -> dict[str, Engine]:
    if not isinstance(engines, Mapping):
        raise TypeError(f"engines maps names to engines, given a {type(engines).__name__}.")
    names: dict[int, str] = {}
    for name, engine in engines.items():
        if not isinstance(engine, Engine):
            raise TypeError(f"engines[{name!r}] is no Engine but a {type(engine).__name__}.")
        if id(engine) in names:
            raise ValueError(
                f"{engine!r} is both {names[id(engine)]!r} and {name!r}; an engine can't run "
                f"within itself, nor have two names: make one for each."
            )
        names[id(engine)] = name
    if train not in engines:
        raise ValueError(
            f"train={train!r} is none of the engines: {_listed(engines)}.{nearest(train, engines)}"
        )
    return dict(engines)


def _checked_phases(
    phases: Sequence[tuple[str, int]], engines: Mapping[str, Engine], train: str
) -> Iterator[tuple[str, int]]:
    if not isinstance(phases, (list, tuple)):
        raise TypeError(f"a workflow is a list of phases, given {phases!r}.")
    if not phases:
        raise ValueError(f"the workflow is empty; give phases such as [({train!r}, 1)].")
    for number, phase in enumerate(phases):
        if not isinstance(phase, (list, tuple)) or len(phase) != 2:
            raise TypeError(f"phase {number} is a pair such as ({train!r}, 1), given {phase!r}.")
        name, n = phase
        if not isinstance(name, str) or name not in engines:
            raise ValueError(
                f"phase {number} is named {name!r}, but the engines are {_listed(engines)}."
                f"{nearest(str(name), engines)}"
            )
        yield name, whole(f"the number of units of phase {number} ({name!r})", n)
    if all(name != train for name, _ in phases):
        raise ValueError(
            f"the workflow has no train phase, so it would never end: {list(phases)!r}; add "
            f"({train!r}, 1), or say with train= which engine trains."
        )


def _refuse_a_second(trainer: Engine) -> None:
    receivers = (one.receiver for c in trainer.channels.values() for one in c.subscriptions)
    if found := [one for one in receivers if isinstance(one, Phase)]:
        raise ValueError(
            f"{trainer!r} is in a workflow already, with {found[0]}; take that away with detach()."
        )


def _refuse_slips(keywords: Mapping[str, Any]) -> None:
    """Refuse keywords for the steps that were most likely meant for the run."""
    for name, value in keywords.items():
        near = difflib.get_close_matches(name, _OF_A_RUN, 1, 0.75)
        if near == ["epoch_length"]:
            raise TypeError(
                f"{name}={value!r}: an epoch of a workflow is a pass over its loader, or a cycle. "
                f"For shorter ones give limited(loader, n); a keyword for the steps needs a name "
                f"that is unlike 'epoch_length'."
            )
        if near:
            raise TypeError(
                f"{name}={value!r} would be a keyword for the steps, and no limit."
                f"{nearest(name, near)} A keyword for the steps needs a name that is unlike it."
            )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names)) or "none"
