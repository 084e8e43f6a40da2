"""Accumulation: how many batches make one optimizer step, and what each of them weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from ..errors import StateError, nearest
from ..whole import whole

__all__ = ["Accumulation", "Window"]

_ENDS = ("flush", "carry")


class Accumulation:
    """How gradients are gathered over several batches.

    The gradients of a window's batches are summed, each times its weight, and divided once by
    the sum of the weights: before clipping, and behind unscaling. So they are those of the
    whole window taken as one batch, however ragged it is. In windows of one batch nothing is
    multiplied or divided.

    Args:
        size: batches in a window; or sizes by the epoch, from 1, from which on they hold, as in
            ``{1: 8, 5: 4}``. A window keeps the size with which it began.
        at_epoch_end: what becomes of a window that is not full when an epoch ends: ``"flush"``
            makes the optimizer step with what it holds, ``"carry"`` goes on with it in the next
            epoch. With ``"flush"`` it is done at the end of a run, too, also by ``max_iters`` or
            ``terminate()``; a window that is carried waits until the run goes on. A run that
            starts anew begins with an empty one.

    Attributes:
        sizes: the sizes by epoch.
        flushes: whether a window ends with its epoch.
        gathers: whether windows are ever of more than one batch.

    Raises:
        ValueError: for sizes and epochs that are not whole numbers from 1, for a schedule that
            does not begin with epoch 1, and for another end.

    Example:
        >>> accumulation = Accumulation({1: 8, 5: 4})
        >>> [accumulation.size_in(epoch) for epoch in (1, 4, 5, 9)]
        [8, 8, 4, 4]
    """

    def __init__(
        self,
        size: int | Mapping[int, int] = 1,
        *,
        at_epoch_end: Literal["flush", "carry"] = "flush",
    ) -> None:
        given = size if isinstance(size, Mapping) else {1: size}
        sizes = {
            whole("an epoch of accumulate={epoch: size}", epoch): whole("accumulate", number)
            for epoch, number in given.items()
        }
        if 1 not in sizes:
            raise ValueError(
                f"the sizes {sizes} say nothing of epoch 1; epochs count from 1: "
                f"{{1: 1, {', '.join(f'{e}: {n}' for e, n in sizes.items())}}}."
            )
        if at_epoch_end not in _ENDS:
            raise ValueError(
                f"at_epoch_end is 'flush' or 'carry', given {at_epoch_end!r}."
                f"{nearest(str(at_epoch_end), _ENDS)}"
            )
        self.sizes = dict(sorted(sizes.items()))
        self.flushes = at_epoch_end == "flush"
        self.gathers = self.sizes != {1: 1}

    @classmethod
    def of(cls, given: int | Mapping[int, int] | Accumulation) -> Accumulation:
        """An accumulation, made of its size if need be."""
        return given if isinstance(given, Accumulation) else cls(given)

    def size_in(self, epoch: int) -> int:
        """Batches in a window that begins in this epoch."""
        chosen = self.sizes[1]
        for first, size in self.sizes.items():
            if first > epoch:
                break
            chosen = size
        return chosen


class Window:
    """What the gradients hold at the moment.

    Attributes:
        size: batches that make it full.
        held: batches whose gradients were added.
        weight: the sum of their weights, a number or a scalar tensor on any device.
        weighted: whether the losses were multiplied by their weights.
        vetoed: whether its step is to be left out.

    Example:
        >>> window = Window(size=2)
        >>> window.add(weight=3.0)
        >>> window.add(weight=1.0)
        >>> window.held, window.total
        (2, 4.0)
        >>> window.begin(size=2)
        >>> window.held
        0
    """

    __slots__ = ("held", "size", "vetoed", "weight", "weighted")

    def __init__(self, size: int = 1) -> None:
        self.begin(size)

    def begin(self, size: int) -> None:
        """Hold nothing."""
        self.size = size
        self.held = 0
        self.weight: float | Tensor = 0.0
        self.weighted = False
        self.vetoed = False

    @property
    def total(self) -> float | Tensor:
        """What the summed gradients are to be divided by; 1 where nothing weighs anything."""
        if not self.weighted:
            return self.held
        if isinstance(self.weight, Tensor):  # not read, so as not to wait for the device
            return self.weight + (self.weight == 0)
        return self.weight or 1

    def add(self, weight: float | Tensor | None) -> None:
        """Take one batch in.

        Raises:
            ValueError: if some batches of the window have weights and others don't, or if a
                weight is below 0.
        """
        if self.held and self.weighted != (weight is not None):
            raise ValueError("within one window either all batches have a weight or none has.")
        if weight is not None:
            if not isinstance(weight, Tensor) and not weight >= 0:
                raise ValueError(f"a batch weighs 0 or more, given {weight!r}.")
            self.weight, self.weighted = self.weight + weight, True
        self.held += 1

    def state_dict(self) -> dict[str, Any]:
        """The window as plain values."""
        weight = self.weight.detach().clone() if isinstance(self.weight, Tensor) else self.weight
        return {
            "size": self.size,
            "held": self.held,
            "weight": weight,
            "weighted": self.weighted,
            "vetoed": self.vetoed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what it holds."""
        if state.keys() != set(self.__slots__):
            raise StateError(f"a window's state has {sorted(self.__slots__)}, not {sorted(state)}.")
        for name in self.__slots__:
            setattr(self, name, state[name])
