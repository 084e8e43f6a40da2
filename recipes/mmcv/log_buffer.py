"""LogBuffer: what was measured since an epoch began, and means of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["LogBuffer"]

Heard = Callable[[str, Any, float], None]


class LogBuffer:
    """Values by name with what each weighs, and their means when these are asked for.

    Args:
        keep: how many values of a name are kept; all by default.

    Attributes:
        val_history, n_history: the values and their weights, by name.
        output: the means that were asked for last, and what hooks have put there.
        ready: whether there is something to be logged.
        heard: called with the name, value and weight of what hooks add.

    Example:
        >>> buffer = LogBuffer()
        >>> buffer.update({"loss": 1.0}, count=1)
        >>> buffer.update({"loss": 4.0}, count=2)
        >>> buffer.average()
        >>> buffer.output
        {'loss': 3.0}

    Source: mmcv.runner.LogBuffer of MMCV 1.7.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self.val_history: dict[str, deque[Any]] = {}
        self.n_history: dict[str, deque[float]] = {}
        self.output: dict[str, Any] = {}
        self.ready = False
        self.heard: Heard | None = None

    def clear(self) -> None:
        """Forget all."""
        self.val_history.clear()
        self.n_history.clear()
        self.clear_output()

    def clear_output(self) -> None:
        """Forget the means."""
        self.output.clear()
        self.ready = False

    def update(self, vars: Mapping[str, Any], count: float = 1) -> None:
        """Add values, and let them be heard.

        Args:
            vars: the values by name.
            count: what each weighs.

        Raises:
            TypeError: for what are no values by name.
        """
        self.add(vars, count)
        if self.heard is not None:
            for name, value in vars.items():
                self.heard(name, value, count)

    def add(self, vars: Mapping[str, Any], count: float = 1) -> None:
        """Add values that are heard of elsewhere; see :meth:`update`."""
        if not isinstance(vars, Mapping):
            raise TypeError(f"values are added by name, in a dict, given {vars!r:.80}.")
        for name, value in vars.items():
            self.val_history.setdefault(name, deque(maxlen=self.keep)).append(value)
            self.n_history.setdefault(name, deque(maxlen=self.keep)).append(count)

    def average(self, n: int = 0) -> None:
        """Put the means of the last ``n`` values, or of all, into :attr:`output`.

        Raises:
            ValueError: for ``n`` below 0.
        """
        if n < 0:
            raise ValueError(f"the last n values are averaged, 0 for all, given n={n!r}.")
        for name, history in self.val_history.items():
            values, weights = list(history)[-n:], list(self.n_history[name])[-n:]
            total = sum(value * weight for value, weight in zip(values, weights, strict=True))
            self.output[name] = total / sum(weights)
        self.ready = True

    def state_dict(self) -> dict[str, Any]:
        """The values and weights as tensors, by name."""
        return {
            name: torch.tensor(
                [list(map(float, values)), list(map(float, self.n_history[name]))],
                dtype=torch.float64,
            )
            for name, values in self.val_history.items()
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set values and weights."""
        self.clear()
        for name, (values, weights) in state.items():
            self.val_history[name] = deque(values.tolist(), self.keep)
            self.n_history[name] = deque(weights.tolist(), self.keep)
