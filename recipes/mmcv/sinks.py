"""Sinks: the loggers that ``log_config`` names, as sinks of Footplate's scalar stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.events import Event, Events
from ...engine.filters import Filter
from ...engine.handler import Handler
from ...handlers.console import Console
from ...handlers.jsonl import JSONL
from ...handlers.scalars import Scalars
from ...handlers.tensorboard import TensorBoard
from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["TensorboardLoggerHook", "TextLoggerHook"]


class _SinkHook(Hook):
    """Brings sinks to the train engine, and the stream that feeds them.

    What is logged are means of ``log_vars`` and of what hooks put into ``runner.log_buffer``,
    learning rates, and with the end of each epoch means over it.

    Args:
        interval: iterations from one log point to the next.
        by_epoch: whether they are counted within epochs.
        ignore_last, reset_flag: accepted, and nothing else: what is left when an epoch ends is
            logged with its end, and nothing is logged twice.
    """

    def __init__(
        self,
        interval: int = 10,
        by_epoch: bool = True,
        ignore_last: bool = True,
        reset_flag: bool = False,
    ) -> None:
        self.interval, self.by_epoch = interval, by_epoch

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "log" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.log would never be called: {cls.__mro__[1].__name__} is a sink "
                f"here. Derive from LoggerHook, or attach a sink with write(engine, point)."
            )

    def settle(self, runner: BaseRunner) -> None:
        """Attach the stream, unless it is there, and the sinks."""
        trainer = runner.trainer
        stream = next((o for o in trainer.handlers.values() if isinstance(o, Scalars)), None)
        if stream is None:
            trainer.attach(
                Scalars(
                    _each(self.interval, self.by_epoch),
                    weigh=lambda batch: runner.outputs.get("num_samples", 1),
                )
            )
        elif repr(stream.when) != repr(_each(self.interval, self.by_epoch)):
            raise ValueError(
                f"{type(self).__name__} logs {_each(self.interval, self.by_epoch)!r}, but the "
                f"stream {stream.when!r}; all sinks have one interval and one by_epoch."
            )
        for sink in self.sinks(runner):
            trainer.attach(sink)

    def sinks(self, runner: BaseRunner) -> Iterator[Handler]:
        """The sinks."""
        raise NotImplementedError


@HOOKS.register_module()
class TextLoggerHook(_SinkHook):
    """Lines on the console and in ``work_dir/run.log``, and ``work_dir/scalars.jsonl``.

    Args:
        options: ``interval`` and ``by_epoch``.

    Example:
        >>> hook = HOOKS.build(dict(type="TextLoggerHook", interval=50))
        >>> hook.interval, hook.by_epoch   # runner.register_logger_hooks({"hooks": [hook], …})
        (50, True)
    """

    def sinks(self, runner: BaseRunner) -> Iterator[Handler]:
        """The console and, where there is a ``work_dir``, the files."""
        folder = None if runner.work_dir is None else Path(runner.work_dir)
        yield Console(file=None if folder is None else folder / "run.log")
        if folder is not None:
            yield JSONL(folder / "scalars.jsonl")


@HOOKS.register_module()
class TensorboardLoggerHook(_SinkHook):
    """Event files for TensorBoard.

    Args:
        log_dir: where they go; by default ``work_dir/tf_logs``.
        options: ``interval`` and ``by_epoch``.

    Example:
        >>> import os, tempfile, torch
        >>> from footplate.recipes.mmcv.runners import EpochBasedRunner
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> folder = tempfile.mkdtemp()
        >>> runner = EpochBasedRunner(line, optimizer=sgd, work_dir=folder, max_epochs=1)
        >>> runner.register_hook(TensorboardLoggerHook(interval=2))
        >>> runner.run([[torch.ones(4, 1)] * 4], workflow=[("train", 1)])
        >>> os.listdir(folder)
        ['tf_logs']
    """

    def __init__(self, log_dir: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.log_dir = log_dir

    def sinks(self, runner: BaseRunner) -> Iterator[Handler]:
        """The writer of the files."""
        if self.log_dir is None and runner.work_dir is None:
            raise ValueError("TensorboardLoggerHook needs a place: log_dir=, or a work_dir.")
        yield TensorBoard(self.log_dir or Path(str(runner.work_dir)) / "tf_logs")


def _each(interval: int, by_epoch: bool) -> Event:
    """Each so many iterations, counted within epochs or not."""
    if not by_epoch:
        return Events.ITERATION_COMPLETED(every=interval)
    text = f"each {interval} in an epoch"
    return Events.ITERATION_COMPLETED(
        Filter(lambda engine, _: (engine.progress.epoch_iteration + 1) % interval == 0, text)
    )
