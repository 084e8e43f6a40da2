"""Batches on their way to a device."""

from __future__ import annotations

import copy
import inspect
import weakref
from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..beginning import check_data
from ..nested import leaves, map_nested
from ..passes import Through, skip
from ..source import END, NOTHING
from ..step.announcer import register
from ..step.events import StepEvents

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["DeviceLoader", "Transfer", "move"]

Transfer = Callable[[Any, torch.device], Any]
"""Takes a batch and a device; returns the batch on the device."""

_EVENTS = (StepEvents.TRANSFER_STARTED, StepEvents.TRANSFER_COMPLETED)
_BLOCKING = ("cpu", "mps")  # here a copy that is not waited for may be read before it is there


class _Having(ABC):
    """Whatever has a method; an ABC keeps the answer for each type, and a Protocol looks anew."""

    method: ClassVar[str]

    @classmethod
    def __subclasshook__(cls, kind: type) -> bool:
        return hasattr(kind, cls.method)


class _Movable(_Having):
    method = "to"


class _Pinnable(_Having):
    method = "pin_memory"


class _Recorded(_Having):
    method = "record_stream"


def move(batch: Any, device: str | int | torch.device, non_blocking: bool = True) -> Any:
    """Move whatever a nested batch holds to a device.

    Tensors are moved, and so is all else that has a ``to(device)``: it is asked to move a shallow
    copy of itself, since some objects change in place. Mappings such as the ``BatchEncoding`` of
    transformers have one, too. What has none, as an array or a string, stays as it is.

    Args:
        batch: tensors in dicts, lists, tuples and dataclasses, however deep.
        device: where to.
        non_blocking: whether copies from pinned memory to a GPU are not waited for.

    Returns:
        a batch of the same shape; the very same if all of it was there already.

    Raises:
        TypeError: if the ``to`` of an object returns nothing.

    Example:
        >>> batch = {"image": torch.zeros(2, 3), "name": ["a", "b"]}
        >>> move(batch, "meta")["image"].device
        device(type='meta')
        >>> move(batch, "cpu") is batch
        True
    """
    device = torch.device(device)
    non_blocking = non_blocking and device.type not in _BLOCKING
    changed = False

    def moved(one: Any) -> Any:
        nonlocal changed
        new = _on_device(one, device, non_blocking)
        changed = changed or new is not one
        return new

    result = map_nested(moved, batch, kind=_Movable)
    return result if changed else batch


class DeviceLoader:
    """Data whose batches are on a device.

    On CUDA, batches are copied from pinned memory; those that are not in it are pinned first. The
    next batch is on its way, on a stream of its own, while one is worked with, if nothing that
    this takes can draw random numbers in this process: worker processes load the data, the
    transfer is :func:`move`, and nobody listens to TRANSFER_STARTED or TRANSFER_COMPLETED. Random
    numbers drawn ahead would be others when a run is resumed. On the CPU, batches are handed
    through as they are.

    An error in the data is raised at its own batch, not at the one before. One-shot data make a
    one-shot loader; others can be iterated over again. The data must not write into a batch that
    they have handed out: it may not be copied yet.

    The idea of a stream that copies ahead is that of the data prefetcher of NVIDIA's apex.

    Args:
        data: anything that can be iterated over.
        device: where the batches go.
        transfer: what moves a batch, called with the batch and the device; returns the batch.
        engine: where TRANSFER_STARTED and TRANSFER_COMPLETED fire; held weakly.
        ahead: whether the next batch is taken and moved ahead, whatever the rule above says;
            still not while anybody listens.

    Attributes:
        loader: the data.
        device: where the batches go.

    Raises:
        TypeError: for data that can't be iterated over, or a transfer that can't be called.
        ValueError: for a device that this machine does not have.

    Example:
        >>> loader = DeviceLoader([torch.ones(2), torch.zeros(2)], "meta")
        >>> [batch.device.type for batch in loader], len(loader)
        (['meta', 'meta'], 2)
    """

    def __new__(cls, data: Any = None, *_: Any, **__: Any) -> DeviceLoader:
        """Make the kind of loader that the data are: an engine tells them by their type."""
        one_shot = cls is DeviceLoader and isinstance(data, Iterator)
        return super().__new__(_OneShotLoader if one_shot else cls)

    def __init__(
        self,
        data: Any,
        device: str | int | torch.device,
        *,
        transfer: Transfer = move,
        engine: Engine | None = None,
        ahead: bool | None = None,
    ) -> None:
        if data is None:
            raise TypeError("DeviceLoader needs data, given None.")
        check_data(data)
        if not callable(transfer):
            raise TypeError(
                f"transfer is a function (batch, device) that returns the batch, given {transfer!r}"
            )
        self.loader = data
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"device {str(device)!r} needs CUDA, which torch {torch.__version__} does not "
                f"find on this machine; give device='cpu'."
            )
        if ahead is None:
            elsewhere = (getattr(data, "num_workers", 0) or 0) > 0
            ahead = self.device.type == "cuda" and elsewhere and transfer is move
        if engine is not None:
            register(engine)
        self._lane = _Lane(self.device, transfer, engine, ahead)

    def __iter__(self) -> Iterator[Any]:
        return _Walk(self._lane, iter(self.loader))

    def __len__(self) -> int:
        return len(self.loader)

    def make_passes(self) -> Through:
        """Passes over the data, their batches moved."""
        passes = Through(self.loader, lambda batches, position: _Walk(lane, batches))
        lane = self._lane.without_hurry() if passes.moves_with_batches else self._lane
        return passes


