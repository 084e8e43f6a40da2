"""Base of schedulers of one value of an optimizer within a range, in MMEngine's words.

Each moves what it finds: within ``[begin, end)`` the value of the last move becomes that of the
next, and before and behind it is left alone. So several may follow each other on one optimizer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ...errors import nearest

__all__ = ["NEVER", "ParamScheduler"]

NEVER = 10**9
"""More moves than any run makes."""


class ParamScheduler(LRScheduler):
    """Base: moves one value of each parameter group while its range lasts.

    Args:
        optimizer: the optimizer.
        param_name: the value's name in a parameter group; ``"momentum"`` is Adam's first beta, too.
        begin: the move that it begins with, counted from 0, when it is made.
        end: the move that it has ended with; ``None`` for none.

    Attributes:
        last_epoch: moves that were made.

    Raises:
        ValueError: for a value that the optimizer does not have, and for an empty range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        param_name: str = "lr",
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        # the base class would move it by its own rules
        self.optimizer, self.param_name = optimizer, param_name
        self.begin, self.end = begin, NEVER if end is None else end
        if self.end <= self.begin:
            raise ValueError(f"end={end} lies behind begin={begin} in a scheduler's range.")
        for group in optimizer.param_groups:
            group.setdefault(f"initial_{param_name}", self._value(group))
        self.base_values = [group[f"initial_{param_name}"] for group in optimizer.param_groups]
        self.last_epoch = -1
        self.step()

    def next(self, move: int, value: float, base: float) -> float:
        """The value of a move.

        Args:
            move: its number within the range, from 0 on.
            value: what the group has.
            base: what it began with.
        """
        raise NotImplementedError(f"{type(self).__name__}.next(move, value, base) is missing.")

    def step(self, epoch: int | None = None) -> None:
        """Move."""
        self.last_epoch += 1
        if self.begin <= self.last_epoch < self.end:
            move = self.last_epoch - self.begin
            for group, base in zip(self.optimizer.param_groups, self.base_values, strict=True):
                self._set(group, self.next(move, self._value(group), base))

    def get_last_lr(self) -> list[float | Tensor]:
        """The values that the groups have."""
        return [self._value(group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, and its course."""
        return {name: one for name, one in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand there."""
        vars(self).update(state_dict)

    def _value(self, group: dict[str, Any]) -> Any:
        name = self.param_name
        if name in group:
            return group[name]
        if name == "momentum" and "betas" in group:
            return group["betas"][0]
        known = [one for one in group if one != "params" and not one.startswith("initial_")]
        raise ValueError(
            f"{type(self).__name__} moves {name!r}, which the optimizer does not have; it has "
            f"{', '.join(known)}.{nearest(name, known)}"
        )

    def _set(self, group: dict[str, Any], value: Any) -> None:
        if self.param_name in group:
            group[self.param_name] = value
        else:
            group["betas"] = (value, *group["betas"][1:])
