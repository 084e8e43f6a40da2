"""Log: hands on what a LightningModule logs: to the scalar stream, and to the engine's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

from ...data.in_turn import InTurn
from ...errors import StateError
from ...evaluating import report
from ...events import Events
from ...handler import Handler
from ...priority import Priority
from ...samplers import parts_of
from ...state import Next
from ...stream.scalars import METRICS_COMPUTED, VALUE_LOGGED
from ..guests import descends_from
from ..losses import WithExtras
from ..torch_measure import TorchMeasure
from .names import stream_name
from .results import Results

if TYPE_CHECKING:
    from ...engine import Engine
    from .trainer import LightningTrainer

__all__ = ["LightningLog"]

_BATCH_IS_DONE = Priority.HIGH
_EPOCH_IS_DONE = {"train": 43, "val": 52, "test": 52}  # behind the hooks that may log last


class LightningLog(Handler):
    """Gathers what the module logs while an engine runs, and hands it on.

    What is shown by batch goes to the scalar stream as it comes. What is reduced over an epoch
    becomes the engine's metrics when that ends: of a validation those are what ``run`` returns,
    and what early stopping, schedules and the choice of the best checkpoint look at.

    Args:
        trainer: what the module has for its trainer.
        role: what the engine does.

    Attributes:
        results: what was logged.
        in_turn: the loaders that the engine runs over, if it does so one after the other.
    """

    name = "lightning_log"
    for_one_engine = True
    begins_anew = True

    def __init__(self, trainer: LightningTrainer, role: str) -> None:
        self.trainer = trainer
        self.role = role
        reduce = trainer.strategy.reduce
        self.results = Results(training=role == "train", metrics=self._metric, reduce=reduce)
        self.in_turn: InTurn | None = None
        self._measures: dict[str, TorchMeasure] = {}

    def on_register(self, engine: Engine) -> None:
        """Know the engine, and look at the ends of batches and epochs."""
        self.trainer.know(engine, self.role)
        engine.register_events(METRICS_COMPUTED, behind=Events.ITERATION_COMPLETED)
        add, first = engine.add_event_handler, Priority.HIGHEST
        add(Events.OPENED, self._begin, priority=first)
        add(Events.CLOSED, self._end, priority=Priority.LOWEST)
        if self.role == "predict":
            return
        add(Events.EPOCH_STARTED, self._begin_epoch, priority=first)
        add(Events.ITERATION_STARTED, self._begin_batch, priority=first)
        add(Events.ITERATION_COMPLETED, self._end_batch, priority=_BATCH_IS_DONE)
        add(Events.EPOCH_COMPLETED, self._results_stand, priority=first)
        add(Events.EPOCH_COMPLETED, self._end_epoch, priority=_EPOCH_IS_DONE[self.role])
        if self.role == "train":
            add(Events.ITERATION_COMPLETED, self._stop_epoch, priority=Priority.LOWEST)
            add(Events.EPOCH_COMPLETED, self._stop, priority=Priority.LOWEST)
            add(Events.TERMINATE, self._results_stand, priority=first)
            add(Events.TERMINATE, self._end_part, priority=_EPOCH_IS_DONE["train"])
            for end in (Events.EPOCH_COMPLETED, Events.TERMINATE):
                add(end, self._epoch_is_told, priority=Priority.LOWEST)

    # ------------------------------------------------------------------ runs

    def _begin(self, engine: Engine) -> None:
        self.trainer.enter(engine)
        parts = parts_of(engine.state.dataloader)
        self.in_turn = next((one for one in parts if isinstance(one, InTurn)), None)
        if engine.progress.next is Next.STARTED and not engine.state.iteration:
            self.results.reset()
            self._measures_now()
            if self.role == "train":
                self.trainer.should_stop = self.trainer.within_epoch = False
                self.trainer.names.clear()
        self.results.by_step = False

    def _end(self, engine: Engine) -> None:
        self.trainer.leave(engine)
        self.in_turn = None

    def _begin_epoch(self, engine: Engine) -> None:
        self.results.by_step = False
        if self.role == "train":
            self.trainer.within_epoch = True

    def _begin_batch(self, engine: Engine) -> None:
        results = self.results
        results.batch, results.by_step = engine.state.batch, True
        results.loader_idx = self.trainer.dataloader_idx

    def _end_batch(self, engine: Engine) -> None:
        """Show what is logged by batch."""
        results, trainer = self.results, self.trainer
        if not trainer.sanity_checking:
            trainer.take_in(results)
            self._show_batch(engine)
        for one in results:
            one.latest = None
        results.batch = None

    def _show_batch(self, engine: Engine) -> None:
        channel = engine.channels.get(VALUE_LOGGED.name)
        if channel is None or not channel.plan:
            return
        self._claim_output(engine.state.output)
        for one in self.results:
            if one.on_step and one.latest is not None and (one.logger or one.bar):
                name = self._named(one.shown_as(by_step=True), "step")
                engine.log(name, one.latest, bar=one.bar, to=None if one.logger else ())

    def _claim_output(self, output: Any) -> None:
        """Leave the names of what the step reports to that."""
        output = output.logged if isinstance(output, WithExtras) else output
        for name in output if isinstance(output, dict) else ():
            self.trainer.names.setdefault(name, "output")
            self.trainer.names.setdefault(f"{name}_epoch", "output")

    def _results_stand(self, engine: Engine) -> None:
        self.results.by_step, self.results.loader_idx = False, None

    def _end_epoch(self, engine: Engine) -> None:
        """Show what is logged by epoch, and begin the next."""
        results, trainer = self.results, self.trainer
        results.by_step, results.loader_idx = False, None
        if not trainer.sanity_checking:
            trainer.take_in(results)
            report(engine, self._over_epoch())
        results.reset()

    def _end_part(self, engine: Engine) -> None:
        """End an epoch that a limit of steps or of time has cut; it is not validated."""
        if self.trainer.within_epoch:
            self._end_epoch(engine)

    def _epoch_is_told(self, engine: Engine) -> None:
        self.trainer.within_epoch = False

    def _over_epoch(self) -> dict[str, float]:
        found = {}
        for one in self.results:
            if one.on_epoch and (value := one.over_epoch()) is not None:
                origin = "epoch" if self.role == "train" else self.role
                name = one.shown_as(by_step=False)
                found[self._named(name, origin)] = float(value)
        return found

    def _named(self, name: str, origin: str) -> str:
        """What a value goes by in the stream; a test has one of its own."""
        claimed = {} if self.role == "test" else self.trainer.names
        return stream_name(name, self.role, origin, claimed)

    # ------------------------------------------------------------------ ending early

    def _stop_epoch(self, engine: Engine) -> None:
        if self.trainer.should_stop and self.trainer.facts.minimum().reached(engine):
            engine.terminate_epoch()

    def _stop(self, engine: Engine) -> None:
        if self.trainer.should_stop and self.trainer.facts.minimum().reached(engine):
            engine.terminate()

    # ------------------------------------------------------------------ state

    def _metric(self, name: str) -> Any:
        return self.trainer.lightning_module.get_submodule(name)

    def _measures_now(self) -> dict[str, TorchMeasure]:
        """The metrics in the module, seen first when nothing was measured yet."""
        for name, metric in metrics_in(self.trainer.lightning_module):
            if name not in self._measures or self._measures[name].metric is not metric:
                self._measures[name] = TorchMeasure(name, metric)
        return self._measures

    def state_dict(self) -> dict[str, Any]:
        """What was gathered of the epoch under way, and what metrics have measured of it."""
        measures = self._measures_now() if self.role == "train" else {}
        return {
            "results": self.results.state_dict(),
            "names": dict(self.trainer.names),
            "metrics": {name: one.state_dict() for name, one in measures.items()},
            "monitored": dict(self.trainer.callback_metrics),
            "within_epoch": self.trainer.within_epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        measures = self._measures_now()
        for name, saved in state["metrics"].items():
            if name not in measures:
                raise StateError(
                    f"the state has a metric {name!r}, but the module has "
                    f"{', '.join(measures) or 'none'}."
                )
            measures[name].load_state_dict(saved)
        self.trainer.names = dict(state["names"])
        self.results.load_state_dict(state["results"])
        self.trainer.monitored(state["monitored"])
        self.trainer.within_epoch = state["within_epoch"]


def metrics_in(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The metrics of torchmetrics in a module, but for those that are part of another.

    No ``state_dict`` of the module has what they have measured.
    """
    outer: list[str] = []
    for name, one in module.named_modules():
        within = any(name.startswith(f"{before}.") for before in outer)
        if not within and _is_metric(one):
            outer.append(name)
            yield name, one


def _is_metric(one: nn.Module) -> bool:
    return any(descends_from(one, kind, "torchmetrics") for kind in ("Metric", "MetricCollection"))