class _OneShotLoader(DeviceLoader):
    """Over data that are an iterator; an iterator itself."""

    make_passes: Any = None  # it goes on where it stands

    def __init__(self, data: Any, device: str | int | torch.device, **options: Any) -> None:
        super().__init__(data, device, **options)
        self._walk = _Walk(self._lane, iter(data))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._walk)

    def skip(self, count: int) -> int:
        """Pass by so many batches without moving them; returns how many there were."""
        return self._walk.skip(count)


@dataclass(slots=True)
class _Underway:
    """A batch that was sent ahead.

    Attributes:
        source: the batch as the data gave it, kept for as long as it is read.
        batch: the one that arrives; END behind the last.
        failure: what was raised in its place.
    """

    source: Any = None
    batch: Any = None
    failure: Exception | None = None


class _Walk(Iterator[Any]):
    """One pass over the data."""

    def __init__(self, lane: _Lane, batches: Iterator[Any]) -> None:
        self._lane = lane
        self._batches = batches
        self._source: Any = NOTHING  # taken from the data, but not moved yet
        self._underway: _Underway | None = None

    def __next__(self) -> Any:
        batch = self._next_by(self._lane.move)[1] if self._underway is None else self._arrived()
        if self._lane.goes_ahead:
            self._underway = self._sent_ahead()
        return batch

    def skip(self, count: int) -> int:
        """Pass by so many batches from the beginning, without moving them.

        Returns:
            how many there were.
        """
        return skip(self._batches, count)

    def _next_by(self, way: Callable[[Any], Any]) -> tuple[Any, Any]:
        """The next batch before and after; one that could not be moved is tried again."""
        if self._source is NOTHING:
            self._source = next(self._batches)
        source, batch = self._source, way(self._source)
        self._source = NOTHING
        return source, batch

    def _sent_ahead(self) -> _Underway:
        try:
            return _Underway(*self._next_by(self._lane.send))
        except StopIteration:  # not kept as an error: its traceback would hold whoever runs this
            return _Underway(batch=END)
        except Exception as error:
            return _Underway(failure=error)

    def _arrived(self) -> Any:
        underway, self._underway = self._underway, None
        assert underway is not None
        try:
            if underway.failure is not None:
                raise underway.failure
            if underway.batch is END:
                raise StopIteration
            return self._lane.receive(underway.batch)
        finally:
            del underway  # an error's traceback leads here, and must not lead back to the error


class _Lane:
    """The way to a device: who moves the batches, who hears of it, whether any go ahead.

    It knows neither loader nor pass, so that these die with their last name.
    """

    def __init__(
        self, device: torch.device, transfer: Transfer, engine: Engine | None, ahead: bool
    ) -> None:
        self._device = device
        self._transfer = transfer
        self._engine = None if engine is None else weakref.ref(engine)
        self._ahead = ahead

    def without_hurry(self) -> _Lane:
        """The same way for data whose state moves with each batch: none may go ahead."""
        lane = copy.copy(self)
        lane._ahead = False
        return lane

    @property
    def goes_ahead(self) -> bool:
        """Whether the next batch is sent ahead now; a listener may come at any time."""
        if not self._ahead:
            return False
        engine = self._engine() if self._engine else None
        return engine is None or not any(engine.channels[event].calls for event in _EVENTS)

    def move(self, batch: Any) -> Any:
        """Move a batch here and now, and let it be heard."""
        self._emit(_EVENTS[0], batch)
        moved = self._transferred(batch)
        self._emit(_EVENTS[1], moved)
        return moved

    def send(self, batch: Any) -> Any:
        """Send a batch ahead; what comes back may be used when it was received."""
        if self._stream is None:
            return self._transferred(batch)
        # Memory that the last batch left to the copying stream may still be read by the work
        # queued here, and so may what the data themselves put on the device still be written.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            return self._transferred(batch)

    def receive(self, batch: Any) -> Any:
        """Have the work that is queued here from now on wait for a batch that was sent."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for _, one in leaves(batch, kind=_Recorded):
                if not isinstance(one, torch.Tensor) or one.is_cuda:
                    one.record_stream(current)
        return batch

    @cached_property
    def _stream(self) -> torch.cuda.Stream | None:
        """The stream that copies ahead; one for all passes, as each keeps memory of its own."""
        if self._device.type != "cuda":
            return None
        return torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def _transferred(self, batch: Any) -> Any:
        if self._device.type == "cuda":
            batch = map_nested(_pinned, batch, kind=_Pinnable)
        moved = self._transfer(batch, self._device)
        if moved is None and batch is not None:
            raise TypeError(f"transfer {self._transfer!r} returned None; it returns the batch.")
        return moved

    def _emit(self, event: str, batch: Any) -> None:
        engine = self._engine() if self._engine else None
        if engine is not None and (channel := engine.channels[event]).calls:
            engine.emit(channel, {"batch": batch})


def _on_device(one: Any, device: torch.device, non_blocking: bool) -> Any:
    if isinstance(one, torch.Tensor):
        return one.to(device, non_blocking=non_blocking)
    one = copy.copy(one)
    try:
        inspect.signature(one.to).bind(device, non_blocking=non_blocking)
    except (TypeError, ValueError):  # takes no such keyword, or can't be asked
        moved = one.to(device)
    else:
        moved = one.to(device, non_blocking=non_blocking)
    if moved is None:
        raise TypeError(f"{type(one).__name__}.to() returned None; it returns what was moved.")
    return moved


def _pinned(one: Any) -> Any:
    if not isinstance(one, torch.Tensor):
        return copy.copy(one).pin_memory()
    pageable = one.device.type == "cpu" and one.layout is torch.strided and not one.is_pinned()
    return one.pin_memory() if pageable else one
