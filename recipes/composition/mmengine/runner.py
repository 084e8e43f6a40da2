"""A runner as MMEngine's hooks and loops see it: under the names that its own runner has."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ....engine.errors import nearest
from ....engine.step.mmengine.optim_wrapper import OptimWrapper, OptimWrapperDict, optim_wrapper
from ..loops import BaseLoop, is_ours

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["MMEngineRunner", "MMEngineTrainLoop", "as_mmengine"]


class MMEngineRunner:
    """A runner, by the names of MMEngine's where ours differ; whatever else is asked for, it has.

    Args:
        runner: whose facts they are.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        runner = self.__dict__.get("_runner")
        try:
            return getattr(runner, name)
        except AttributeError:
            if runner is None or hasattr(type(runner), name):
                raise  # of what the runner has, but can't give now
            raise AttributeError(
                f"a runner has no {name!r}.{nearest(name, [*dir(type(runner)), *dir(type(self))])}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "model":
            raise AttributeError(
                "the model of a run can't be replaced by a hook, as its engines have it; give "
                "Runner(model=…) the one that is meant, as the TTA model to a runner that tests."
            )
        super().__setattr__(name, value)

    # ------------------------------------------------------------------ where it stands

    @property
    def by_epoch(self) -> bool:
        """Whether what is said in intervals counts epochs."""
        return self._runner.settings.train.by_epoch

    @property
    def epoch(self) -> int:
        """Epochs that are over; 0 where iterations are counted, which are one epoch in all."""
        return self._runner.epoch if self.by_epoch else 0

    @property
    def max_epochs(self) -> int | float:
        """Epochs in all; 1 where iterations are counted."""
        return self._runner.max_epochs if self.by_epoch else 1

    @property
    def _resume(self) -> bool:
        return self._runner.to_resume is not None

    @property
    def _load_from(self) -> Any:
        return self._runner.given["load_from"]

    @property
    def _randomness_cfg(self) -> dict[str, Any]:
        return dict(vars(self._runner.settings.randomness))

    # ------------------------------------------------------------------ what it is made of

    @property
    def optim_wrapper(self) -> OptimWrapper | OptimWrapperDict:
        """The optimizers, by the names of MMEngine's wrappers."""
        return optim_wrapper(self._runner.optimizations)

    @property
    def param_schedulers(self) -> list[Any] | dict[str, list[Any]]:
        """The schedulers in a list, or in lists by the names of their optimizers."""
        found: dict[str, list[Any]] = {}
        for handler in self._runner.param_schedulers:
            for name, several in handler.schedulers.items():
                found.setdefault(name, []).extend(several)
        return found.get("", []) if found.keys() <= {""} else found

    @property
    def train_loop(self) -> Any:
        """The loop that trains, with where it stands; one of the user's own as it is."""
        loop = self._runner.train_loop
        return MMEngineTrainLoop(self._runner, loop) if is_ours(type(loop)) else loop

    _train_loop = train_loop

    @property
    def _val_loop(self) -> BaseLoop:
        return self._runner.val_loop

    @property
    def _test_loop(self) -> BaseLoop:
        return self._runner.test_loop

    @property
    def hooks(self) -> list[Any]:
        """The hooks by priority, MMEngine's as they were given."""
        return [getattr(one, "hook", one) for one in self._runner.hooks]

    def build_dataloader(
        self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False
    ) -> Any:
        """A loader; each process has its share of one order, so none has a seed of its own."""
        return self._runner.build_dataloader(dataloader, seed)

    # ------------------------------------------------------------------ places and words

    @property
    def work_dir(self) -> str:
        """Where runs are kept."""
        return str(self._runner.work_dir)

    @property
    def log_dir(self) -> str:
        """The folder of this run."""
        return str(self._runner.folder)

    _log_dir = log_dir

    @cached_property
    def cfg(self) -> Any:
        """What the run is made with, as a ``Config`` of MMEngine; a file's own variables, too."""
        from mmengine.config import Config

        config = self._runner.plain_config
        return Config({**config.get("cfg", {}), **config})

    @cached_property
    def message_hub(self) -> Any:
        """MMEngine's hub, the current one from then on."""
        from mmengine.logging import MessageHub

        return MessageHub.get_instance(f"{self._runner.experiment_name}_{time.monotonic_ns()}")

    @cached_property
    def visualizer(self) -> Any:
        """MMEngine's, which draws, and writes into the run's sinks."""
        from .visualizer import visualizer_of

        return visualizer_of(self._runner)


class MMEngineTrainLoop:
    """A train loop with the numbers that MMEngine's has.

    Args:
        runner: whose loop it is.
        loop: the loop.
    """

    def __init__(self, runner: Runner, loop: Any) -> None:
        self._runner = runner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loop"], name)

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return as_mmengine(self._runner).epoch

    @property
    def iter(self) -> int:
        """Iterations that are over."""
        return self._runner.iter

    @property
    def max_epochs(self) -> int | float:
        """Epochs in all."""
        return as_mmengine(self._runner).max_epochs

    @property
    def max_iters(self) -> int | float | None:
        """Iterations in all."""
        return self._runner.max_iters

    @property
    def stop_training(self) -> bool:
        """Whether training ends; a hook that sets it ends it at once, behind its event."""
        return bool(self._runner.trainer.should_terminate)

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        if stop:
            self._runner.trainer.terminate()


def as_mmengine(runner: Runner) -> MMEngineRunner:
    """The runner as MMEngine's hooks see it; the same object each time."""
    view: MMEngineRunner = vars(runner).setdefault("_as_mmengine", None) or MMEngineRunner(runner)
    vars(runner)["_as_mmengine"] = view
    return view
