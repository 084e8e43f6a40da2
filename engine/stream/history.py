"""The history of scalars: what was read of each, over a window, an epoch or the whole run."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from ..errors import nearest

__all__ = ["History", "Record", "Statistic", "Sums", "Window", "names_of"]

Window = int | Literal["epoch"] | None
"""Over how much: the last so many values, this epoch, or with ``None`` the whole run."""

_READING = struct.Struct("<3d")


@dataclass
class Sums:
    """What is left of any number of values: enough for mean, least and most.

    A NaN stays: in any of the three, whatever follows it.

    Attributes:
        count: how many values there were.
        total: the sum of value times weight.
        weight: the sum of the weights.
        low, high: the least and the greatest of them.

    Example:
        >>> sums = Sums()
        >>> sums.take([(1, 1.0, 3.0), (2, 5.0, 1.0)])
        >>> sums.mean, sums.low, sums.high
        (2.0, 1.0, 5.0)
    """

    count: int = 0
    total: float = 0.0
    weight: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def take(self, readings: Sequence[tuple[int, float, float]]) -> None:
        """Take in values, each with its iteration and its weight."""
        if not readings:
            return
        values = [value for _, value, _ in readings]
        known = not any(map(math.isnan, values))
        low, high = (min(values), max(values)) if known else (math.nan, math.nan)
        total = sum([value * weight for _, value, weight in readings])
        self.join(Sums(len(values), total, sum([w for _, _, w in readings]), low, high))

    def join(self, other: Sums) -> None:
        """Take in what is left of other values."""
        self.count += other.count
        self.total += other.total
        self.weight += other.weight
        if not other.low >= self.low and self.low == self.low:  # so that NaN gets in, and stays
            self.low = other.low
        if not other.high <= self.high and self.high == self.high:
            self.high = other.high

    def value(self, method: str) -> float:
        """One of the figures, by its name."""
        return {"min": self.low, "max": self.high}.get(method, self.mean)

    @property
    def mean(self) -> float:
        """The weighted mean; NaN of nothing."""
        return self.total / self.weight if self.weight else math.nan


@dataclass(frozen=True)
class Statistic:
    """A number made from a scalar's history.

    Args:
        of: the scalar's name.
        method: ``"mean"``, ``"min"``, ``"max"`` or ``"last"``.
        window: over how much: the last so many values, ``"epoch"``, or ``None`` for the run.

    Example:
        >>> Statistic("loss", "max", window=100)
        Statistic(of='loss', method='max', window=100)
    """

    of: str
    method: Literal["mean", "min", "max", "last"] = "mean"
    window: Window = None

    def __post_init__(self) -> None:
        methods = ("mean", "min", "max", "last")
        if self.method not in methods:
            raise ValueError(
                f"a statistic is one of {', '.join(methods)}, given {self.method!r}."
                f"{nearest(str(self.method), methods)}"
            )
        _check_window(self.window)


class Record:
    """What was read of one scalar.

    The last values are kept one by one, older ones as sums alone.

    Args:
        name: the scalar's.
        keep: how many values to keep.

    Attributes:
        on: whether it is logged with each ``"iteration"`` log point, or once an ``"epoch"``.
        bar: whether it is to be shown in progress bars.
        to: names of the sinks that it goes to; ``None`` for all of them.

    Example:
        >>> record = Record("loss")
        >>> record.extend([(1, 4.0, 1.0), (2, 2.0, 1.0), (3, 1.0, 1.0)])
        >>> record.last, record.mean(2), record.max(), record.mean("epoch"), record.count
        (1.0, 1.5, 4.0, 2.3333333333333335, 3)
    """

    def __init__(self, name: str, keep: int = 1000) -> None:
        self.name = name
        self.on: str = "iteration"
        self.bar = False
        self.to: tuple[str, ...] | None = None
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=keep)
        self.run = Sums()
        self.epoch = Sums()

    def extend(self, values: Iterable[tuple[int, float, float]]) -> None:
        """Take in values, each with its iteration and its weight in means."""
        readings = list(values)
        self._recent.extend(readings)
        sums = Sums()
        sums.take(readings)
        self.run.join(sums)
        self.epoch.join(sums)

    @property
    def count(self) -> int:
        """How many values there were."""
        return self.run.count

    @property
    def last(self) -> float:
        """The last value; NaN before any."""
        return self._recent[-1][1] if self._recent else math.nan

    @property
    def values(self) -> list[tuple[int, float]]:
        """Pairs of iteration and value, as far back as they are kept."""
        return [(iteration, value) for iteration, value, _ in self._recent]

    def mean(self, window: Window = None) -> float:
        """The weighted mean over a window; NaN of nothing."""
        return self._over(window).mean

    def min(self, window: Window = None) -> float:
        """The least value of a window; NaN if one is NaN."""
        return self._over(window).low

    def max(self, window: Window = None) -> float:
        """The greatest value of a window; NaN if one is NaN."""
        return self._over(window).high

    def sums(self, one: Statistic) -> Sums:
        """What a statistic of this scalar is made of."""
        return self._over(1 if one.method == "last" else one.window)

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self.epoch = Sums()

    def _over(self, window: Window) -> Sums:
        _check_window(window)
        if window is None or window == "epoch":
            return self.run if window is None else self.epoch
        if window > len(self._recent) < self.count:
            raise ValueError(
                f"the last {window} values of {self.name!r} were asked for, but "
                f"{self._recent.maxlen} are kept; give Scalars(keep={window})."
            )
        sums = Sums()
        sums.take(list(islice(reversed(self._recent), window)))
        return sums

    def state_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        return {
            "on": self.on,
            "bar": self.bar,
            "to": None if self.to is None else list(self.to),
            "recent": _packed(self._recent),
            "run": asdict(self.run),
            "epoch": asdict(self.epoch),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all of it."""
        self.on, self.bar = state["on"], state["bar"]
        self.to = None if state["to"] is None else tuple(state["to"])
        self._recent.clear()
        self._recent.extend(_unpacked(state["recent"]))
        self.run, self.epoch = Sums(**state["run"]), Sums(**state["epoch"])

    def __repr__(self) -> str:
        return f"<Record {self.name!r}: {self.count} values, last {self.last:g}>"


