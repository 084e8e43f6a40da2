"""Small hooks: a function as a hook, times of iterations, and the seeds of samplers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...engine.errors import nearest
from ...handlers.sampler_seed import SamplerSeed
from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["ClosureHook", "DistSamplerSeedHook", "IterTimerHook"]


@HOOKS.register_module()
class ClosureHook(Hook):
    """Calls a function with the runner at one stage.

    Args:
        fn_name: the method of a hook that it is.
        fn: the function.

    Raises:
        ValueError: for another name.
        TypeError: for what can't be called.

    Example:
        >>> ClosureHook("after_run", print).get_triggered_stages()
        ['after_run']
    """

    def __init__(self, fn_name: str, fn: Callable[[Any], Any]) -> None:
        known = [name for name in dir(Hook) if name.startswith(("before_", "after_"))]
        if fn_name not in known:
            raise ValueError(
                f"fn_name is one of {', '.join(known)}, given {fn_name!r}.{nearest(fn_name, known)}"
            )
        if not callable(fn):
            raise TypeError(f"fn is a function of the runner, given {fn!r:.80}.")
        setattr(self, fn_name, fn)


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Calls ``set_epoch`` of the samplers of what is trained on, with the number of the pass.

    Example:
        >>> import torch
        >>> from footplate.recipes.mmcv.runners import EpochBasedRunner
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> runner = EpochBasedRunner(line, optimizer=sgd, max_epochs=1)
        >>> runner.register_hook(DistSamplerSeedHook())
        >>> runner.run([[torch.ones(4, 1)] * 3], workflow=[("train", 1)])
        >>> "sampler_seed" in runner.trainer.handlers
        True
    """

    def settle(self, runner: BaseRunner) -> None:
        """Attach what does so."""
        runner.trainer.attach(SamplerSeed())


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Puts ``data_time`` and ``time`` into ``runner.log_buffer``.

    Example:
        >>> import torch
        >>> from footplate.recipes.mmcv.runners import EpochBasedRunner
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> runner = EpochBasedRunner(line, optimizer=sgd, max_epochs=1)
        >>> runner.register_hook(IterTimerHook())
        >>> runner.run([[torch.ones(4, 1)] * 3], workflow=[("train", 1)])
        >>> sorted(runner.log_buffer.val_history)
        ['data_time', 'loss', 'time']
    """

    def before_run(self, runner: BaseRunner) -> None:
        """Begin here, for a run that goes on amid an epoch."""
        self._since = time.perf_counter()

    before_epoch = before_run

    def before_iter(self, runner: BaseRunner) -> None:
        """The batch is there."""
        runner.log_buffer.update({"data_time": time.perf_counter() - self._since})

    def after_iter(self, runner: BaseRunner) -> None:
        """The iteration is over."""
        now = time.perf_counter()
        runner.log_buffer.update({"time": now - self._since})
        self._since = now
