"""Facts: what a runner of MMCV's kind has, and where it stands."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ...engine.bus import Bus
from ...engine.engine import Engine
from ...engine.phases import Phase
from ...engine.placement.ranks import rank, world_size
from ...engine.step.optimization import Optimization
from ...handlers.checkpoint import Checkpoint
from .hook import Hook
from .log_buffer import LogBuffer
from .momentum_updaters import momentum_of
from .place import Place
from .registering import Registering

__all__ = ["Facts", "unwrapped"]


def _counted(name: str) -> property:
    """A count under the name of MMCV's attribute, which can be read."""

    def read(runner: Facts) -> int:
        count: int = getattr(runner.place, name)
        return count

    def refuse(runner: Facts, value: int) -> None:
        raise AttributeError(
            f"runner._{name} = {value!r} would change nothing: the engine counts. To end the run "
            f"call runner.trainer.terminate(), or set runner._{runner.limit}; to go on from "
            f"elsewhere call runner.resume(path) before run()."
        )

    return property(read, refuse, doc=f"``runner.{name}``.")


class Facts(Registering):
    """What a runner has, and where it stands; see :class:`.BaseRunner` for the arguments."""

    unit: ClassVar[str]
    limit: ClassVar[str]
    keep: ClassVar[int | None] = None  # values of a name in the log buffer

    def __init__(
        self,
        model: nn.Module,
        batch_processor: Callable[..., dict[str, Any]] | None = None,
        optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
        work_dir: str | None = None,
        logger: logging.Logger | None = None,
        meta: dict[str, Any] | None = None,
        max_iters: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        _check(model, batch_processor, optimizer, logger, meta)
        if max_epochs is not None and max_iters is not None:
            raise ValueError("give max_epochs or max_iters, one of them.")
        self.model: Any = model
        self.batch_processor, self.optimizer = batch_processor, optimizer
        self.logger = logger or logging.getLogger("footplate.mmcv")
        self.meta = meta
        self.work_dir = None if work_dir is None else os.path.abspath(work_dir)
        if self.work_dir is not None:
            Path(self.work_dir).mkdir(parents=True, exist_ok=True)
        self.timestamp = time.strftime("%Y%m%d_%H%M%S")
        self.mode: str | None = None
        self.data_loader: Any = None
        self.data_batch: Any = None
        self.outputs: dict[str, Any] = {}
        self.hooks: list[Hook] = []
        self.place = Place()
        self.phases: tuple[Phase, ...] = ()
        self.log_buffer = LogBuffer(self.keep)
        self.optimizations: dict[str, Optimization] = {}
        self.checkpoint: Checkpoint | None = None
        self._limits = {"max_epochs": max_epochs, "max_iters": max_iters}
        self._start_at: tuple[int, int] | None = None
        bus = Bus()
        self.trainer = Engine(self._train_step, name="train", bus=bus)
        self.validator = Engine(self._val_step, name="val", bus=bus)

    # ------------------------------------------------------------------ facts

    @property
    def model_name(self) -> str:
        """The name of the model's class."""
        return type(self.bare_model).__name__

    @property
    def bare_model(self) -> nn.Module:
        """The model, without what may be wrapped around it."""
        inner: nn.Module = unwrapped(self.model)
        return inner

    @property
    def rank(self) -> int:
        """The number of this process."""
        return rank()

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return world_size()

    @property
    def epoch(self) -> int:
        """Epochs of training that are over; by iterations the pass over the data."""
        return self.place.epoch

    @property
    def iter(self) -> int:
        """Iterations of training that are over."""
        return self.place.iter

    @property
    def inner_iter(self) -> int:
        """The iteration within the epoch, from 0; by iterations within the phase."""
        return self.place.inner_iter

    @property
    def max_epochs(self) -> int | None:
        """How many epochs to train."""
        return self._max_epochs

    @property
    def max_iters(self) -> int | None:
        """How many iterations to train; by epochs once it is known."""
        return self._max_iters

    # MMCV's own names for these, which hooks made for it read, and end a run early by

    @property
    def _max_epochs(self) -> int | None:
        return self._limits["max_epochs"]

    @_max_epochs.setter
    def _max_epochs(self, value: int | None) -> None:
        self._limit_by("max_epochs", value)

    @property
    def _max_iters(self) -> int | None:
        return self._limits["max_iters"]

    @_max_iters.setter
    def _max_iters(self, value: int | None) -> None:
        self._limit_by("max_iters", value)

    def _limit_by(self, name: str, value: int | None) -> None:
        self._limits[name] = value
        if name == self.limit and self.trainer.watch is not None:  # a hook moves it amid the run
            setattr(self.trainer.state, name, value)

    _epoch, _iter, _inner_iter = (_counted(name) for name in ("epoch", "iter", "inner_iter"))

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers by name; one alone has none."""
        if self.optimizer is None:
            return {}
        return dict(self.optimizer) if isinstance(self.optimizer, Mapping) else {"": self.optimizer}

    def current_lr(self) -> list[float] | dict[str, list[float]]:
        """The learning rates of all parameter groups; of several optimizers by name."""
        return self._of_groups(lambda group: group["lr"])

    def current_momentum(self) -> list[float] | dict[str, list[float]]:
        """The momenta of all parameter groups; of several optimizers by name."""
        return self._of_groups(momentum_of)

    def _of_groups(self, read: Callable[[Any], Any]) -> list[float] | dict[str, list[float]]:
        if self.optimizer is None:
            raise RuntimeError("the runner has no optimizer, and so no such values.")
        by_name = {n: [read(g) for g in one.param_groups] for n, one in self.optimizers.items()}
        return by_name if isinstance(self.optimizer, Mapping) else by_name[""]

    # ------------------------------------------------------------------ of those who run

    def settle(self) -> None:
        """Attach to the engines what hooks and optimizer bring, once; more hooks may come."""
        raise NotImplementedError

    def _train_step(self, engine: Engine, batch: Any) -> Any:
        raise NotImplementedError

    def _val_step(self, engine: Engine, batch: Any) -> Any:
        raise NotImplementedError


def unwrapped(model: Any) -> Any:
    """The model within a data-parallel wrapper of torch, or a class derived of one.

    Example:
        >>> unwrapped(nn.DataParallel(nn.Linear(1, 1)))
        Linear(in_features=1, out_features=1, bias=True)
    """
    wrapped = isinstance(model, (nn.DataParallel, DistributedDataParallel))
    return model.module if wrapped else model


def _check(model: Any, batch_processor: Any, optimizer: Any, logger: Any, meta: Any) -> None:
    """Refuse what can't be meant."""
    if world_size() > 1:
        raise NotImplementedError(
            f"runners of MMCV's kind train in one process, and this is one of {world_size()}; "
            f"take footplate.Runner for several."
        )
    inner = unwrapped(model)
    has_steps = hasattr(inner, "train_step") or hasattr(inner, "val_step")
    if batch_processor is None and not hasattr(model, "train_step"):
        raise TypeError(
            f"{type(model).__name__} has no train_step(data, optimizer); give it one, or "
            f"batch_processor=."
        )
    if batch_processor is not None and not callable(batch_processor):
        raise TypeError(f"batch_processor is a function, given {batch_processor!r:.80}.")
    if batch_processor is not None and has_steps:
        raise RuntimeError(
            f"{type(inner).__name__} has train_step or val_step, and batch_processor would take "
            f"their place; leave one of them out."
        )
    several: Iterable[Any] = optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]
    for one in several:
        if one is not None and not isinstance(one, Optimizer):
            raise TypeError(f"optimizer is one of torch, or several by name, given {one!r:.80}.")
    if logger is not None and not isinstance(logger, logging.Logger):
        raise TypeError(f"logger is a logging.Logger, given {logger!r:.80}.")
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta is a dict, given {meta!r:.80}.")
