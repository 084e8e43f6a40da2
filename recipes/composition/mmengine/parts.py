"""Loops, metrics and schedulers of a runner, by the names that MMEngine's have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....engine.data.dataset import meta_of
from ....engine.step.guests import descends_from
from ....engine.step.mmengine.given_scheduler import GivenScheduler

if TYPE_CHECKING:
    from .runner import MMEngineRunner

__all__ = ["MMEngineEvaluationLoop", "MMEngineScheduler", "MMEngineTrainLoop", "evaluator_of"]


class _Part:
    """Something of ours; whatever else is asked for, it has.

    Args:
        part: the thing itself.
    """

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        if name == "_part":  # not there yet, as when it is being copied
            raise AttributeError(name)
        return getattr(self._part, name)


class MMEngineTrainLoop(_Part):
    """A train loop with the numbers that MMEngine's has.

    Args:
        view: whose loop it is.
        loop: the loop.
    """

    def __init__(self, view: MMEngineRunner, loop: Any) -> None:
        super().__init__(loop)
        self.runner = view

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return self.runner.epoch

    @property
    def iter(self) -> int:
        """Iterations that are over."""
        number: int = self.runner.iter
        return number

    @property
    def max_epochs(self) -> int | float:
        """Epochs in all."""
        return self.runner.max_epochs

    @property
    def max_iters(self) -> int | float | None:
        """Iterations in all."""
        number: int | float | None = self.runner.max_iters
        return number

    _epoch, _iter, _max_epochs, _max_iters = epoch, iter, max_epochs, max_iters

    @property
    def stop_training(self) -> bool:
        """Whether training ends; a hook that sets it ends it at once, behind its event."""
        return bool(self.runner.trainer.should_terminate)

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        if stop:
            self.runner.trainer.terminate()


class MMEngineEvaluationLoop(_Part):
    """A loop that evaluates, with the metrics that it has as an ``Evaluator`` of MMEngine.

    Args:
        view: whose loop it is.
        loop: the loop.
        evaluator: the metrics.
    """

    def __init__(self, view: MMEngineRunner, loop: Any, evaluator: Any) -> None:
        super().__init__(loop)
        self.runner = view
        self.evaluator = evaluator
        if evaluator is not None and (meta := meta_of(loop.dataloader)) is not None:
            evaluator.dataset_meta = meta


class MMEngineScheduler(_Part):
    """A scheduler, which tells where it stands as MMEngine's do.

    Args:
        scheduler: the scheduler.
        by_epoch: whether it moves by epochs.
    """

    def __init__(self, scheduler: Any, by_epoch: bool) -> None:
        super().__init__(scheduler)
        self.by_epoch = by_epoch

    @classmethod
    def of(cls, scheduler: Any, by_epoch: bool) -> Any:
        """One of MMEngine's as it was given, another with MMEngine's names."""
        if isinstance(scheduler, GivenScheduler):
            return scheduler.scheduler
        return cls(scheduler, by_epoch)

    @property
    def last_step(self) -> int:
        """How often it was moved."""
        return int(self._part.last_epoch)

    def get_last_value(self) -> list[Any]:
        """The values that it has set."""
        return list(self._part.get_last_lr())


def evaluator_of(given: Any, metrics: Mapping[str, Any]) -> Any:
    """Metrics as an ``Evaluator`` of MMEngine; ``None`` if there are none.

    Args:
        given: what the runner was given, which may be one.
        metrics: the same as metrics by name.
    """
    if given is None or descends_from(given, "Evaluator", "mmengine"):
        return given
    from mmengine.evaluator import Evaluator

    return Evaluator(list(metrics.values()))
