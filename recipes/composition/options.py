"""Options: what a runner's groups of arguments may say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from ...engine.amount import Amount
from ...engine.engine import Engine
from ...engine.whole import whole
from ..config.layers import dump
from ..config.problems import OptionError

__all__ = [
    "AutoScaleLR",
    "DistCfg",
    "EnvCfg",
    "EvalCfg",
    "LogProcessorCfg",
    "MpCfg",
    "Randomness",
    "TrainCfg",
    "check_whole",
]

_PHASES = ("train", "val")

_OFTEN = 1000  # iterations from one validation to the next, as in MMEngine

Part = int | float | str
"""So many of something, or a fraction of it: ``10``, ``"25%"``, ``0.25``."""


@dataclass(frozen=True, kw_only=True)
class TrainCfg:
    """How long to train, when to validate, and with what step.

    Attributes:
        by_epoch: whether ``val_begin``, ``val_interval`` and ``dynamic_intervals`` count epochs,
            and else iterations.
        max_epochs: epochs in all; ``math.inf`` for no end.
        max_iters: iterations in all, in place of ``max_epochs``.
        max_steps: steps of the optimizers in all; may come besides either.
        max_time: what the run takes at most: ``"DD:HH:MM:SS"``, seconds, keywords of a timedelta.
        min_epochs: epochs that the run makes before time or early stopping may end it.
        min_iters: the same in iterations.
        min_steps: the same in steps of the optimizers.
        epoch_length: iterations in an epoch; by default a pass over the data.
        val_begin: the first epoch, or iteration, that may be followed by a validation.
        val_interval: validate behind each so many of them; ``0.25`` or ``"25%"`` is that part of
            an epoch. By default each epoch, or each 1000 iterations.
        dynamic_intervals: pairs ``(milestone, interval)``, from which on another interval holds.
        val_iters: besides, validate behind each so many iterations, or parts of an epoch.
        across_epochs: whether ``val_iters`` counts on from epoch to epoch.
        sanity_check: batches of validation to run before training, to find errors early.
        workflow: phases that take turns, ``[("train", 2), ("val", 1)]``, in place of validation
            by interval.
        combine: of several training loaders, given by name or in a list, when a pass ends: with
            the shortest, or with the longest while the others begin again. By default as the
            model's system has it, and for all else ``"min_size"``.
        limit_batches: train on the first so many batches of each pass, or such a part of them.
        overfit_batches: train on the same first batches in each pass.
        fast_dev_run: a trial of so many batches of everything (``True`` is one), in a temporary
            folder, and from the beginning.
        reload_every: make the training data anew each so many epochs.
        loss: the loss function of a plain module, or what computes the loss by its contract.
        contract: how to get a loss from the model, if that is not to be found out.
        step: a function ``(engine, batch) -> output`` in the place of the default step.
        engine: an engine in the place of the default one; it brings its step, and is attached to.
        recompute: submodules that keep no activations, by pattern or class.
        weigh: how many samples or tokens a batch's loss is the mean of; a function of the batch.
        turns: whose turn it is, where there are several optimizers.
    """

    by_epoch: bool = True
    max_epochs: int | float | None = None
    max_iters: int | float | None = None
    max_steps: int | None = None
    max_time: str | float | timedelta | Mapping[str, float] | None = None
    min_epochs: int = 0
    min_iters: int = 0
    min_steps: int = 0
    epoch_length: int | None = None
    val_begin: int = 1
    val_interval: Part | None = None
    dynamic_intervals: Sequence[Sequence[int]] | None = None
    val_iters: Part | None = None
    across_epochs: bool = False
    sanity_check: int = 0
    workflow: Sequence[Sequence[Any]] | None = None
    combine: Literal["min_size", "max_size_cycle"] | None = None
    limit_batches: Part | None = None
    overfit_batches: Part | None = None
    fast_dev_run: bool | int = False
    reload_every: int | None = None
    loss: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None
    contract: Any = None
    step: Callable[..., Any] | None = None
    engine: Engine | None = None
    recompute: str | Sequence[Any] | None = None
    weigh: Callable[..., Any] | None = None
    turns: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        for name in ("max_epochs", "max_iters"):
            if (value := getattr(self, name)) is not None and value != math.inf:
                check_whole(self, name)
        for name in ("max_steps", "epoch_length", "reload_every"):
            check_whole(self, name)
        for name in ("min_epochs", "min_iters", "min_steps", "sanity_check"):
            check_whole(self, name, least=0)
        if not isinstance(self.fast_dev_run, bool):
            check_whole(self, "fast_dev_run", least=0)
        check_whole(self, "val_begin")
        if self.val_interval is None:
            object.__setattr__(self, "val_interval", 1 if self.by_epoch else _OFTEN)
        for name in ("val_interval", "val_iters", "limit_batches", "overfit_batches"):
            _part(self, name)
        for pair in self.dynamic_intervals or ():
            if isinstance(pair, (str, bytes)) or len(pair) != 2:
                raise OptionError(
                    "dynamic_intervals", f"holds pairs (milestone, interval), given {pair!r}."
                )
        _check_loss(self)
        self._check_choices()

    def _check_choices(self) -> None:
        """Refuse options that exclude each other."""
        if self.max_epochs is not None and self.max_iters is not None:
            raise OptionError(
                "max_iters", "and max_epochs exclude each other; give the one that ends the run."
            )
        if self.step is not None and self.engine is not None:
            raise OptionError("step", "and engine exclude each other; an engine brings its step.")
        if self.overfit_batches is not None and self.limit_batches is not None:
            raise OptionError("overfit_batches", "and limit_batches exclude each other; give one.")
        for phase in self.workflow or ():
            if isinstance(phase, (str, bytes)) or len(phase) != 2 or phase[0] not in _PHASES:
                raise OptionError(
                    "workflow", f"holds pairs of 'train' or 'val' and a number, given {phase!r}."
                )
        if self.workflow is not None and all(name != "train" for name, _ in self.workflow):
            raise OptionError("workflow", "has no phase 'train', and so would never end.")

    @property
    def batches(self) -> int | None:
        """How many batches a trial run takes; ``None`` if it is none."""
        return int(self.fast_dev_run) or None

    @property
    def limits(self) -> dict[str, int | float]:
        """What the engine's ``run()`` is limited by; one epoch if nothing is said.

        Example:
            >>> TrainCfg(max_iters=5).limits, TrainCfg(max_time=60).limits, TrainCfg().limits
            ({'max_iters': 5}, {'max_epochs': inf}, {'max_epochs': 1})
        """
        if self.batches is not None:
            by_iteration = self.workflow is not None and not self.by_epoch
            return {"max_iters": self.batches} if by_iteration else {"max_epochs": 1}
        if self.max_iters is not None:
            return {"max_iters": self.max_iters}
        if self.max_epochs is not None:
            return {"max_epochs": self.max_epochs}
        ends_otherwise = self.max_steps is not None or self.max_time is not None
        return {"max_epochs": math.inf if ends_otherwise else 1}


@dataclass(frozen=True, kw_only=True)
class EvalCfg:
    """How to validate, test or predict.

    Attributes:
        fp16: whether the forward pass is in half precision; ``precision`` says which.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        limit_batches: the first so many batches, or such a part of them.
        contract: how to get outputs from the model, if that is not to be found out; that of a model
            of another system is the one that ``train_cfg`` names.
        loss: what the contract needs to evaluate, where it does.
        step: a function ``(engine, batch) -> output`` in the place of the default step.
        engine: an engine in the place of the default one; it brings its step, and is attached to.
        averaged: the name of the handler whose averaged weights are evaluated, ``"ema"`` say.

    Example:
        >>> EvalCfg(fp16=True).kind, EvalCfg(limit_batches=0.25).limit_batches
        ('fp16', '25%')
    """

    fp16: bool = False
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    limit_batches: Part | None = None
    contract: Any = None
    loss: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None
    step: Callable[..., Any] | None = None
    engine: Engine | None = None
    averaged: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        _part(self, "limit_batches")
        _check_loss(self)
        if self.fp16 and self.precision == "fp32":
            raise OptionError("precision", "is 'fp32', but fp16=True asks for half of it.")
        if self.step is not None and self.engine is not None:
            raise OptionError("step", "and engine exclude each other; an engine brings its step.")

    @property
    def kind(self) -> str:
        """The precision that is asked for."""
        return self.precision or ("fp16" if self.fp16 else "fp32")


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """Where random numbers come from.

    Attributes:
        seed: for Python, numpy and torch; one is drawn, and told, if there is none.
        deterministic: whether operations without a deterministic form are refused, or with
            ``"warn"`` warned about.
        diff_rank_seed: whether each process has another seed.

    Example:
        >>> Randomness(seed=7, deterministic="warn").seed
        7
        >>> Randomness(seed=-1)
        Traceback (most recent call last):
        footplate.recipes.config.problems.OptionError: seed: is a whole number from 0 on, given -1.
    """

    seed: int | None = None
    deterministic: bool | Literal["warn"] = False
    diff_rank_seed: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no seed."""
        check_whole(self, "seed", least=0)
        if self.seed is not None and self.seed >= 2**32:
            raise OptionError("seed", f"is below 2**32, as numpy's is, given {self.seed}.")


