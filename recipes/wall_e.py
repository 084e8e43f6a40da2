"""wall_e: its Runner's constructor and methods, over the runner."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from ..engine.errors import nearest
from ..handlers.metrics import Metrics
from .composition.evaluators import Evaluator, metrics_of
from .composition.loops import BaseLoop
from .runner import Runner as Whole

__all__ = ["BaseCallBack", "BaseModel", "Runner", "RunnerState"]

_TRAINING = "training"  # the configuration's group of options that the runner reads
_NAMES = {
    "train_dataloader": "train_data_loader",
    "val_dataloader": "valid_data_loader",
    "test_dataloader": "test_data_loader",
    "val_evaluator": "valid_evaluator",
    "optim_wrapper": "optimizer",
}
"""Arguments of the runner that have another name here."""


class BaseModel(nn.Module):
    """Base of models with ``train_step``, ``valid_step`` and ``test_step``.

    Each takes a batch; ``train_step`` returns the loss, or a dict with it, the others what the
    metrics take.

    Example:
        >>> import torch
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.line = nn.Linear(1, 1)
        ...     def train_step(self, batch):
        ...         return self.line(batch).square().mean()
        ...     def valid_step(self, batch):
        ...         return self.line(batch)
        >>> Line().test_step(torch.ones(4, 1)).shape
        torch.Size([4, 1])
    """

    def train_step(self, batch: Any) -> Any:
        """The loss of a batch, or a dict with one under ``"loss"``."""
        raise NotImplementedError(f"{type(self).__name__}.train_step(batch) is missing.")

    def valid_step(self, batch: Any) -> Any:
        """What the metrics take of a batch of validation."""
        raise NotImplementedError(f"{type(self).__name__}.valid_step(batch) is missing.")

    def test_step(self, batch: Any) -> Any:
        """What the metrics take of a batch of the test; as in validation by default."""
        return self.valid_step(batch)


class BaseCallBack:
    """Base of callbacks: the methods that a class has are called at the points of their names.

    The points are ``before_fit``, ``after_fit``, ``before_train``, ``after_train``,
    ``before_running_epoch``, ``after_running_epoch``, ``before_running_batch``,
    ``after_running_batch``, ``before_valid``, ``after_valid``, ``before_test``, ``after_test`` and
    ``on_exception``.

    Attributes:
        runner: the runner, once the callback is registered.

    Example:
        >>> import tempfile, torch
        >>> class Count(BaseCallBack):
        ...     batches = 0
        ...     def after_running_batch(self):
        ...         self.batches += 1
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.line = nn.Linear(1, 1)
        ...     def train_step(self, batch):
        ...         return self.line(batch).square().mean()
        >>> count, quiet = Count(), dict(logger=None, report=None)
        >>> data, folder = [torch.ones(4, 1)] * 3, tempfile.mkdtemp()
        >>> runner = Runner(Line(), 2, data, work_dir=folder, default_hooks=quiet)
        >>> runner.register_callbacks([count])
        >>> runner.fit()
        >>> count.batches, count.runner is runner
        (6, True)
    """

    runner: Runner | None = None

    def on_register(self) -> None:
        """Called once, when the runner takes the callback."""


class RunnerState:
    """What evaluators know of the run that they are in.

    Args:
        runner: the runner.

    Example:
        >>> import tempfile
        >>> runner = Runner(nn.Linear(1, 1), work_dir=tempfile.mkdtemp())
        >>> state = RunnerState(runner)
        >>> state.epoch, state.rank, state.is_main_process, state.model is runner.model
        (0, 0, True, True)
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def epoch(self) -> int:
        """Epochs of training that are over."""
        return self._runner.epoch

    @property
    def iteration(self) -> int:
        """Iterations of training that are over, in all."""
        return self._runner.iter

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self._runner.model

    @property
    def device(self) -> Any:
        """Where it is."""
        return self._runner.device

    @property
    def rank(self) -> int:
        """The number of this process."""
        return self._runner.rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._runner.world_size

    @property
    def is_main_process(self) -> bool:
        """Whether it is the first one."""
        return self._runner.is_main_process


