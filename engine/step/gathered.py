"""Numbers that nobody has read yet: those of a step's output, and those logged by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..nested import samples_in
from ..state import State
from ..stream.names import Names
from ..stream.scalars import number_of
from .losses import WithExtras
from .series import Reading, Series, read_all

__all__ = ["MEAN_OF_AN_EPOCH", "Gathered", "is_real"]

MEAN_OF_AN_EPOCH = "a mean over the epoch"
"""The origin of the name of a mean that an epoch ends with."""


class Gathered:
    """The numbers of a step's output, and those logged by hand, until they are read at once.

    Tensors stay on their device, see :class:`~footplate.engine.step.series.Series`.

    Args:
        names: where the names of all are claimed.
        prefix: what the names of the step's numbers begin with.
        epoch_suffix: what the names of their means over an epoch end with; ``None`` for none.
        weigh: what a batch weighs in means; by default the samples in it.

    Attributes:
        outputs: the step's numbers, by name without the prefix.
        logged: those logged by hand, by name.

    Example:
        >>> import torch
        >>> gathered, state = Gathered(Names(), prefix="train_"), State()
        >>> state.iteration, state.batch = 1, torch.zeros(2, 3)
        >>> state.output = {"loss": 0.5, "kind": "a"}
        >>> gathered.of_step(state)
        >>> gathered.by_hand(state, "beta", 0.1, weight=1.0)
        >>> gathered.read()
        {'train_loss': [(1, 0.5, 2.0)], 'beta': [(1, 0.1, 1.0)]}
    """

    def __init__(
        self,
        names: Names,
        *,
        prefix: str = "",
        epoch_suffix: str | None = "_epoch",
        weigh: Callable[[Any], float | Tensor] = samples_in,
    ) -> None:
        self.names = names
        self.prefix = prefix
        self.epoch_suffix = epoch_suffix
        self.weigh = weigh
        self.outputs: dict[str, Series] = {}
        self.logged: dict[str, Series] = {}
        self._several: set[str] = set()  # names in the step's output that stand for no one number

    @property
    def known(self) -> bool:
        """Whether there ever was a number."""
        return bool(self.outputs or self.logged)

    @property
    def waiting(self) -> bool:
        """Whether there are numbers that nobody has read."""
        return any(map(len, (*self.outputs.values(), *self.logged.values())))

    def of_step(self, state: State) -> None:
        """Take in the numbers of a step's output."""
        output = state.output
        if isinstance(output, WithExtras):
            output = output.logged
        elif type(output) is not dict and not isinstance(output, Mapping):
            output = {"output": output}
        self._take_in(state, output)

    def _take_in(self, state: State, output: Mapping[str, Any], within: str = "") -> None:
        outputs, weight = self.outputs, None
        for key, value in output.items():
            name = f"{within}{key}" if within else key
            number: Tensor | float | None
            if isinstance(value, Tensor):
                number = value if not value.dim() or self._is_one(name, value.numel()) else None
            elif isinstance(value, Mapping):
                self._take_in(state, value, f"{name}/")
                continue
            else:
                number = self._plain(name, value)
            if number is None:
                continue
            if weight is None:
                weight = self.weigh(state.batch)
            if name not in outputs:
                if isinstance(number, Tensor) and number.is_complex():
                    continue
                self._claim(name)
                outputs[name] = Series(f"{self.prefix}{name}")
            outputs[name].append(state.iteration, number, weight)

    def _plain(self, name: str, value: Any) -> float | None:
        """The one number that a value is which is no tensor; of numpy it is a copy."""
        if isinstance(value, (int, float)):
            return None if isinstance(value, bool) else value
        one = is_real(value) and self._is_one(name, value.size)
        return float(value.item()) if one else None

    def _is_one(self, name: str, count: int) -> bool:
        """Whether a name stands for one number, and not for one a sample, of which there is one."""
        if count != 1:
            self._several.add(name)
        return name not in self._several

    def _claim(self, name: str) -> None:
        self.names.claim(f"{self.prefix}{name}", "the step's output")
        if self.epoch_suffix is not None:
            self.names.claim(f"{self.prefix}{name}{self.epoch_suffix}", MEAN_OF_AN_EPOCH)

    def by_hand(
        self, state: State, name: str, value: Any, weight: float | Tensor | None = None
    ) -> None:
        """Take in a number under a name that was claimed.

        Raises:
            TypeError: when value or weight is not one number.
        """
        series = self.logged.setdefault(name, Series(name))
        weight = self.weigh(state.batch) if weight is None else _single(weight, name)
        series.append(state.iteration, _single(value, name), weight)

    def read(self) -> dict[str, list[Reading]]:
        """Move all from their devices, and forget them.

        Returns:
            by name, the step's with the prefix, what there is: iterations, values and weights.
        """
        outputs = {f"{self.prefix}{name}": one for name, one in self.outputs.items()}
        return read_all({**outputs, **self.logged})

    def drop_behind(self, iteration: int) -> None:
        """Let go of what came in later iterations, which will be run again."""
        for series in (*self.outputs.values(), *self.logged.values()):
            series.drop_behind(iteration)

    def clear(self) -> None:
        """Forget all, and which names there are."""
        self.outputs, self.logged, self._several = {}, {}, set()

    def state_dict(self) -> dict[str, Any]:
        """What nobody has read."""
        return {
            "outputs": {name: series.state_dict() for name, series in self.outputs.items()},
            "logged": {name: series.state_dict() for name, series in self.logged.items()},
            "several": sorted(self._several),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what nobody has read, and claim the names of the step's numbers."""
        self.outputs = _loaded(state["outputs"], prefix=self.prefix)
        self.logged = _loaded(state["logged"])
        self._several = set(state["several"])
        for name in self.outputs:
            self._claim(name)


def is_real(value: Any) -> bool:
    """Whether a value is real numbers of numpy, or one.

    Example:
        >>> import numpy
        >>> is_real(numpy.float32(1)), is_real(numpy.array(["a"])), is_real(1.0)
        (True, False, False)
    """
    return hasattr(value, "ndim") and getattr(value.dtype, "kind", "?") in "iuf"


def _single(value: Any, name: str) -> Tensor | float:
    """A tensor with one element as it is, and any other real number as a float."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value
    number = None if isinstance(value, Tensor) else number_of(value)
    if number is None:
        shape = getattr(value, "shape", None)
        given = f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
        raise TypeError(f"{name!r} is logged as one number, given {given}; reduce it first.")
    return float(number)


def _loaded(state: Mapping[str, Any], prefix: str = "") -> dict[str, Series]:
    series = {name: Series(f"{prefix}{name}") for name in state}
    for name, one in state.items():
        series[name].load_state_dict(one)
    return series