class History(Mapping[str, Record]):
    """The scalars of an engine by name, as far as they were read.

    ``engine.history`` is one; a :class:`~footplate.handlers.scalars.Scalars` fills it, and has it
    saved with checkpoints. Between log points it does not move: values wait on their device.

    Example:
        >>> from footplate import Engine
        >>> from footplate.handlers.scalars import Scalars
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> scalars = trainer.attach(Scalars())
        >>> state = trainer.run([4.0, 2.0, 1.0])
        >>> trainer.history["loss"].mean(2), trainer.history["loss"].min()
        (1.5, 1.0)
    """

    def __init__(self) -> None:
        self.keep = 1000
        self._records: dict[str, Record] = {}

    def __getitem__(self, name: str) -> Record:
        try:
            return self._records[name]
        except KeyError:
            known = ", ".join(self._records) or "nothing, as long as no Scalars is attached"
            hint = nearest(name, self._records)
            raise KeyError(f"no scalar {name!r} was read; there is {known}.{hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def record(self, name: str) -> Record:
        """The record of a scalar, a new one if need be."""
        if name not in self._records:
            self._records[name] = Record(name, self.keep)
        return self._records[name]

    def begin_epoch(self) -> None:
        """Begin the sums of an epoch anew."""
        for one in self._records.values():
            one.begin_epoch()

    def clear(self) -> None:
        """Forget everything."""
        self._records.clear()

    def allowed(self, name: str, sink: str) -> bool:
        """Whether a scalar is for a sink."""
        to = self._records[name].to if name in self._records else None
        return to is None or sink in to

    def state_dict(self) -> dict[str, Any]:
        """All records, in plain values."""
        return {name: one.state_dict() for name, one in self._records.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all records."""
        self.clear()
        for name, one in state.items():
            self.record(name).load_state_dict(one)


def _packed(readings: Iterable[tuple[int, float, float]]) -> str:
    """Readings as one string, so that saving them costs little."""
    return b"".join(_READING.pack(*reading) for reading in readings).hex()


def _unpacked(packed: str) -> Iterator[tuple[int, float, float]]:
    numbers = _READING.iter_unpack(bytes.fromhex(packed))
    return ((int(at), value, weight) for at, value, weight in numbers)


def _check_window(window: Any) -> None:
    positive = isinstance(window, int) and not isinstance(window, bool) and window > 0
    if not (positive or window is None or window == "epoch"):
        raise ValueError(
            f"a window is a number of values from 1, 'epoch', or None for the run, "
            f"given {window!r}."
        )


def names_of(to: str | Sequence[str]) -> tuple[str, ...]:
    """The sinks that a value is for, as ``engine.log(to=)`` takes them.

    Example:
        >>> names_of("csv"), names_of(["csv", "console"])
        (('csv',), ('csv', 'console'))
    """
    return (to,) if isinstance(to, str) else tuple(to)
