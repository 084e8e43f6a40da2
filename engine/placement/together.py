"""Together: one computation that several processes share, of which some may have nothing to add."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from .adding import EXACT, added, number_of, put_into, specification, summed_alike
from .packing import packed, unpacked
from .ranks import gathered_bytes, rank, summed, world_size

__all__ = ["ALONE", "Exchange", "together"]

T = TypeVar("T")

_HANDS_IN, _SUMS, _IS_DONE, _FAILED = "hands in", "sums", "is done", "failed"
_IS_IDLE = "has nothing to add"


class _Told(NamedTuple):
    """What a process tells all others: what it does, for which computation, with which value."""

    kind: str
    what: str
    value: Any


class Exchange:
    """What the processes that take part in a computation hand to each other.

    Args:
        members: the ranks of those that take part.
        rank: the number of this process among them.
        what: what is computed.

    Attributes:
        rank: as given.
        world_size: how many take part.
    """

    def __init__(self, members: list[int], rank: int, what: str = "") -> None:
        self.rank = rank
        self.world_size = len(members)
        self._members = members
        self._what = what

    def all(self, value: T) -> list[T]:
        """What each process that takes part hands in, in the order of their ranks.

        Args:
            value: anything that can be pickled; tensors come out on the host, if there are others.
        """
        if self.world_size == 1:
            return [value]
        message = self.message(_HANDS_IN, value)  # an error here is raised before all wait
        _agreed(_HANDS_IN, self._what)
        return self._told(message)

    def sum(self, values: Sequence[Any]) -> list[Any]:
        """The sum of each of several numbers or tensors over all that take part.

        Where all processes have the same number of them, of the same shapes, they are added on
        their way, floats in double precision; nobody has to hold more than its own.

        Args:
            values: numbers and tensors; others are added as Python adds them.
        """
        values = list(values)
        if self.world_size == 1:
            return values
        if (spec := specification(values)) is None:
            return added(self.all(values))
        number = number_of(values)
        how = f"{spec} {'behind this' if number is None else 'within this'}".encode()
        total = _agreed(_SUMS, self._what, how, 0.0 if number is None else number)
        if total is None:
            return added(self._told(self.message(_HANDS_IN, values)))
        return summed_alike(values) if number is None else [put_into(values[0], total)]

    def done(self, value: T, message: bytes) -> T:
        """What was computed: that of the first process that takes part.

        Args:
            value: what this process has computed.
            message: says so.
        """
        if _agreed(_IS_DONE, self._what, message) is not None:
            return value
        first: T = self._told(message)[0]
        return value if self.rank == 0 else first

    def message(self, kind: str, value: Any) -> bytes:
        """What this process tells."""
        return packed(_Told(kind, self._what, value))

    def _told(self, message: bytes) -> list[Any]:
        told = _told_by_all(message)
        members = _members(told)
        if members != self._members:
            raise _Fewer(members)
        return [told[one].value for one in members]


ALONE: Final = Exchange([0], 0)
"""The exchange of a computation that one process has to itself."""


class _Known(BaseException):
    """Wraps an error that all processes have heard of, past what a computation may catch."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Fewer(BaseException):
    """Told by the first message: who takes part, where not all do."""

    def __init__(self, members: list[int]) -> None:
        self.members = members


def together(compute: Callable[[Exchange], T], *, takes_part: bool, what: str) -> T:
    """What a computation gives, the same on all processes; all of them have to call this.

    Those that have nothing to add keep the others company until they are told. If nobody has
    anything, each computes alone. What is raised on one process is raised on all, so that none is
    left waiting. They can't miss each other, as at each step all do the same::

        a reduction of two numbers     whether all do the same; with it goes what is to be added
        a gathering, if they don't     what each does, with which value, or which error was raised

    A step is whatever is handed in; those with nothing to add say so each time. The last one says
    what was computed. Where all hand in numbers to be added, all of it is such small reductions.

    As most often all take part, this is taken for granted until the first message tells. If some
    have nothing to add, that message was in vain, and the computation begins once more.

    Args:
        compute: given the exchange among those that take part; it returns what can be pickled.
            Up to the first thing that it hands in it may be called twice.
        takes_part: whether this process has something to add.
        what: what is computed, which all processes have to agree on.

    Returns:
        what ``compute`` returned on the first process that takes part.

    Raises:
        RuntimeError: on all processes, if they are about to compute different things.

    Example:
        >>> together(lambda exchange: sum(exchange.all(3)), takes_part=True, what="a sum")
        3
    """
    if world_size() == 1:
        return compute(ALONE)
    try:
        if not takes_part:
            return _told_at_last(compute, what)
        try:
            return _computed(compute, what, list(range(world_size())))
        except _Fewer as fewer:
            return _computed(compute, what, fewer.members)
    except _Known as known:
        raise known.error from None


def _computed(compute: Callable[[Exchange], T], what: str, members: list[int]) -> T:
    exchange = Exchange(members, members.index(rank()), what)
    try:
        value = compute(exchange)
        message = exchange.message(_IS_DONE, value)  # an error here is told, too
    except Exception as error:
        _agreed(_FAILED, what)
        _told_by_all(packed(_Told(_FAILED, what, _sent(error))))
        raise
    return exchange.done(value, message)


def _told_at_last(compute: Callable[[Exchange], T], what: str) -> T:
    """Keep the others company, and return what they have computed."""
    members = _told_by_idle(what)[0]  # who then know that not all take part
    if not members:
        return compute(ALONE)
    while True:
        members, told = _told_by_idle(what)
        if (first := told[members[0]]).kind == _IS_DONE:
            return first.value  # type: ignore[no-any-return]


def _told_by_idle(what: str) -> tuple[list[int], list[_Told]]:
    _agreed(_IS_IDLE, what)
    told = _told_by_all(packed(_Told(_IS_IDLE, what, None)))
    return _members(told), told


def _agreed(kind: str, what: str, token: bytes = b"", number: float = 0.0) -> float | None:
    """The sum of a number, if all processes do the same at this point; otherwise ``None``.

    A digest that is added in the same reduction tells: it has as few bits as leave the sum exact,
    so it is that of so many equal ones only if they are.
    """
    bits = EXACT - world_size().bit_length()
    told = b"\0".join((kind.encode(), what.encode(), token))
    digest = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big") >> (64 - bits)
    total, numbers = summed([digest, number])
    return numbers if total == digest * world_size() else None


def _told_by_all(message: bytes) -> list[_Told]:
    return [unpacked(one) for one in gathered_bytes(message)]


def _members(told: list[_Told]) -> list[int]:
    """Who takes part, if all are in step; what was raised on another process is raised."""
    for number, one in enumerate(told):
        if one.kind == _FAILED:
            error = one.value if isinstance(one.value, Exception) else RuntimeError(one.value)
            error.add_note(f"raised in process {number} of {len(told)}")
            raise _Known(error)
    kinds = {one.kind for one in told} - {_IS_IDLE}
    if len(kinds) > 1 or len({one.what for one in told}) > 1:
        raise _Known(_out_of_step(told))
    return [number for number, one in enumerate(told) if one.kind != _IS_IDLE]


def _sent(error: Exception) -> Exception | str:
    """An error as it can be told: itself, or what it says."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class asks for
        return f"{type(error).__name__}: {error}"
    return error


def _out_of_step(told: list[_Told]) -> RuntimeError:
    who = ", ".join(
        f"process {number} {one.kind}, for {one.what}" for number, one in enumerate(told)
    )
    return RuntimeError(
        f"the processes are out of step ({who}); give all of them the same metrics, and as many "
        f"batches where metrics are computed within an epoch."
    )
