"""Bundles: what the default hooks bring to the engines of a runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from ...engine.engine import Engine
from ...engine.events import Events
from ...engine.handler import Handler
from ...engine.placement.ranks import is_first
from ...engine.priority import Priority
from ...engine.stream.history import Statistic
from ...handlers.averaging import EMA
from ...handlers.console import Console
from ...handlers.early_stopping import EarlyStopping
from ...handlers.environment import Environment
from ...handlers.jsonl import JSONL
from ...handlers.profiler import Profiler
from ...handlers.progress_bar import ProgressBar
from ...handlers.report import Report
from ...handlers.run_record import RunRecord
from ...handlers.sampler_seed import SamplerSeed
from ...handlers.scalars import Scalars
from ...handlers.timer import Timer
from ..config.registry import HOOKS
from .checkpoint_hook import CheckpointHook
from .gradients import clip_of
from .monitoring import Rule, monitored, rule_of
from .options import LogProcessorCfg, check_whole

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = [
    "DEFAULT_HOOKS",
    "LOG",
    "Bundle",
    "CheckpointHook",
    "DistSamplerSeedHook",
    "EarlyStoppingHook",
    "IterTimerHook",
    "LoggerHook",
    "OptimizerHook",
    "ParamSchedulerHook",
    "ReportHook",
    "RuntimeInfoHook",
]

LOG = "run.log"
"""The file that has the console's lines, and what the library says by Python's logging."""

_EVERY = 10  # iterations from one log point to the next


@runtime_checkable
class Bundle(Protocol):
    """What brings handlers to the engines of a runner."""

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """The handlers for an engine, which is told by its name."""


@HOOKS.register_module()
@dataclass
class RuntimeInfoHook:
    """Tells in what the run takes place, and records what it is and does.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> without = dict(runtime_info=None)
        >>> runner = Runner(torch.nn.Identity(), tempfile.mkdtemp(), default_hooks=without)
        >>> any(isinstance(hook, RuntimeInfoHook) for hook in runner.hooks)
        False
    """

    priority: ClassVar[Priority] = Priority.VERY_HIGH
    _record: RunRecord | None = field(default=None, init=False)

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """The environment for training; one record for all engines."""
        if engine.name == "train":
            yield Environment(runner.folder / "environment.json", more={"seed": runner.seed})
        if self._record is None:
            config = runner.plain_config
            self._record = RunRecord(runner.folder, name=runner.experiment_name, config=config)
        yield _ConfigFile(runner)
        yield self._record


@HOOKS.register_module()
@dataclass
class IterTimerHook:
    """Measures how fast training is.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> without = dict(timer=None)
        >>> runner = Runner(torch.nn.Identity(), tempfile.mkdtemp(), default_hooks=without)
        >>> any(isinstance(hook, IterTimerHook) for hook in runner.hooks)
        False
    """

    priority: ClassVar[Priority] = Priority.NORMAL

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """A timer for training."""
        if engine.name == "train":
            yield Timer()


@HOOKS.register_module()
@dataclass
class DistSamplerSeedHook:
    """Tells samplers which pass begins.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> without = dict(sampler_seed=None)
        >>> runner = Runner(torch.nn.Identity(), tempfile.mkdtemp(), default_hooks=without)
        >>> any(isinstance(hook, DistSamplerSeedHook) for hook in runner.hooks)
        False
    """

    priority: ClassVar[Priority] = Priority.NORMAL

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """Sampler seeding for training."""
        if engine.name == "train":
            yield SamplerSeed()


@HOOKS.register_module()
@dataclass
class LoggerHook:
    """Logs numbers: to the console and its file, as JSON lines, to the visualizer's sinks.

    Args:
        interval: iterations from one log point to the next.
        names: shell patterns of what the console prints.
        progress_bar: whether bars show where the engines stand.
        console: whether lines are printed; they are in ``run.log`` in any case.

    Example:
        >>> import tempfile, torch
        >>> from footplate.engine.stream.journal import Journal
        >>> from footplate.recipes.runner import Runner
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))] * 4,
        ...     train_cfg=dict(loss=torch.nn.functional.mse_loss),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(
        ...         logger=dict(interval=2, console=False, progress_bar=False), report=None
        ...     ),
        ... )
        >>> model = runner.train()
        >>> [(row["on"], row["step"]) for row in Journal.read(runner.folder / "scalars.jsonl")]
        [('iteration', 2), ('iteration', 4), ('epoch', 4)]
    """

    priority: ClassVar[Priority] = Priority.BELOW_NORMAL
    interval: int | None = None
    names: str | Sequence[str] = "*"
    progress_bar: bool = True
    console: bool = True
    _bar: ProgressBar | None = field(default=None, init=False)

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """The stream and its sinks for training; one bar for all engines."""
        if engine.name == "train":
            processor = runner.settings.log_processor
            every = self.interval or processor.window_size or _EVERY
            yield Scalars(Events.ITERATION_COMPLETED(every=every), also=statistics(processor))
            stream: Literal["stdout"] | None = "stdout" if self.console else None
            yield Console(names=self.names, stream=stream, file=runner.folder / LOG)
            yield JSONL(runner.folder / "scalars.jsonl")
            yield from runner.sinks
        if self.progress_bar:
            self._bar = self._bar or ProgressBar()
            yield self._bar


@HOOKS.register_module()
@dataclass
class ParamSchedulerHook:
    """Moves the schedulers.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> without = dict(param_scheduler=None)
        >>> runner = Runner(torch.nn.Identity(), tempfile.mkdtemp(), default_hooks=without)
        >>> any(isinstance(hook, ParamSchedulerHook) for hook in runner.hooks)
        False
    """

    priority: ClassVar[Priority] = Priority.LOW

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """The schedules for training."""
        if engine.name == "train":
            yield from runner.param_schedulers


@HOOKS.register_module()
@dataclass
class OptimizerHook:
    """Bounds the gradients, where ``optim_wrapper`` does not.

    Args:
        grad_clip: as ``clip_grad`` of an ``optim_wrapper``.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     custom_hooks=[dict(type="OptimizerHook", grad_clip=dict(max_norm=1.0))],
        ... )
        >>> any(isinstance(hook, OptimizerHook) for hook in runner.hooks)
        True
    """

    priority: ClassVar[Priority] = Priority.HIGH
    grad_clip: Mapping[str, Any] | float | bool | None = None

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """None; the optimizations are told."""
        if engine.name == "train" and (clip := clip_of(self.grad_clip)) is not None:
            for one in runner.optimizations.values():
                one.clip = one.clip or clip
        yield from ()


@HOOKS.register_module()
@dataclass
class ReportHook:
    """Writes a page about the run when it is over.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> without = dict(report=None)
        >>> runner = Runner(torch.nn.Identity(), tempfile.mkdtemp(), default_hooks=without)
        >>> any(isinstance(hook, ReportHook) for hook in runner.hooks)
        False
    """

    priority: ClassVar[Priority] = Priority.LOWEST

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """A report for each engine; of nested ones the outer one's is written."""
        yield Report(runner.folder)