@dataclass(frozen=True, kw_only=True)
class MpCfg:
    """How worker processes start.

    Attributes:
        mp_start_method: of ``multiprocessing``.
        opencv_num_threads: threads of OpenCV in each process, where it is installed.

    Example:
        >>> MpCfg(mp_start_method="spawn", opencv_num_threads=0)
        MpCfg(mp_start_method='spawn', opencv_num_threads=0)
    """

    mp_start_method: Literal["fork", "spawn", "forkserver"] | None = None
    opencv_num_threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number of threads."""
        check_whole(self, "opencv_num_threads", least=0)


@dataclass(frozen=True, kw_only=True)
class DistCfg:
    """How processes talk to each other; a run of one process does not ask.

    Attributes:
        backend: of ``torch.distributed``; by default NCCL on CUDA, and Gloo for all else.
        timeout: seconds until a collective operation is given up.

    Example:
        >>> DistCfg(backend="gloo", timeout=600)
        DistCfg(backend='gloo', timeout=600)
    """

    backend: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        if self.timeout is not None and not self.timeout > 0:
            raise OptionError("timeout", "is a number of seconds above 0")


@dataclass(frozen=True, kw_only=True)
class EnvCfg:
    """What a run takes place in.

    Attributes:
        device: ``"auto"`` is the accelerator if there is one, or any device of torch by name; of
            several processes each takes the CUDA device of its number on its machine.
        cudnn_benchmark: whether cuDNN tries out which algorithm is fastest.
        mp_cfg: how worker processes start.
        dist_cfg: how processes talk to each other.
        resource_limit: files that may be open at once.
        threads: threads of torch on the CPU.

    Example:
        >>> EnvCfg(device="cuda:1", threads=4, dist_cfg=DistCfg(timeout=600)).threads
        4
    """

    device: str = "auto"
    cudnn_benchmark: bool = False
    mp_cfg: MpCfg | None = None
    dist_cfg: DistCfg | None = None
    resource_limit: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what are no counts."""
        check_whole(self, "resource_limit")
        check_whole(self, "threads")


