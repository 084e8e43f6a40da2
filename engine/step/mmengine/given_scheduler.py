"""Schedulers of MMEngine that were given as they are."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["GivenScheduler"]


class GivenScheduler(LRScheduler):
    """A scheduler of MMEngine, moved as those of torch are.

    Args:
        scheduler: the scheduler; its ``optimizer`` is one of torch, or a wrapper of MMEngine.

    Attributes:
        scheduler: the same.
        by_epoch: whether it moves by epochs, or by iterations.

    Raises:
        TypeError: for one that looks at a metric.
    """

    def __init__(self, scheduler: Any) -> None:
        # the base class would move it once more
        if getattr(scheduler, "need_val_args", False):
            raise TypeError(
                f"a {type(scheduler).__name__} of MMEngine's is told metrics by its own runner; "
                f"give dict(type='ReduceOnPlateauLR', monitor=…, …)."
            )
        self.scheduler = scheduler
        self.optimizer = getattr(scheduler.optimizer, "optimizer", scheduler.optimizer)
        self.param_name: str = scheduler.param_name
        self.by_epoch: bool = scheduler.by_epoch
        self.last_epoch = 0

    def step(self, epoch: int | None = None) -> None:
        """Move it."""
        self.last_epoch += 1
        with warnings.catch_warnings():  # it counts steps of a wrapper that is not asked for them
            warnings.filterwarnings("ignore", r"(Detected call of|Seems like) `")
            self.scheduler.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """The values that it has set."""
        values: list[float | Tensor] = self.scheduler.get_last_value()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"last_epoch": self.last_epoch, "scheduler": copy.copy(_plain(self.scheduler))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand there."""
        self.last_epoch = state_dict["last_epoch"]
        self.scheduler.load_state_dict(dict(state_dict["scheduler"]))


def _plain(scheduler: Any) -> dict[str, Any]:
    """Its state without functions, as OneCycleLR has one."""
    return {name: one for name, one in scheduler.state_dict().items() if not callable(one)}
