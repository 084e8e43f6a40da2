"""Phases of a workflow: what each does on the events of the train engine, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from .beginning import check_data, is_done
from .engine import Engine
from .errors import DataError
from .evaluating import empty_share, evaluate
from .events import Event, Events
from .filters import Filter
from .iter_loader import IterLoader
from .priority import Priority
from .samplers import samplers_in
from .source import NOTHING, length_of
from .state import Next

__all__ = ["UNITS", "Feed", "Phase", "phases_of"]


class Phase:
    """One phase of a workflow, and the receiver that does its part on the train engine's events.

    Attributes:
        number: its place among the phases, from 0, and that of its loader among the loaders.
        name: the name of its engine.
        n: how many units it runs in each cycle.
        behind: train units of the cycle that come before it.
        of: train units of a cycle.
        loader: its data; ``None`` before the first run.
        limit: what its unit is limited by.
        priority: its place in the order.
    """

    limit: ClassVar[str]
    priority: ClassVar[Priority]

    def __init__(self, number: int, name: str, n: int, behind: int, of: int) -> None:
        self.number, self.name, self.n, self.behind, self.of = number, name, n, behind, of
        self.loader: Any = None
        self._data: Any = None
        self.__qualname__ = f"phase {number}: {name} x {n}"  # how plans and errors call it

    def __str__(self) -> str:
        return f"phase {self.number} ({self.name!r})"

    def __call__(self, engine: Engine) -> None:
        """Do what the phase has to do on its event of the train engine."""
        raise NotImplementedError

    def event(self) -> Event:
        """The event of the train engine that it is connected to, filtered."""
        raise NotImplementedError

    @property
    def data(self) -> Any:
        """What its engine runs over: the loader, or endless batches of it.

        Raises:
            RuntimeError: before the first run of the workflow.
        """
        if self._data is None:
            raise RuntimeError(
                f"{self} has no data yet; run the engine by Workflow.run(loaders, …), or take the "
                f"workflow away with detach()."
            )
        return self._data

    def take(self, loader: Any) -> None:
        """Use this loader from now on."""
        self.loader = self._data = loader

    def check(self, loader: Any) -> None:
        """Refuse a loader that can't give a batch."""
        if loader is None:
            raise TypeError(f"{self} was given no data; for steps that need none, give [None].")
        try:
            check_data(loader)
        except TypeError as error:
            error.add_note(f"given to {self}")
            raise
        if self.lacks(loader):
            raise DataError(f"the data of {self} have zero size; give at least one batch.")

    def lacks(self, loader: Any) -> bool:
        """Whether there is nothing in it to run over."""
        return length_of(loader) == 0


class _Turn(Phase):
    """A phase that runs its own engine while the train engine waits.

    Among several processes one may have an empty share of the data, as in any evaluation.
    """

    begins: ClassVar[Event]
    completes: ClassVar[Event]
    priority = Priority.ABOVE_NORMAL

    def __init__(
        self, number: int, name: str, n: int, behind: int, of: int, engine: Engine
    ) -> None:
        super().__init__(number, name, n, behind, of)
        self.engine = engine

    def event(self) -> Event:
        if not self.behind:
            return self.begins(_units(1, 1, self.of))
        wanted = _units(self.behind, self.behind, self.of)
        if self.behind > 1:
            wanted |= _cut(self.behind, self.of)
        return self.completes(wanted)

    def lacks(self, loader: Any) -> bool:
        return empty_share(loader) is None and super().lacks(loader)

    def _run(self, engine: Engine, data: Any, epoch_length: int | None = None) -> None:
        evaluate(engine, self.engine, data, prefix=f"{self.name}_", epoch_length=epoch_length)


class _EpochTurn(_Turn):
    """Each unit is a run over the loader."""

    limit = "max_epochs"
    begins, completes = Events.EPOCH_STARTED, Events.EPOCH_COMPLETED

    def __call__(self, engine: Engine) -> None:
        for _ in range(self.n):
            self._run(engine, self.data)


class _Endless(Phase):
    """A phase by iteration: its batches go on where it stood."""

    def take(self, loader: Any) -> None:
        if self._data is None or loader is not self.loader:
            self.loader, self._data = loader, IterLoader(loader)

    def _standing_at(self, taken: int) -> IterLoader:
        batches: IterLoader = self.data
        batches.seek(taken)
        return batches


