"""EMAHook: an exponential moving average of the parameters, kept in the model's buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["EMAHook"]


@HOOKS.register_module()
class EMAHook(Hook):
    """Averages the parameters; from the end of an epoch to the next the average stands in them.

    ``average = (1 - m) * average + m * parameter``, with ``m`` the lesser of ``momentum**interval``
    and ``(1 + n) / (warm_up + n)`` behind ``n`` iterations. The average of ``a.b`` is the model's
    buffer ``ema_a_b``, and so in each checkpoint of it.

    Args:
        momentum: the weight of the parameters, above 0 and below 1.
        interval: iterations from one update to the next.
        warm_up: how many iterations it begins faster.
        resume_from: a checkpoint to go on from.

    Raises:
        ValueError: for numbers out of range.

    Source: mmcv.runner.hooks.EMAHook of MMCV 1.7.

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
        >>> runner.register_training_hooks(lr_config=None, optimizer_config={})
        >>> runner.register_hook(EMAHook(momentum=0.1))
        >>> runner.run([[torch.ones(4, 1)] * 3], workflow=[("train", 1)])
        >>> sorted(name for name, _ in line.named_buffers())
        ['ema_bias', 'ema_weight']
    """

    def __init__(
        self,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        resume_from: str | None = None,
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f"momentum is above 0 and below 1, given {momentum!r}.")
        if type(interval) is not int or interval < 1:
            raise ValueError(f"interval is a whole number from 1 on, given {interval!r}.")
        self.momentum, self.interval, self.warm_up = momentum**interval, interval, warm_up
        self.resume_from = resume_from

    def settle(self, runner: BaseRunner) -> None:
        """Give the model its buffers, so that they are there when it is loaded."""
        model = runner.bare_model
        for name, value in list(model.named_parameters()):
            model.register_buffer(_buffer_of(name), value.detach().clone())

    def before_run(self, runner: BaseRunner) -> None:
        """Begin with the parameters as they are, unless the run goes on."""
        if self.resume_from is not None:
            runner.resume(self.resume_from)
            self.resume_from = None
        if runner.iter == 0:
            with torch.no_grad():
                for parameter, average in self._pairs(runner):
                    average.copy_(parameter)

    @torch.no_grad()
    def after_train_iter(self, runner: BaseRunner) -> None:
        """Take the parameters in, if it is time."""
        n = runner.iter
        if n % self.interval == 0:
            momentum = min(self.momentum, (1 + n) / (self.warm_up + n))
            for parameter, average in self._pairs(runner):
                average.mul_(1 - momentum).add_(parameter, alpha=momentum)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Put the average in the place of the parameters."""
        self._swap(runner)

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Put the parameters back; before the first epoch both are the same."""
        self._swap(runner)

    @torch.no_grad()
    def _swap(self, runner: BaseRunner) -> None:
        for parameter, average in self._pairs(runner):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def _pairs(self, runner: BaseRunner) -> list[tuple[Tensor, Tensor]]:
        model = runner.bare_model
        named = model.named_parameters()
        return [(value, model.get_buffer(_buffer_of(name))) for name, value in named]


def _buffer_of(parameter: str) -> str:
    """The name of a parameter's average; a buffer's has no dots."""
    return f"ema_{parameter.replace('.', '_')}"
