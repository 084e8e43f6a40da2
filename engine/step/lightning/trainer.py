"""Trainer: what a LightningModule finds under ``self.trainer``: facts of the run that it is in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ...errors import nearest
from ...placement.ranks import world_size
from .for_callbacks import ForCallbacks
from .loggers import StreamLogger
from .results import Results
from .run_facts import RunFacts

__all__ = ["LightningTrainer"]

_INSTEAD = {
    "fit": "call runner.train()",
    "validate": "call runner.val()",
    "test": "call runner.test()",
    "predict": "call runner.predict()",
    "profiler": "give custom_hooks=[dict(type='Trace')]",
}


class LightningTrainer(ForCallbacks):
    """The facts of a run under the names of Lightning's trainer. It drives nothing.

    Args:
        module: the module, which holds this object; it is held weakly.
        facts: what else is known of the run.

    Attributes:
        callbacks: Lightning's callbacks that the run has.
        datamodule: Lightning's data module that it has.
    """

    barebones = False
    progress_bar_callback = None
    checkpoint_callback = None
    checkpoint_callbacks: tuple[Any, ...] = ()
    early_stopping_callback = None

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