class _IterationTurn(_Endless, _Turn):
    """All units of a cycle are one run, of an epoch of so many iterations."""

    limit = "max_iters"
    begins, completes = Events.ITERATION_STARTED, Events.ITERATION_COMPLETED

    def __call__(self, engine: Engine) -> None:
        if length_of(self.loader) == 0:
            return self._run(engine, self.loader, 0)
        cycle = (engine.state.iteration - 1) // self.of
        self._run(engine, self._standing_at(cycle * self.n), self.n)


class Feed(Phase):
    """A train phase: gives the train engine its data, where other train phases give others."""

    priority = Priority.HIGHEST

    def has(self, unit: int) -> bool:
        """Whether a train unit, counted from 0, is one of this phase."""
        return self.behind <= unit % self.of < self.behind + self.n

    @staticmethod
    def done(engine: Engine) -> int:
        """How many train units are over."""
        raise NotImplementedError

    def place(self, engine: Engine, unit: int) -> tuple[Any, int | None]:
        """Data to go on with at a unit that may be under way, and the length of epochs."""
        raise NotImplementedError


class _EpochFeed(Feed):
    """Each unit is a pass over the loader, however long that is."""

    limit = "max_epochs"

    def event(self) -> Event:
        return Events.EPOCH_STARTED(_units(self.behind + 1, self.behind + self.n, self.of))

    def __call__(self, engine: Engine) -> None:
        _set_epoch(self.data, engine.source.passes)
        engine.state.epoch_length = length_of(self.data)  # if it is unknown, its end will tell
        engine.set_data(self.data)

    @staticmethod
    def done(engine: Engine) -> int:
        begun = (Next.ITERATION, Next.ITERATION_COMPLETED, Next.EPOCH_COMPLETED)
        return engine.state.epoch - (engine.progress.next in begun)

    def place(self, engine: Engine, unit: int) -> tuple[Any, int | None]:
        _set_epoch(self.data, engine.source.next_pass)
        return self.data, None


class _IterationFeed(_Endless, Feed):
    """Each unit is the next batch of the loader; an epoch is a cycle."""

    limit = "max_iters"

    def event(self) -> Event:
        # the event counts the iterations before the one that the batch is for
        wanted = _units(self.behind + 1, self.behind + self.n, self.of, ahead=1)
        return Events.GET_BATCH_STARTED(wanted)

    def __call__(self, engine: Engine) -> None:
        engine.set_data(self._standing_at(self._taken(engine.state.iteration)))

    @staticmethod
    def done(engine: Engine) -> int:
        return engine.state.iteration - (engine.progress.next is Next.ITERATION_COMPLETED)

    def place(self, engine: Engine, unit: int) -> tuple[Any, int | None]:
        if engine.source.in_hand is NOTHING:
            self._standing_at(self._taken(unit))
        return self.data, self.of

    def _taken(self, unit: int) -> int:
        """Batches that this phase has taken before a train unit, one of its own."""
        cycle, within = divmod(unit, self.of)
        return cycle * self.n + within - self.behind


UNITS: dict[str, tuple[type[_Turn], type[Feed]]] = {
    "epoch": (_EpochTurn, _EpochFeed),
    "iteration": (_IterationTurn, _IterationFeed),
}


def phases_of(
    pairs: Sequence[tuple[str, int]], engines: Mapping[str, Engine], unit: str, train: str
) -> Iterator[Phase]:
    """The phases, each knowing where in the cycle of train units it stands."""
    turn, feed = UNITS[unit]
    of, behind = sum(n for name, n in pairs if name == train), 0
    for number, (name, n) in enumerate(pairs):
        if name == train:
            yield feed(number, name, n, behind, of)
            behind += n
        else:
            yield turn(number, name, n, behind, of, engines[name])


def _set_epoch(loader: Any, number: int) -> None:
    for one in samplers_in(loader):
        one.set_epoch(number)


def _units(first: int, last: int, of: int, ahead: int = 0) -> Filter:
    """The train units from first to last of each cycle of so many, counted from 1."""
    span = f"unit({first}" if first == last else f"units({first}, {last}"
    return Filter(
        lambda engine, count: first <= (count + ahead - 1) % of + 1 <= last, f"{span}, of={of})"
    )


def _cut(before: int, of: int) -> Filter:
    """The train unit that is the last of the run and comes before that one of its cycle."""
    return Filter(
        lambda engine, count: (count - 1) % of + 1 < before and is_done(engine.state),
        f"cut(before={before}, of={of})",
    )
