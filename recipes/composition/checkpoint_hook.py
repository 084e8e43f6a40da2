"""The checkpoint hook: when a runner saves, and where to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...engine.checkpoints.when import When
from ...engine.engine import Engine
from ...engine.events import Event, Events
from ...engine.filters import where
from ...engine.handler import Handler
from ...engine.priority import Priority
from ...handlers.checkpoint import Checkpoint
from ..config.objects import Objects
from ..config.problems import OptionError
from ..config.registry import HOOKS
from .first_metric import ByFirstMetric
from .folders import CHECKPOINTS
from .monitoring import Rule, monitored, names_its_values, rule_of
from .options import check_whole

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["CheckpointHook", "out_dir_of"]

_ALL = 2**31  # as many as no run has


@HOOKS.register_module()
@dataclass
class CheckpointHook:
    """Saves the run, so that it resumes to the bit.

    Args:
        interval: save behind each so many epochs or iterations; -1 for none of these.
        by_epoch: which of them; as the run is limited by default.
        minutes: besides, when so many minutes have gone by.
        save_best: the metric of the validation that the best are kept by, ``"accuracy"`` say, or
            ``"auto"`` for the first that ``val_evaluator`` measures.
        rule: whether ``"greater"`` or ``"less"`` of it is better, where its name does not tell.
        max_keep_ckpts: how many of the latest are kept; -1 for all.
        keep_best: how many of the best.
        save_begin: the first epoch, or iteration, that is saved behind; 0 for the first interval's
            end.
        save_last: whether the end of the run is saved in any case.
        background: whether training goes on while a checkpoint is written.
        out_dir: where to, in place of the run's folder; or the URL of a file system of fsspec. It
            is where ``resume=True`` looks, then, too.

    Example:
        >>> import tempfile, torch
        >>> from footplate.recipes.runner import Runner
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))] * 10,
        ...     train_cfg=dict(max_epochs=3, loss=torch.nn.functional.mse_loss),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(checkpoint=dict(max_keep_ckpts=2), logger=None, report=None),
        ... )
        >>> model = runner.train()
        >>> sorted(path.name for path in (runner.folder / CHECKPOINTS).iterdir() if path.is_dir())
        ['00000020', '00000030']
    """

    priority: ClassVar[Priority] = Priority.VERY_LOW
    interval: int = 1
    by_epoch: bool | None = None
    minutes: float | None = None
    save_best: str | None = None
    rule: Rule | None = None
    max_keep_ckpts: int = 1
    keep_best: int = 1
    save_begin: int = 0
    save_last: bool = True
    background: bool = False
    out_dir: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        for name in ("interval", "max_keep_ckpts"):
            if getattr(self, name) != -1:
                check_whole(self, name)
        check_whole(self, "keep_best")
        check_whole(self, "save_begin", least=0)
        if self.minutes is not None and not self.minutes > 0:
            raise OptionError("minutes", "is a number of minutes above 0")
        if self.save_best not in (None, "auto"):
            rule_of(str(self.save_best), self.rule)

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """A checkpoint handler for training."""
        if engine.name != "train":
            return
        metric = self._metric(runner)
        less = metric is not None and rule_of(metric, self.rule) == "less"
        out_dir = None if runner.is_trial else self.out_dir
        checkpoint = Checkpoint(
            out_dir or runner.folder / CHECKPOINTS,
            runner.model,
            runner.also_saved,
            placement=runner.placement,
            when=When(self._events(runner), minutes=self.minutes, at_end=self.save_last),
            last=_ALL if self.max_keep_ckpts == -1 else self.max_keep_ckpts,
            best=0 if metric is None else self.keep_best,
            metric=None if metric is None else monitored(metric, runner.guest.names_metrics),
            mode="min" if less else "max",
            background=self.background,
            config=runner.plain_config,
        )
        if self.save_best == "auto" and metric is None:
            yield ByFirstMetric(checkpoint, self.keep_best, self.rule)
        yield checkpoint

    def _events(self, runner: Runner) -> Event | None:
        if self.interval == -1:
            return None
        limited_in_epochs = "max_epochs" in runner.settings.train.limits
        by_epoch = limited_in_epochs if self.by_epoch is None else self.by_epoch
        event = Events.EPOCH_COMPLETED if by_epoch else Events.ITERATION_COMPLETED
        if self.save_begin:
            every, first = self.interval, self.save_begin
            return event(where(lambda _, count: count >= first and (count - first) % every == 0))
        return event(every=self.interval) if self.interval > 1 else event

    def _metric(self, runner: Runner) -> str | None:
        """What the best are kept by; ``None`` for nothing, or for what is not known yet."""
        if self.save_best != "auto":
            return self.save_best
        if not runner.val_metrics:
            raise ValueError(
                "save_best='auto' takes the first metric of val_evaluator, but there is none; "
                "give one, or leave save_best out."
            )
        name, metric = next(iter(runner.val_metrics.items()))
        return None if names_its_values(metric) else name


def out_dir_of(hook: Any, objects: Objects) -> str | None:
    """Where a hook, or what it is to be built of, has checkpoints go; ``None`` if it says not."""
    if isinstance(hook, CheckpointHook):
        return hook.out_dir
    if not isinstance(hook, Mapping) or "out_dir" not in hook:
        return None
    kind = objects.find(hook["type"], HOOKS)
    saves = inspect.isclass(kind) and issubclass(kind, CheckpointHook)
    return hook["out_dir"] if saves else None
