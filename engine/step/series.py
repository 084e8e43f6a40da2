"""Series: numbers that stay on their device until somebody reads them, all at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Series"]

_CHUNK = 64


class Series:
    """Numbers in the order in which they came, each with the number of its iteration.

    Appending a scalar tensor keeps it where it is: nothing is computed and nothing waits for the
    device, but for one ``stack`` every 64 values. Reading moves them in one transfer.

    Example:
        >>> series = Series()
        >>> series.append(1, torch.tensor(0.5))
        >>> series.append(2, 0.25)
        >>> series.read()
        [(1, 0.5), (2, 0.25)]
        >>> len(series)
        0
    """

    def __init__(self) -> None:
        self._iterations: list[int] = []
        self._chunks: list[Tensor] = []
        self._last: list[Tensor | float] = []

    def __len__(self) -> int:
        return len(self._iterations)

    def append(self, iteration: int, value: Tensor | float) -> None:
        """Take one number in: a scalar tensor, which nobody may write to, or a Python number."""
        if isinstance(value, Tensor) and value.requires_grad:
            value = value.detach()  # or its graph would live until it is read
        self._iterations.append(iteration)
        self._last.append(value)
        if len(self._last) == _CHUNK:
            self._fold()

    def read(self) -> list[tuple[int, float]]:
        """All numbers as pairs of iteration and value; the series is empty then."""
        self._fold()
        numbers = [number for chunk in self._chunks for number in chunk.tolist()]
        pairs = list(zip(self._iterations, numbers, strict=True))
        self.__init__()  # type: ignore[misc]
        return pairs

    def state_dict(self) -> dict[str, Any]:
        """What was not yet read."""
        self._fold()
        return {"iterations": list(self._iterations), "chunks": list(self._chunks)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what was not yet read."""
        self._iterations, self._chunks = list(state["iterations"]), list(state["chunks"])
        self._last = []

    def _fold(self) -> None:
        if not self._last:
            return
        device = next((one.device for one in self._last if isinstance(one, Tensor)), None)
        values = [
            one.reshape(())
            if isinstance(one, Tensor)
            else torch.tensor(one, dtype=torch.float64, device=device)
            for one in self._last
        ]
        if any(one.dtype != values[0].dtype for one in values):
            values = [one.double() for one in values]
        self._chunks.append(torch.stack(values))
        self._last = []
