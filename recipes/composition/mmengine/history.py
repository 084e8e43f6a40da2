"""Histories of MMEngine's hub that leave numbers on their device until somebody looks."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["gathered"]

_AT_MOST = 100  # tensors that wait on their device


@cache
def gathered() -> Any:
    """The class: MMEngine's ``HistoryBuffer``, whose numbers are read when it is looked at.

    One that is copied or pickled is a ``HistoryBuffer``.
    """
    from mmengine.logging import HistoryBuffer

    class Gathered(HistoryBuffer):  # type: ignore[misc]  # of a library without types
        def __init__(self) -> None:
            super().__init__()
            self._read: list[float] = []
            self._waiting: list[Tensor | float] = []
            self._counts: list[float] = []

        def update(self, log_val: Any, count: Any = 1) -> None:
            self._waiting.append(log_val.detach() if isinstance(log_val, Tensor) else log_val)
            self._counts.append(count)
            if len(self._waiting) >= _AT_MOST:
                self._take()

        def _take(self) -> None:
            self._read += [float(one) for one in self._waiting]
            self._waiting.clear()
            del self._read[: -self.max_length], self._counts[: -self.max_length]

        @property
        def data(self) -> tuple[Any, Any]:
            self._take()
            if self._read:
                values, counts = super().data
                values, counts = np.append(values, self._read), np.append(counts, self._counts)
                size = self.max_length
                super().__init__(values[-size:], counts[-size:], size)
                self._read, self._counts = [], []
            return super().data  # type: ignore[no-any-return]

        def statistics(self, method_name: str, *args: Any, **options: Any) -> Any:
            _ = self.data
            return super().statistics(method_name, *args, **options)

        def mean(self, *args: Any, **options: Any) -> Any:
            return self.statistics("mean", *args, **options)

        def max(self, *args: Any, **options: Any) -> Any:
            return self.statistics("max", *args, **options)

        def min(self, *args: Any, **options: Any) -> Any:
            return self.statistics("min", *args, **options)

        def current(self) -> Any:
            return self.statistics("current")

        def __reduce__(self) -> tuple[Any, ...]:
            return HistoryBuffer, self.data

    return Gathered
