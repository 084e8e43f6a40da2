"""LoggerHook: the base of loggers of one's own, which read ``runner.log_buffer``."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from .hook import Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["LoggerHook"]


class LoggerHook(Hook):
    """Base of loggers: ``log(runner)`` is called when means stand in ``runner.log_buffer.output``.

    Args:
        interval: iterations from one time to the next.
        ignore_last: whether nothing is logged at the end of an epoch, of less iterations.
        reset_flag: whether it clears the means when it has logged; the last logger does.
        by_epoch: whether iterations are counted within epochs.

    Example:
        >>> class Print(LoggerHook):
        ...     def log(self, runner):
        ...         print(self.get_mode(runner), runner.log_buffer.output)

    Source: mmcv.runner.hooks.LoggerHook of MMCV 1.7.
    """

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
    ) -> None:
        self.interval, self.ignore_last = interval, ignore_last
        self.reset_flag, self.by_epoch = reset_flag, by_epoch

    def log(self, runner: BaseRunner) -> None:
        """Log what stands in ``runner.log_buffer.output``."""
        raise NotImplementedError(f"{type(self).__name__}.log(runner) is missing.")

    # ------------------------------------------------------------------ when

    def before_run(self, runner: BaseRunner) -> None:
        """Have the last logger clear the means."""
        last = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)][-1]
        last.reset_flag = True

    def before_epoch(self, runner: BaseRunner) -> None:
        """Forget the last epoch."""
        runner.log_buffer.clear()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Take means if it is time, and log them."""
        counted = self.every_n_inner_iters if self.by_epoch else self.every_n_iters
        at_end = not self.ignore_last and self.end_of_epoch(runner)
        if counted(runner, self.interval) or at_end:
            runner.log_buffer.average(self.interval)
        self._log_if_ready(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Log what an evaluation has put there."""
        self._log_if_ready(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Log the means of the epoch."""
        runner.log_buffer.average()
        self._log_if_ready(runner)

    def _log_if_ready(self, runner: BaseRunner) -> None:
        if runner.log_buffer.ready:
            self.log(runner)
            if self.reset_flag:
                runner.log_buffer.clear_output()

    # ------------------------------------------------------------------ what

    @staticmethod
    def is_scalar(val: Any, include_np: bool = True, include_torch: bool = True) -> bool:
        """Whether a value is one number."""
        if isinstance(val, numbers.Number):
            return True
        if hasattr(val, "numel"):
            return include_torch and val.numel() == 1
        return include_np and getattr(val, "ndim", None) == 0

    def get_mode(self, runner: BaseRunner) -> str:
        """``"train"``; ``"val"`` in validation, and for what an evaluation has measured."""
        if runner.mode == "train":
            return "train" if "time" in runner.log_buffer.output else "val"
        return "val"

    def get_epoch(self, runner: BaseRunner) -> int:
        """The epoch at hand, from 1."""
        return runner.epoch + 1 if runner.mode == "train" else runner.epoch

    def get_iter(self, runner: BaseRunner, inner_iter: bool = False) -> int:
        """The iteration at hand, from 1; within its epoch on demand."""
        return (runner.inner_iter if self.by_epoch and inner_iter else runner.iter) + 1

    def get_lr_tags(self, runner: BaseRunner) -> dict[str, float]:
        """The learning rate of each optimizer's first group."""
        return _tags("learning_rate", runner.current_lr())

    def get_momentum_tags(self, runner: BaseRunner) -> dict[str, float]:
        """The momentum of each optimizer's first group."""
        return _tags("momentum", runner.current_momentum())

    def get_loggable_tags(
        self,
        runner: BaseRunner,
        allow_scalar: bool = True,
        allow_text: bool = False,
        add_mode: bool = True,
        tags_to_skip: tuple[str, ...] = ("time", "data_time"),
    ) -> dict[str, Any]:
        """What there is to log, with rates and momenta."""
        tags = {}
        for name, value in runner.log_buffer.output.items():
            unwanted = self.is_scalar(value) and not allow_scalar
            if name in tags_to_skip or unwanted or (isinstance(value, str) and not allow_text):
                continue
            tags[f"{self.get_mode(runner)}/{name}" if add_mode else name] = value
        return {**tags, **self.get_lr_tags(runner), **self.get_momentum_tags(runner)}


def _tags(name: str, values: list[float] | dict[str, list[float]]) -> dict[str, float]:
    if isinstance(values, dict):
        return {f"{name}/{optimizer}": several[0] for optimizer, several in values.items()}
    return {name: values[0]}
