"""MMEngine's hub: what it is told of a run, and what of its scalars goes into the run's stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ....engine.engine import Engine
from ....engine.events import Events
from ....engine.handler import Handler
from ....engine.outermost import outermost
from ....engine.priority import Priority
from ....engine.step.mmengine.driven import DrivenOptimization
from ....engine.stream.scalars import number_of
from ....handlers.scalars import Scalars
from ..bundles import LoggerHook
from .history import gathered
from .runner import MMEngineRunner, as_mmengine

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["AHEAD_OF_EVALUATION", "MMEngineFacts", "facts_of"]

AHEAD_OF_EVALUATION = Priority.HIGH + 5
"""Where hooks are called: what evaluates behind an epoch is at ABOVE_NORMAL."""

_TOLD = ("data_time", "eta", "lr", "memory", "time")
"""What the run's stream has by these names in any case."""


def facts_of(runner: Runner, engine: Engine) -> Iterator[Handler]:
    """What tells the hub of an engine, once; and the run's sinks, for pictures of an evaluation.

    Args:
        runner: the runner.
        engine: one of its engines.
    """
    if MMEngineFacts.name in engine.handlers:
        return
    yield MMEngineFacts(as_mmengine(runner))
    if engine.name != "train" and any(isinstance(one, LoggerHook) for one in runner.hooks):
        yield from runner.sinks


class MMEngineFacts(Handler):
    """Tells MMEngine's hub where a run stands, and the run's stream what hooks tell the hub.

    The hub knows ``epoch``, ``iter``, ``max_epochs``, ``max_iters`` and ``loop_stage``, and the
    scalars that MMEngine's own runner has there: ``train/loss`` and whatever else the step reports,
    ``train/lr``, ``val/accuracy``. Scalars of other names that begin with ``train/`` go into the
    stream without that, those with ``val/`` as ``val_name``.

    Args:
        view: the runner as MMEngine's parts see it.
    """

    name = "mmengine_facts"
    priority = Priority.VERY_HIGH

    def __init__(self, view: MMEngineRunner) -> None:
        self._view = view
        self._seen: dict[str, int] = {}  # how many values of a scalar of the user's are handed on

    def on_register(self, engine: Engine) -> None:
        """Look at the hub behind the hooks, and ahead of what logs."""
        super().on_register(engine)
        behind = AHEAD_OF_EVALUATION + 1
        if engine.name == "train":
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._hand_on, priority=behind)
        else:
            ahead = AHEAD_OF_EVALUATION - 1
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._measured, priority=ahead)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._hand_on, priority=behind)

    # ------------------------------------------------------------------ what the hub is told

    def opened(self, engine: Engine) -> None:
        """The length of the run, and where in it a wrapper begins that counts by itself."""
        view = self._view
        tell = view.message_hub.update_info
        tell("loop_stage", "test" if engine.name == "predict" else engine.name)
        if engine.name == "train":
            for name in ("epoch", "iter", "max_epochs", "max_iters"):
                tell(name, getattr(view, name))
            for one in view.optimizations.values():
                if isinstance(one, DrivenOptimization) and view.max_iters is not None:
                    one.wrapper.initialize_count_status(view.model, view.iter, view.max_iters)

    def epoch_started(self, engine: Engine) -> None:
        """Which epoch it is."""
        if engine.name == "train":
            self._view.message_hub.update_info("epoch", self._view.epoch)

    def iteration_started(self, engine: Engine) -> None:
        """Which iteration, and with which learning rates."""
        if engine.name == "train":
            self._view.message_hub.update_info("iter", engine.progress.iteration)
            rates = self._view.optim_wrapper.get_lr()
            self._tell("train", {name: several[0] for name, several in rates.items()})

    def iteration_completed(self, engine: Engine) -> None:
        """What the step reports."""
        output = engine.state.output
        if engine.name == "train":
            self._tell("train", output if isinstance(output, Mapping) else {"loss": output})

    def _measured(self, engine: Engine) -> None:
        stage = "test" if engine.name == "predict" else str(engine.name)
        self._tell(stage, engine.state.metrics)

    def closed(self, engine: Engine) -> None:
        """What goes on behind an evaluation."""
        self._view.message_hub.update_info("loop_stage", "train")

    def _tell(self, stage: str, numbers: Mapping[str, Any]) -> None:
        scalars = self._view.message_hub.log_scalars
        for name, value in numbers.items():
            one = isinstance(value, Tensor) and value.numel() == 1  # which stays on its device
            number = value if one else number_of(value)
            if number is not None:
                key = f"{stage}/{name}"
                if key not in scalars:
                    scalars[key] = gathered()()
                scalars[key].update(number)

    # ------------------------------------------------------------------ what it is asked for

    def _hand_on(self, engine: Engine) -> None:
        """Hand on to the stream what hooks have told the hub since the last time."""
        run, stage = outermost(engine), f"{engine.name}/"
        for key, history in self._view.message_hub.log_scalars.items():
            if isinstance(history, gathered()) or not key.startswith(stage):
                continue
            values, counts = history.data
            begin, self._seen[key] = self._seen.get(key), len(values)
            name = key.removeprefix(stage) if engine is run else key.replace("/", "_", 1)
            if name in _TOLD or (begin is None and name in run.history) or not _is_heard(run):
                continue
            for value, count in zip(values[begin or 0 :], counts[begin or 0 :], strict=True):
                run.log(name, float(value) / float(count), weight=float(count))


def _is_heard(run: Engine) -> bool:
    return any(isinstance(one, Scalars) for one in run.handlers.values())
