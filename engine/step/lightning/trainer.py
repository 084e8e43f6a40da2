"""Trainer: what a LightningModule finds under ``self.trainer``: facts of the run that it is in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ...errors import nearest
from ...placement.ranks import world_size
from ..guests import descends_from
from . import checkpoint, loops
from .calling import PACKAGES, library
from .loggers import StreamLogger
from .optimizing import Optimizing
from .processes import Processes
from .results import Results
from .run_facts import RunFacts

__all__ = ["LightningTrainer"]

_ACCELERATORS = {"cuda": "CUDAAccelerator", "mps": "MPSAccelerator"}
_INSTEAD = {
    "fit": "call runner.train()",
    "validate": "call runner.val()",
    "test": "call runner.test()",
    "predict": "call runner.predict()",
    "profiler": "give custom_hooks=[dict(type='Trace')]",
}


class LightningTrainer(Optimizing, Processes):
    """The facts of a run under the names of Lightning's trainer. It drives nothing.

    Args:
        module: the module, which holds this object; it is held weakly.
        facts: what else is known of the run.

    Attributes:
        callbacks: Lightning's callbacks that the run has.
        datamodule: Lightning's data module that it has.
        ckpt_path: the file that the run goes on from: none, as it goes on from checkpoints of ours.
    """

    barebones = False
    ckpt_path = None
    progress_bar_callback = None

    def __init__(self, module: Any, facts: RunFacts | None = None) -> None:
        super().__init__(module, facts)
        self.callbacks: list[Any] = []
        self.datamodule: Any = None
        self.names: dict[str, str] = {}  # what has claimed a name of the scalar stream
        self._callback_metrics: dict[str, Any] = {}
        self._logged_metrics: dict[str, Any] = {}
        self._progress_bar_metrics: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = [one for one in dir(self) if not one.startswith("_")]
        instead = _INSTEAD.get(name)
        more = f" Instead, {instead}." if instead else nearest(name, known)
        raise AttributeError(
            f"the trainer of this module is Footplate's, which has no {name!r}; it has facts of "
            f"the run, such as current_epoch, global_step, max_epochs and callback_metrics.{more}"
        )

    # ------------------------------------------------------------------ what is logged

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """What the module has logged, by name, as callbacks monitor it."""
        return self._brought_up_to_date(self._callback_metrics, "callback")

    @property
    def logged_metrics(self) -> dict[str, Any]:
        """What it has logged for loggers."""
        return self._brought_up_to_date(self._logged_metrics, "log")

    @property
    def progress_bar_metrics(self) -> dict[str, Any]:
        """What it has logged for progress bars, as numbers."""
        found = self._brought_up_to_date(self._progress_bar_metrics, "bar")
        return {name: float(value) for name, value in found.items()}

    def _brought_up_to_date(self, held: dict[str, Any], kind: str) -> dict[str, Any]:
        if self.at is not None and not self.sanity_checking:
            held.update(self.at.results.values(kind))
        return held

    def monitored(self, metrics: Mapping[str, Any]) -> None:
        """Know what was logged before, as a run goes on."""
        self._callback_metrics = dict(metrics)

    def take_in(self, results: Results) -> None:
        """Keep what results say at the moment."""
        self._callback_metrics.update(results.values("callback"))
        self._logged_metrics.update(results.values("log"))
        self._progress_bar_metrics.update(results.values("bar"))

    @property
    def loggers(self) -> list[StreamLogger]:
        """Loggers: one, which is the way to the run's scalar stream and its sinks."""
        return [StreamLogger(self)]

    @property
    def logger(self) -> StreamLogger:
        """The way to the run's scalar stream and its sinks."""
        return StreamLogger(self)

    @property
    def log_dir(self) -> str | None:
        """Where the run writes to."""
        return self.facts.folder()

    @property
    def default_root_dir(self) -> str:
        """Where the run writes to; where it writes nothing, the working folder."""
        return self.facts.folder() or os.getcwd()

    # ------------------------------------------------------------------ what callbacks ask for

    @property
    def checkpoint_callbacks(self) -> list[Any]:
        """The callbacks that save."""
        return self._callbacks_of("Checkpoint")

    @property
    def checkpoint_callback(self) -> Any:
        """The first of them, if there is one."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """The callbacks that are Lightning's early stopping."""
        return self._callbacks_of("EarlyStopping")

    @property
    def early_stopping_callback(self) -> Any:
        """The first of them, if there is one."""
        return next(iter(self.early_stopping_callbacks), None)

    def _callbacks_of(self, kind: str) -> list[Any]:
        return [one for one in self.callbacks if descends_from(one, kind, *PACKAGES)]

    @property
    def fit_loop(self) -> loops.Facts:
        """Where monitors and savers read the step that they log at, and how far the epoch is."""
        return loops.fit_loop(self)

    @property
    def accelerator(self) -> Any:
        """Lightning's own object for the kind of device, which tells how much of it is used."""
        kinds = library(self.lightning_module, "accelerators")
        kind = self.strategy.root_device.type
        return getattr(kinds, _ACCELERATORS.get(kind, "CPUAccelerator"))()

    def save_checkpoint(
        self, filepath: str | os.PathLike[str], weights_only: bool | None = None, **options: Any
    ) -> None:
        """Write a file of Lightning's format; no run of ours goes on from it.

        Args:
            filepath: of the file.
            weights_only: whether optimizers and schedulers are left out.
            options: none.

        Raises:
            TypeError: for options of Lightning's storage.
        """
        if any(one is not None for one in options.values()):
            raise TypeError(
                f"save_checkpoint() writes one file to this machine's disk, and takes no "
                f"{', '.join(options)}."
            )
        checkpoint.write(self, filepath, weights_only=bool(weights_only))

    # ------------------------------------------------------------------ what self.log() looks for

    @property
    def _results(self) -> Results | None:
        """Where ``self.log`` puts values; a prediction has no such place.

        A step that is called outside of a run, as in a search for a learning rate, logs nothing.
        """
        if (at := self.at) is None:
            return Results(training=True)
        return None if at.role == "predict" else at.results

    @property
    def _logger_connector(self) -> Any:
        return _Connector(self)

    @property
    def _accelerator_connector(self) -> SimpleNamespace:
        return SimpleNamespace(is_distributed=world_size() > 1)


class _Connector:
    """What ``self.log`` asks for when an epoch begins; results are let go of when one is over."""

    _trainer: LightningTrainer

    def __init__(self, trainer: LightningTrainer) -> None:
        object.__setattr__(self, "_trainer", trainer)

    def __setattr__(self, name: str, value: Any) -> None:
        """``self.log`` notes which hook it was called in, which the results know."""

    def should_reset_tensors(self, fx: str) -> bool:
        """No: they are let go of when their epoch has been shown."""
        return False

    @property
    def should_update_logs(self) -> bool:
        """Whether the iteration at hand is a log point."""
        engine = self._trainer.engine()
        every = self._trainer.log_every_n_steps
        return engine is not None and (engine.state.iteration % every == 0)
