"""Series: numbers that stay on their device until somebody reads them, all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

__all__ = ["Reading", "Series", "read_all"]

_CHUNK = 64
_SMALL = 1 << 14  # bytes that a value may hold on to: some losses lie in the memory of their parts

Reading = tuple[int, float, float]
"""An iteration, a value, and its weight."""


class Series:
    """Numbers in the order in which they came, each with its iteration and its weight.

    Appending the fresh result of an operation keeps it where it is: nothing is computed and
    nothing waits for the device, but for one ``stack`` every 64 values. A parameter, a part of
    another tensor, and what was written to in place before, are copied on their device, as they
    may change before they are read.

    Args:
        name: what errors call it.

    Raises:
        ValueError: when it is read, or at the 64th value, if a tensor that was no such thing was
            written to meanwhile; what it was can't be told any more.

    Example:
        >>> series = Series()
        >>> series.append(1, torch.tensor(0.5))
        >>> series.append(2, 0.25, weight=3.0)
        >>> read_all({"loss": series})
        {'loss': [(1, 0.5, 1.0), (2, 0.25, 3.0)]}
        >>> len(series)
        0
    """

    def __init__(self, name: str = "value") -> None:
        self.name = name
        self._iterations: list[int] = []
        self._weights: list[float | Tensor] = []
        self._chunks: list[Tensor] = []
        self._last: list[tuple[int, Tensor | float, float | Tensor]] = []

    def __len__(self) -> int:
        return len(self._iterations) + len(self._last)

    def append(self, iteration: int, value: Tensor | float, weight: float | Tensor = 1.0) -> None:
        """Take one number in: a tensor with one element, or a Python number."""
        if isinstance(value, Tensor):
            value = _kept(value)
        if isinstance(weight, Tensor):
            weight = _kept(weight)
        last = self._last
        last.append((iteration, value, weight))
        if len(last) == _CHUNK:
            self._fold()

    def drop_behind(self, iteration: int) -> None:
        """Let go of what came in later iterations, which will be run again."""
        self._fold()
        kept = bisect_right(self._iterations, iteration)
        del self._iterations[kept:], self._weights[kept:]
        chunks, self._chunks = self._chunks, []
        for chunk in chunks:
            if kept > 0:
                self._chunks.append(chunk[:kept])
                kept -= len(chunk)

    def tensors(self) -> list[Tensor]:
        """All that has to be read, in few tensors; none where all are Python numbers."""
        self._fold()
        weights = [_stacked(self._weights, self.name)] if _any_tensor(self._weights) else []
        return [*self._chunks, *weights]

    def take(self, numbers: list[float]) -> list[Reading]:
        """All that there is, given what :meth:`tensors` read; the series is empty then."""
        count = len(self)
        weights = numbers[count:] or self._weights
        values, exact = map(float, numbers[:count]), map(float, weights)
        readings = list(zip(self._iterations, values, exact, strict=True))
        self.__init__(self.name)  # type: ignore[misc]
        return readings

    def state_dict(self) -> dict[str, Any]:
        """What was not yet read."""
        self._fold()
        return {
            "iterations": list(self._iterations),
            "weights": list(self._weights),
            "chunks": list(self._chunks),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what was not yet read."""
        self._iterations, self._chunks = list(state["iterations"]), list(state["chunks"])
        self._weights = list(state.get("weights", [1.0] * len(self._iterations)))
        self._last = []

    def _fold(self) -> None:
        if not self._last:
            return
        last, self._last = self._last, []
        self._check(last)
        iterations, values, weights = zip(*last, strict=True)
        chunk = _stacked(values, self.name)
        self._iterations.extend(iterations)
        self._weights.extend(weights)
        self._chunks.append(chunk)

    def _check(self, last: list[tuple[int, Tensor | float, float | Tensor]]) -> None:
        """Refuse what was written to since it came, or what it was detached from."""
        for iteration, value, weight in last:
            if (isinstance(value, Tensor) and value._version) or (
                isinstance(weight, Tensor) and weight._version
            ):
                raise ValueError(
                    f"{self.name!r} was logged in iteration {iteration} as a tensor that was "
                    f"written to in place before it was read, so that what it was is lost; log "
                    f"value.clone()."
                )


def read_all(series: Mapping[str, Series]) -> dict[str, list[Reading]]:
    """Read several series at once, and leave them empty.

    What is on one device and of one type is moved in one transfer.

    Returns:
        by name what was in each: iteration, value and weight; no entry for an empty one.
    """
    tensors = {name: one.tensors() for name, one in series.items() if len(one)}
    if not tensors:
        return {}
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for one in (one for several in tensors.values() for one in several):
        groups.setdefault((one.device, one.dtype), []).append(one)
    read = {
        key: iter((torch.cat(group) if len(group) > 1 else group[0]).tolist())
        for key, group in groups.items()
    }
    return {
        name: series[name].take(
            [n for one in several for n in islice(read[one.device, one.dtype], len(one))]
        )
        for name, several in tensors.items()
    }


def _kept(value: Tensor) -> Tensor:
    """A tensor as it is, if it is the fresh result of an operation; else a copy of it."""
    try:
        lent = value._version or value._is_view() or value.untyped_storage().nbytes() > _SMALL
    except RuntimeError:  # of inference mode: it does not count what is written to it; a copy does
        with torch.inference_mode(False):
            return value.clone().data  # which counts from zero
    if lent:
        return value.detach().clone()
    if not value.requires_grad:
        return value
    detached = value.detach()  # or its graph would live until it is read
    return detached.clone() if value.is_leaf else detached


def _any_tensor(values: Sequence[Tensor | float]) -> bool:
    return any(isinstance(one, Tensor) for one in values)


def _stacked(values: Sequence[Tensor | float], name: str) -> Tensor:
    """One tensor of scalars, in a type that holds each of them as it is."""
    kinds = {one.dtype if isinstance(one, Tensor) else None for one in values}
    if kinds == {None}:
        return torch.tensor([float(one) for one in values], dtype=torch.float64)
    if any(kind is not None and kind.is_complex for kind in kinds):
        raise TypeError(f"{name!r} is complex, and a scalar is one real number; log its abs().")
    if len(kinds) == 1 and len({one.dim() for one in values}) == 1:  # type: ignore[union-attr]
        return torch.stack(values).reshape(-1)  # type: ignore[arg-type]
    device = next(one.device for one in values if isinstance(one, Tensor))
    return torch.stack(
        [
            one.reshape(()).double()
            if isinstance(one, Tensor)
            else torch.tensor(float(one), dtype=torch.float64, device=device)
            for one in values
        ]
    )
