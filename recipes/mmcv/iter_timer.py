"""IterTimerHook: seconds of an iteration, and of waiting for its data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["IterTimerHook"]


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Puts ``data_time`` and ``time`` into ``runner.log_buffer``."""

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