@HOOKS.register_module()
@dataclass
class EarlyStoppingHook:
    """Ends the run when a metric no longer improves.

    Args:
        monitor: the metric of the validation, ``"accuracy"`` say.
        rule: whether ``"greater"`` or ``"less"`` of it is better, where its name does not tell.
        min_delta: what counts as better.
        patience: how many looks without improvement.
        check_finite: whether to stop where it is no finite number.
        stopping_threshold: stop once it is this good.

    Example:
        >>> import tempfile, torch
        >>> from ignite.metrics import MeanSquaredError
        >>> from footplate.recipes.runner import Runner
        >>> data = [(torch.ones(4, 1), torch.ones(4, 1))]
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=data,
        ...     val_dataloader=data,
        ...     val_evaluator=dict(mse=MeanSquaredError()),
        ...     train_cfg=dict(max_epochs=100, loss=torch.nn.functional.mse_loss),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.0)),
        ...     default_hooks=dict(logger=None, report=None),
        ...     custom_hooks=[
        ...         dict(type="EarlyStoppingHook", monitor="mse", rule="less", patience=2)
        ...     ],
        ... )
        >>> model = runner.train()
        >>> runner.epoch
        3
    """

    priority: ClassVar[Priority] = Priority.BELOW_NORMAL
    monitor: str
    rule: Rule | None = None
    min_delta: float = 0.0
    patience: int = 5
    check_finite: bool = True
    stopping_threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        check_whole(self, "patience")
        rule_of(self.monitor, self.rule)

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """Early stopping for training."""
        if engine.name == "train":
            yield EarlyStopping(
                monitored(self.monitor, runner.guest.names_metrics),
                self.patience,
                mode="min" if rule_of(self.monitor, self.rule) == "less" else "max",
                min_delta=self.min_delta,
                threshold=self.stopping_threshold,
                check_finite=self.check_finite,
                minimum=runner.minimum,
                when=runner.validation_events,
            )


for _name, _handler in (("EMAHook", EMA), ("ProfilerHook", Profiler)):  # as MMEngine has them
    HOOKS.register_module(_handler, name=_name)

DEFAULT_HOOKS: Mapping[str, Mapping[str, Any]] = {
    "runtime_info": {"type": "RuntimeInfoHook"},
    "timer": {"type": "IterTimerHook"},
    "sampler_seed": {"type": "DistSamplerSeedHook"},
    "logger": {"type": "LoggerHook"},
    "param_scheduler": {"type": "ParamSchedulerHook"},
    "checkpoint": {"type": "CheckpointHook"},
    "report": {"type": "ReportHook"},
}
"""The hooks of every run by name; a runner's ``default_hooks`` are merged into them."""


def statistics(processor: LogProcessorCfg) -> dict[str, Statistic]:
    """The statistics that ``log_processor`` asks for, by the names that they are logged under."""
    made = {}
    for one in processor.custom_cfg or ():
        of, method = one["data_src"], one.get("method_name", "mean")
        window = one.get("window_size")
        name = one.get("log_name") or f"{of}_{method}_{window}"
        known: Any = "last" if method == "current" else method  # which Statistic checks
        made[name] = Statistic(of, known, None if window == "global" else window)
    return made


class _ConfigFile(Handler):
    """Writes what a run is made with into its folder when it begins.

    In the folder of a run that goes on it waits for an iteration, as what can't go on, say with
    another seed, is to leave the run as it is.
    """

    priority = Priority.VERY_HIGH
    name = "config_file"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def opened(self, engine: Engine) -> None:
        """Write it; what evaluates has nothing to add to what training was made with."""
        if not is_first():
            return
        if not (self._runner.folder / "config.yaml").exists():
            self._runner.dump_config()
        elif engine.name == "train":

            def write() -> None:
                subscription.remove()
                self._runner.dump_config()

            subscription = engine.add_event_handler(Events.ITERATION_STARTED, write)
