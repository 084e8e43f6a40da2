"""A runner as MMEngine's hooks and loops see it: under the names that its own runner has."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....engine.errors import nearest
from ....engine.step.mmengine.optim_wrapper import OptimWrapper, OptimWrapperDict, optim_wrapper
from ..loops import is_ours
from .parts import MMEngineEvaluationLoop, MMEngineScheduler, MMEngineTrainLoop, evaluator_of

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["MMEngineRunner", "as_mmengine"]


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
                told = [MMEngineScheduler.of(one, handler.unit == "epoch") for one in several]
                found.setdefault(name, []).extend(told)
        return found.get("", []) if found.keys() <= {""} else found

    @property
    def train_loop(self) -> Any:
        """The loop that trains, with where it stands; one of the user's own as it is."""
        loop = self._runner.train_loop
        return MMEngineTrainLoop(self, loop) if is_ours(type(loop)) else loop

    @property
    def val_loop(self) -> Any:
        """The loop that validates, with its evaluator; one of the user's own as it is."""
        loop = self._runner.val_loop
        ours = is_ours(type(loop))
        return MMEngineEvaluationLoop(self, loop, self.val_evaluator) if ours else loop

    @property
    def test_loop(self) -> Any:
        """The loop that tests."""
        loop = self._runner.test_loop
        ours = is_ours(type(loop))
        return MMEngineEvaluationLoop(self, loop, self.test_evaluator) if ours else loop

    _train_loop, _val_loop, _test_loop = train_loop, val_loop, test_loop

    @cached_property
    def val_evaluator(self) -> Any:
        """The metrics of validation, as an ``Evaluator`` of MMEngine."""
        return evaluator_of(self._runner.given["val_evaluator"], self._runner.val_metrics)

    @cached_property
    def test_evaluator(self) -> Any:
        """Those of the test."""
        return evaluator_of(self._runner.given["test_evaluator"], self._runner.test_metrics)

    @property
    def hooks(self) -> list[Any]:
        """The hooks by priority, MMEngine's as they were given."""
        return [getattr(one, "hook", one) for one in self._runner.hooks]

    def get_hooks_info(self) -> str:
        """The hooks of MMEngine that are called at each point, as text."""
        from .stages import hooks_by_stage

        return hooks_by_stage(self.hooks)

    def save_checkpoint(
        self,
        out_dir: str | None = None,
        filename: str | None = None,
        file_client_args: Any = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: Any = None,
        **options: Any,
    ) -> Path:
        """Save a file of MMEngine's form, or without its name a checkpoint of the run.

        Args:
            out_dir: the file's folder; without a ``filename`` the checkpoint's name.
            filename: the file.
            file_client_args: none; a folder of this machine alone is written to.
            backend_args: none, as well.
            save_optimizer: whether the file has the states of optimizers.
            save_param_scheduler: whether it has those of schedulers.
            meta: what its ``meta`` is to hold besides.
            by_epoch: whether it is at an epoch's end that this is called, or an iteration's.
            options: of :meth:`.Checkpoint.save`, where no file is named.

        Raises:
            TypeError: for a backend, and for options where a file is named.
        """
        if filename is None:
            said = options if meta is None else {**options, "meta": meta}
            return self._runner.save_checkpoint(out_dir, **said)
        if file_client_args is not None or backend_args is not None or options:
            raise TypeError(
                f"save_checkpoint({str(out_dir)!r}, {filename!r}) writes a file into a folder of "
                f"this machine; leave out {', '.join(options) or 'file_client_args, backend_args'}."
            )
        from .files import saved

        parts = {"optimizer": save_optimizer, "param_schedulers": save_param_scheduler}
        return saved(self, Path(out_dir or "") / filename, parts, meta or {}, by_epoch)

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

        values = {**self._own_values, **self._runner.plain_config}
        values.pop("cfg", None)
        filename = values.pop("filename", None)
        return Config(values, filename=filename if filename and Path(filename).is_file() else None)

    @property
    def experiment_name(self) -> str:
        """What the run is called: as its experiment, or else its file, and when it began."""
        name = self._runner.given["experiment_name"]
        name = name or Path(self._own_values.get("filename", "")).stem
        return f"{name}_{self._runner.timestamp}" if name else self._runner.timestamp

    @property
    def _own_values(self) -> Mapping[str, Any]:
        """A configuration's own variables, and the name of its file."""
        values: Mapping[str, Any] = self._runner.plain_config.get("cfg") or {}
        return values

    def make_way(self) -> None:
        """Make what is asked for by ``get_current_instance()``; a visualizer where one may be."""
        _ = self.message_hub, self.mmlogger
        if "mmengine.visualization" in sys.modules:
            _ = self.visualizer

    @cached_property
    def message_hub(self) -> Any:
        """MMEngine's hub, the current one from then on."""
        from mmengine.logging import MessageHub

        return MessageHub.get_instance(f"{self._runner.experiment_name}_{time.monotonic_ns()}")

    @cached_property
    def log_processor(self) -> Any:
        """MMEngine's, with the options of the run's."""
        from mmengine.runner import LogProcessor

        given = self._runner.given["log_processor"]
        said = dict(given if isinstance(given, Mapping) else vars(given) if given else {})
        said.pop("type", None)
        known = {name: one for name, one in said.items() if one is not None}
        return LogProcessor(**{"by_epoch": self.by_epoch, **known})

    @cached_property
    def mmlogger(self) -> Any:
        """MMEngine's logger, the current one from then on; what it says is in the run's log, too.

        ``logger`` is the run's.
        """
        from .logger import logger_of

        return logger_of(self._runner.experiment_name, self._runner.log_level)

    @cached_property
    def visualizer(self) -> Any:
        """MMEngine's, which draws, and writes into the run's sinks."""
        from .visualizer import visualizer_of

        return visualizer_of(self._runner)


def as_mmengine(runner: Runner) -> MMEngineRunner:
    """The runner as MMEngine's hooks see it; the same object each time."""
    view: MMEngineRunner = vars(runner).setdefault("_as_mmengine", None) or MMEngineRunner(runner)
    vars(runner)["_as_mmengine"] = view
    return view