class Runner(Whole):
    """The runner, with the constructor and the methods of wall_e's.

    Args:
        model: with ``train_step``, ``valid_step`` and ``test_step``.
        epochs: how many.
        train_data_loader, valid_data_loader, test_data_loader: the data; a call whose data are
            missing says so.
        train_loop, valid_loop, test_loop: objects with ``run()``, in the place of the default ones.
            They may have data of their own; a validation runs where the default one would.
        train_evaluator, valid_evaluator, test_evaluator: metrics of pytorch-ignite, torchmetrics,
            or with ``process`` and ``compute_metrics``. What has an attribute ``runner_state`` is
            given a :class:`RunnerState`.
        optimizer: the optimizer, or what ``optim_wrapper`` takes; AdamW by default.
        cfg: a mapping, or an OmegaConf. Its group ``training`` has options of
            :class:`~footplate.recipes.composition.options.TrainCfg`: validation by epoch is
            ``val_interval`` and by iteration ``val_iters``, both at once if both are given.
            ``pt.enable: false`` turns checkpoints off. All of it is kept with the run. A group
            whose name is nearly ``training``, where there is none, is warned of.
        others: further arguments of :class:`footplate.recipes.runner.Runner`.

    Raises:
        TypeError: for an argument that has another name here.

    Example:
        >>> import tempfile, torch
        >>> from ignite.metrics import MeanSquaredError
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.line = nn.Linear(1, 1)
        ...     def train_step(self, batch):
        ...         return {"loss": nn.functional.mse_loss(self.line(batch[0]), batch[1])}
        ...     def valid_step(self, batch):
        ...         return self.line(batch[0]), batch[1]
        >>> data = [(torch.ones(8, 1), torch.ones(8, 1))] * 4
        >>> runner = Runner(
        ...     Line(),
        ...     epochs=2,
        ...     train_data_loader=data,
        ...     valid_data_loader=data,
        ...     valid_evaluator={"mse": MeanSquaredError()},
        ...     work_dir=tempfile.mkdtemp(),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> runner.fit()
        >>> runner.epoch, list(runner.valid())
        (2, ['mse'])
    """

    def __init__(
        self,
        model: nn.Module,
        epochs: int | None = None,
        train_data_loader: Any = None,
        valid_data_loader: Any = None,
        test_data_loader: Any = None,
        train_loop: Any = None,
        valid_loop: Any = None,
        test_loop: Any = None,
        train_evaluator: Any = None,
        valid_evaluator: Any = None,
        test_evaluator: Any = None,
        optimizer: Any = None,
        cfg: Any = None,
        **others: Any,
    ) -> None:
        _check_names(others)
        config = _plain(cfg)
        self._own_loops = {"train": train_loop, "val": valid_loop, "test": test_loop}
        training = {"max_epochs": epochs} if epochs is not None else {}
        if config.get("pt", {}).get("enable") is False:
            others["default_hooks"] = {"checkpoint": None, **(others.get("default_hooks") or {})}
        super().__init__(
            model,
            train_dataloader=train_data_loader,
            val_dataloader=valid_data_loader,
            test_dataloader=test_data_loader,
            train_cfg={**_training(config), **training, **others.pop("train_cfg", {})},
            val_evaluator=valid_evaluator,
            test_evaluator=test_evaluator,
            optim_wrapper=optimizer,
            cfg=config or None,
            **others,
        )
        if train_evaluator is not None:
            metrics = metrics_of(train_evaluator, self.objects, "train_evaluator")
            self.register_hook(Metrics(metrics))
        state = RunnerState(self)
        for evaluator in (train_evaluator, valid_evaluator, test_evaluator):
            _hand(state, evaluator)

    def fit(self) -> None:
        """Train; ``before_fit`` and ``after_fit`` are its begin and its end, whatever ends it."""
        self.train()

    def valid(self) -> dict[str, Any]:
        """Validate; returns the metrics by name."""
        return self.val()

    def register_callbacks(self, callbacks: Iterable[Any]) -> None:
        """Take callbacks, and call ``on_register`` of each.

        Raises:
            TypeError: for what is none.
        """
        for one in callbacks:
            self.register_hook(one)

    def build_loop(
        self, name: str, default: type[BaseLoop], loader: Any, evaluator: Any = None
    ) -> BaseLoop:
        """The loop that was given, or the one that the runner makes."""
        own: BaseLoop | None = self._own_loops[name.removesuffix("_cfg")]
        return super().build_loop(name, default, loader, evaluator) if own is None else own

    def loader(self, name: str, *, call: str = "") -> Any:
        """The loader for a call; ``None`` where a loop that was given has data of its own."""
        brought = not call and self._own_loops.get(name) is not None
        return None if brought and not self.has_loader(name) else super().loader(name, call=call)

    @property
    def validates(self) -> bool:
        """Whether there is something to validate training on."""
        return self._own_loops["val"] is not None or super().validates

    def check_measured(self, name: str, call: str) -> None:
        """Refuse an evaluation in which nobody would measure anything; a loop of one's own may."""
        if self._own_loops[name] is None:
            super().check_measured(name, call)

    def called(self, argument: str) -> str:
        """How messages name an argument."""
        return _NAMES.get(argument, argument)

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the first one."""
        return self.rank == 0

    @property
    def scheduler(self) -> Any:
        """What moves the learning rate: one, several in a list, or ``None``."""
        several = (handler.schedulers.values() for handler in self.param_schedulers)
        found = [one for lists in several for each in lists for one in each]
        return found if len(found) > 1 else next(iter(found), None)


def _plain(cfg: Any) -> dict[str, Any]:
    """A configuration in plain values."""
    if cfg is None:
        return {}
    made = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)
    if not isinstance(made, dict):
        raise TypeError(f"cfg is a mapping or an OmegaConf, given {cfg!r:.60}.")
    return {str(name): one for name, one in made.items()}


def _check_names(others: Mapping[str, Any]) -> None:
    """Refuse arguments by the names that they have elsewhere."""
    if (name := next((one for one in others if one in _NAMES), None)) is not None:
        raise TypeError(f"{name}= is {_NAMES[name]}= with this Runner; give it by that name.")


def _training(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training; warns of a group that is likely to be meant for them."""
    if _TRAINING in config:
        return config[_TRAINING] or {}
    for name, group in config.items():
        if isinstance(group, dict) and (hint := nearest(name, [_TRAINING])):
            told = f"cfg has a group {name!r}, which is kept, but which the runner does not read."
            warnings.warn(f"{told}{hint}", UserWarning, stacklevel=3)
    return {}


def _hand(state: RunnerState, evaluator: Any) -> None:
    """Give an evaluator, or each of several, the state of the runner, if it has a place for it."""
    if isinstance(evaluator, Evaluator):
        evaluator = evaluator.metrics
    if isinstance(evaluator, Mapping):
        evaluator = list(evaluator.values())
    for one in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        # not hasattr, for which a metric of pytorch-ignite makes one of whatever name
        if inspect.getattr_static(one, "runner_state", _hand) is not _hand:
            one.runner_state = state