@dataclass(frozen=True, kw_only=True)
class AutoScaleLR:
    """The linear scaling rule.

    Attributes:
        base_batch_size: samples in the batch that the learning rate was found for.
        enable: whether to follow the rule.

    Example:
        >>> AutoScaleLR(base_batch_size=256, enable=True)
        AutoScaleLR(base_batch_size=256, enable=True)
    """

    base_batch_size: int
    enable: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        check_whole(self, "base_batch_size")


@dataclass(frozen=True, kw_only=True)
class LogProcessorCfg:
    """What is made of numbers before they are logged.

    Attributes:
        window_size: log points of iterations are this many iterations apart, unless the logger
            has an interval of its own; the numbers are means over what lies between.
        by_epoch: accepted, and nothing else: lines tell epochs where the run is limited in them.
        custom_cfg: further statistics: of ``data_src``, by ``method_name`` (``"mean"``, ``"min"``,
            ``"max"``, ``"current"``) over ``window_size`` (a number, ``"epoch"``, ``"global"``),
            under ``log_name``.

    Example:
        >>> best = dict(data_src="loss", method_name="min", window_size="global", log_name="best")
        >>> LogProcessorCfg(window_size=50, custom_cfg=[best]).window_size
        50
    """

    window_size: int | None = None
    by_epoch: bool = True
    custom_cfg: Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        check_whole(self, "window_size")


def check_whole(options: object, name: str, *, least: int = 1) -> None:
    """Take ``2.0`` for two, and refuse what is no whole number, unless it is ``None``.

    Args:
        options: a data class instance, frozen or not; a whole number is put in its place.
        name: the option's.
        least: the least that it may be.

    Raises:
        OptionError: for anything else.

    Example:
        >>> @dataclass(frozen=True)
        ... class Pause:
        ...     epochs: int | None = None
        ...     def __post_init__(self):
        ...         check_whole(self, "epochs")
        >>> Pause(2.0).epochs
        2
        >>> Pause(0)
        Traceback (most recent call last):
        footplate.recipes.config.problems.OptionError: epochs: is a whole number from 1 on, given 0.
    """
    value = getattr(options, name)
    if value is None:
        return
    try:
        number = whole(name, value, least=least)
    except ValueError as error:
        raise OptionError(name, str(error).removeprefix(f"{name} ")) from None
    object.__setattr__(options, name, number)  # it is frozen


def _part(options: object, name: str) -> None:
    """Take ``0.25`` for a quarter, as a count can't be meant, and refuse what is no part."""
    value = getattr(options, name)
    if value is None:
        return
    if isinstance(value, float) and 0 < value < 1:
        value = f"{value * 100:.10g}%"
    try:
        Amount.of(value)
    except (ValueError, TypeError) as error:
        raise OptionError(name, str(error)) from None
    object.__setattr__(options, name, value)


def _check_loss(options: TrainCfg | EvalCfg) -> None:
    """Refuse a class, which would be called with an answer and a target to make an object."""
    losses = options.loss.values() if isinstance(options.loss, Mapping) else (options.loss,)
    for one in losses:
        if isinstance(one, type):
            local = "<" in one.__qualname__  # which no configuration could name
            named = "" if local else f", or in a configuration {{{dump({'type': one}).strip()}}}"
            raise OptionError(
                "loss",
                f"is a function, or an instance of a class, given the class {one.__name__}; write "
                f"{one.__name__}(){named}.",
            )
