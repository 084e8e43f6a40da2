"""EvalHook: evaluation of a data set by its own ``evaluate``, and the best checkpoint by that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...engine.errors import nearest
from ...engine.evaluating import report
from .hook import HOOKS, Hook
from .logger_hook import LoggerHook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["EvalHook", "single_device_test"]

_GREATER = ("acc", "top", "AR@", "auc", "precision", "mAP", "mDice", "mIoU", "mAcc", "aAcc")
_LESS = ("loss",)
_RULES = ("greater", "less")


@HOOKS.register_module()
class EvalHook(Hook):
    """Has the model predict a data set, and the data set evaluate that.

    What ``dataset.evaluate(results, logger=…, **eval_kwargs)`` returns, numbers by name, stands in
    ``runner.log_buffer.output``, and as ``eval_<name>`` in the metrics of ``runner.trainer``.

    Args:
        dataloader: its ``dataset`` has ``evaluate``.
        start: the first epoch or iteration behind which to evaluate, from 1; if the run has come
            that far when it begins, also at once.
        interval: how many there are from one evaluation to the next.
        by_epoch: whether epochs are counted, or else iterations.
        save_best: the number by which the best checkpoint is kept; ``"auto"`` for the first.
        rule: whether ``"greater"`` or ``"less"`` is better, where its name does not tell.
        test_fn: ``(model, dataloader) -> results``; by default :func:`single_device_test`.
        greater_keys, less_keys: parts of names of which greater or less is better.
        eval_kwargs: for ``evaluate``.

    Raises:
        ValueError: for nonsense, and a name that does not tell which is better.

    Example:
        >>> hook = EvalHook(torch.utils.data.DataLoader([1]), interval=5, save_best="top1_acc")
        >>> hook.rule
        'greater'
    """

    def __init__(
        self,
        dataloader: Any,
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        test_fn: Callable[[nn.Module, Any], Any] | None = None,
        greater_keys: str | Sequence[str] | None = None,
        less_keys: str | Sequence[str] | None = None,
        **eval_kwargs: Any,
    ) -> None:
        if interval < 1 or (start is not None and start < 0):
            raise ValueError(f"interval is from 1 on, start from 0; given {interval} and {start}.")
        if rule is not None and rule not in _RULES:
            raise ValueError(f"rule is 'greater' or 'less', given {rule!r}.")
        for name in ("out_dir", "file_client_args"):
            if eval_kwargs.pop(name, None) is not None:
                raise NotImplementedError(
                    f"EvalHook({name}=…) is not here; say it in "
                    f"checkpoint_config: the best are kept with the others."
                )
        self.dataloader, self.start, self.interval = dataloader, start, interval
        self.by_epoch, self.save_best = by_epoch, save_best
        self.test_fn = test_fn or single_device_test
        self.greater_keys = _several(greater_keys, _GREATER)
        self.less_keys = _several(less_keys, _LESS)
        self.eval_kwargs = eval_kwargs
        self.rule = rule
        if save_best not in (None, "auto") and rule is None:
            self.rule = self._rule_of(str(save_best))
        self._begins = True  # whether no epoch or iteration has begun yet

    @property
    def metric(self) -> str:
        """The metric of the train engine that the best checkpoint is kept by."""
        return "eval_best_by" if self.save_best == "auto" else f"eval_{self.save_best}"

    # ------------------------------------------------------------------ when

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate if the run has come far enough when it begins."""
        if self.by_epoch and self._begins:
            self._begin(runner, runner.epoch)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate if the run has come far enough when it begins."""
        if not self.by_epoch and self._begins:
            self._begin(runner, runner.iter)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate if it is time."""
        if self.by_epoch and self._is_time(runner.epoch + 1):
            self._evaluate(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate if it is time, behind what loggers have to say of training."""
        if not self.by_epoch and self._is_time(runner.iter + 1):
            for hook in runner.hooks:
                if isinstance(hook, LoggerHook):
                    hook.after_train_iter(runner)
            runner.log_buffer.clear()
            self._evaluate(runner)

    def _begin(self, runner: BaseRunner, done: int) -> None:
        self._begins = False
        if self.start is not None and done >= self.start and self._is_time(done + 1):
            self._evaluate(runner)

    def _is_time(self, count: int) -> bool:
        if self.start is None:
            return count % self.interval == 0
        return count >= self.start and (count - self.start) % self.interval == 0

    # ------------------------------------------------------------------ what

    def _evaluate(self, runner: BaseRunner) -> None:
        # a plain loop: a signal that cut it would have the stage's other hooks called once more
        results = self.test_fn(runner.model, self.dataloader)
        buffer = runner.log_buffer
        before, buffer.output = buffer.output, {"eval_iter_num": len(self.dataloader)}
        score = self.evaluate(runner, results)
        found = {name: one for name, one in buffer.output.items() if name != "eval_iter_num"}
        buffer.output = {**before, **buffer.output}
        metrics = {f"eval_{name}": value for name, value in found.items()}
        if self.save_best is not None and score is not None:
            metrics[self.metric] = score
            if runner.checkpoint is not None:  # of "auto" it is not known before
                runner.checkpoint.ranking.sign = -1.0 if self.rule == "less" else 1.0
        report(runner.trainer, metrics)

    def evaluate(self, runner: BaseRunner, results: Any) -> float | None:
        """Have the data set evaluate results; also a method to override.

        What it finds, numbers by name, it puts into ``runner.log_buffer.output``.

        Returns:
            the number that the best checkpoint goes by, if any does.

        Raises:
            KeyError: if there is no such number.
        """
        dataset = self.dataloader.dataset
        found: Mapping[str, Any] = dataset.evaluate(
            results, logger=runner.logger, **self.eval_kwargs
        )
        runner.log_buffer.output.update(found)
        runner.log_buffer.ready = True
        if self.save_best is None or not found:
            return None
        name = next(iter(found)) if self.save_best == "auto" else self.save_best
        if name not in found:
            raise KeyError(
                f"save_best={name!r} is none of {', '.join(found)}.{nearest(name, found)}"
            )
        self.rule = self.rule or self._rule_of(name)
        return float(found[name])

    def _rule_of(self, name: str) -> str:
        """Which is better, by its name: the whole name first, then a part of it."""
        small = name.lower()
        both = {"greater": self.greater_keys, "less": self.less_keys}
        for is_like in (str.__eq__, str.__contains__):
            for rule, keys in both.items():
                if any(is_like(small, key.lower()) for key in keys):
                    return rule
        raise ValueError(f"whether more or less of {name!r} is better is not clear; give rule=.")

    def state_dict(self) -> dict[str, Any]:
        """Whether the run has begun."""
        return {"begins": self._begins}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set that."""
        self._begins = state["begins"]


@torch.no_grad()
def single_device_test(model: nn.Module, data_loader: Any) -> list[Any]:
    """What the model says of each batch: ``model(return_loss=False, **batch)``, joined in a list.

    The model is in evaluation mode meanwhile, and then in the mode that it was in.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return [one for batch in data_loader for one in model(return_loss=False, **batch)]
    finally:
        for module, training in modes:
            module.training = training


def _several(given: str | Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    if given is None:
        return tuple(default)
    return (given,) if isinstance(given, str) else tuple(given)
