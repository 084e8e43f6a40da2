"""Configuration: what ``configure_optimizers`` of a LightningModule returns, in all its forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ...errors import nearest
from .calling import call_module
from .overridden import overridden, takes

__all__ = ["Configured", "NoOptimizer", "Scheduled", "configured", "read"]

_OF_OPTIMIZERS = ("optimizer", "lr_scheduler", "monitor")
_FORMS = """
  optimizer
  [optimizer, …]
  ([optimizer, …], [scheduler, …])
  {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": name}
  [{"optimizer": …, "lr_scheduler": …}, …]
  None
where a scheduler may be {"scheduler": scheduler, "interval": "step", "frequency": 1, …}."""


@dataclass
class Scheduled:
    """A scheduler of a module, and when it moves; with the names of Lightning's own.

    Attributes:
        scheduler: the scheduler.
        name: what it is called where it is logged.
        interval: whether it moves by ``"epoch"`` or by optimizer ``"step"``.
        frequency: by each how many of these.
        reduce_on_plateau: whether it is given the value of a metric.
        monitor: the name of that.
        strict: whether it is an error if nobody has logged that.
    """

    scheduler: Any
    name: str | None = None
    interval: Literal["epoch", "step"] = "epoch"
    frequency: int = 1
    reduce_on_plateau: bool = False
    monitor: str | None = None
    strict: bool = True


@dataclass
class Configured:
    """What a module is trained with.

    Attributes:
        optimizers: its optimizers, in their order.
        schedulers: what moves their values.
    """

    optimizers: list[Optimizer]
    schedulers: list[Scheduled]


class NoOptimizer(Optimizer):
    """The optimizer of a module that wants none: it has nothing to step, and runs closures."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}
        super().__init__([torch.zeros(1)], {})
        self.param_groups = []

    def step(self, closure: Any = None) -> Any:
        """Run the closure."""
        return None if closure is None else closure()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Do nothing."""


def configured(module: Any) -> Configured:
    """Ask a module for its optimizers.

    Args:
        module: a LightningModule that is attached to its trainer.

    Raises:
        TypeError: for a module that has no ``configure_optimizers``, or returns what is none of
            the forms.
        ValueError: for what contradicts itself.
    """
    kind = type(module).__name__
    if not overridden(module, "configure_optimizers"):
        raise TypeError(
            f"{kind} has no configure_optimizers(), so there is nothing to train it with; write "
            f"it, or give the runner optim_wrapper=dict(optimizer=…)."
        )
    made = read(call_module(module, "configure_optimizers"), kind)
    in_turn = takes(module, "training_step", "optimizer_idx")
    if module.automatic_optimization and len(made.optimizers) > 1 and not in_turn:
        raise ValueError(
            f"{kind} has {len(made.optimizers)} optimizers, and optimizes automatically, which "
            f"Lightning 2 does with one alone; set self.automatic_optimization = False, and step "
            f"them in training_step: d, g = self.optimizers()."
        )
    for one in made.schedulers:
        _check_scheduler(one, made.optimizers, module)
    return made


def read(returned: Any, kind: str) -> Configured:
    """Understand what ``configure_optimizers`` has returned.

    Args:
        returned: that.
        kind: the module's class, for messages.

    Raises:
        TypeError: for what is none of the forms.
        ValueError: for what contradicts itself.

    Example:
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> halving = torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5)
        >>> by_step = {"scheduler": halving, "interval": "step"}
        >>> read([[sgd], [by_step]], "Net").schedulers[0].interval
        'step'
    """
    if returned is None:
        return Configured([NoOptimizer()], [])
    if isinstance(returned, Optimizer):
        return Configured([returned], [])
    if isinstance(returned, Mapping):
        return _of_dicts([returned], kind)
    if isinstance(returned, (list, tuple)) and returned:
        if _are(Mapping, returned):
            return _of_dicts(returned, kind)
        if _are(Optimizer, returned):
            return Configured(list(returned), [])
        if len(returned) == 2 and isinstance(returned[0], list) and _are(Optimizer, returned[0]):
            schedulers = returned[1] if isinstance(returned[1], (list, tuple)) else [returned[1]]
            return Configured(
                list(returned[0]), [_scheduled(one, None, kind) for one in schedulers]
            )
    raise TypeError(
        f"{kind}.configure_optimizers() returned {_described(returned)}, which is none of{_FORMS}"
    )


def _of_dicts(given: Iterable[Mapping[str, Any]], kind: str) -> Configured:
    made = Configured([], [])
    for one in given:
        if "frequency" in one:
            raise ValueError(
                f"{kind}.configure_optimizers() gives an optimizer a 'frequency', which Lightning "
                f"has given up with version 2; set self.automatic_optimization = False, and step "
                f"each optimizer in training_step as often as it is to be."
            )
        _check_keys(one, _OF_OPTIMIZERS, "an optimizer", kind)
        if not isinstance(one.get("optimizer"), Optimizer):
            raise TypeError(
                f"{kind}.configure_optimizers() returned a dict whose 'optimizer' is "
                f"{_described(one.get('optimizer'))}; it takes one of{_FORMS}"
            )
        made.optimizers.append(one["optimizer"])
        if one.get("lr_scheduler") is not None:
            made.schedulers.append(_scheduled(one["lr_scheduler"], one.get("monitor"), kind))
    return made


def _scheduled(given: Any, monitor: str | None, kind: str) -> Scheduled:
    """A scheduler with what is said of it."""
    said = dict(given) if isinstance(given, Mapping) else {"scheduler": given}
    _check_keys(said, [field.name for field in fields(Scheduled)], "a scheduler", kind)
    if "scheduler" not in said:
        raise ValueError(
            f"{kind}.configure_optimizers() has a scheduler's dict without 'scheduler'."
        )
    plateau = isinstance(said["scheduler"], ReduceLROnPlateau)
    one = Scheduled(**{"reduce_on_plateau": plateau, "monitor": monitor, **said})
    if one.interval not in ("epoch", "step"):
        raise ValueError(
            f"{kind}.configure_optimizers() has a scheduler whose interval is 'epoch' or 'step', "
            f"given {one.interval!r}.{nearest(str(one.interval), ('epoch', 'step'))}"
        )
    if isinstance(one.frequency, bool) or not isinstance(one.frequency, int) or one.frequency < 1:
        raise ValueError(
            f"{kind}.configure_optimizers() has a scheduler whose frequency is a whole number "
            f"from 1, given {one.frequency!r}."
        )
    return one


def _check_keys(given: Mapping[str, Any], known: Iterable[str], what: str, kind: str) -> None:
    names = list(known)
    if unknown := [name for name in given if name not in names]:
        raise ValueError(
            f"{kind}.configure_optimizers() says {unknown[0]!r} of {what}, which has "
            f"{', '.join(names)}.{nearest(str(unknown[0]), names)}"
        )


def _check_scheduler(one: Scheduled, optimizers: list[Optimizer], module: Any) -> None:
    """Refuse what could not be moved; by hand the module moves it itself."""
    kind, scheduler = type(module).__name__, type(one.scheduler).__name__
    if not callable(getattr(one.scheduler, "state_dict", None)):
        raise TypeError(
            f"{kind}.configure_optimizers() gave {one.scheduler!r:.80} for a scheduler, which has "
            f"no state_dict(), so that no run could go on with it."
        )
    bound = getattr(one.scheduler, "optimizer", None)
    if bound is not None and all(bound is not other for other in optimizers):
        raise ValueError(
            f"{kind}.configure_optimizers() has a {scheduler} that is bound to an optimizer which "
            f"it did not return; return that, too."
        )
    if not module.automatic_optimization:
        return
    if one.reduce_on_plateau and one.monitor is None:
        raise ValueError(
            f"{kind}.configure_optimizers() has a {scheduler}, but does not say what it looks at: "
            f'{{"optimizer": …, "lr_scheduler": …, "monitor": "val_loss"}}.'
        )
    if not isinstance(one.scheduler, torch.optim.lr_scheduler.LRScheduler) and not overridden(
        module, "lr_scheduler_step"
    ):
        raise TypeError(
            f"{kind}.configure_optimizers() has a {scheduler}, which is no scheduler of torch; "
            f"write lr_scheduler_step(self, scheduler, metric), which moves it."
        )


def _are(kind: type, several: Iterable[Any]) -> bool:
    return all(isinstance(one, kind) for one in several)


def _described(given: Any) -> str:
    if isinstance(given, (list, tuple)):
        parts = ", ".join(map(_described, given)) or "nothing"
        return f"a {type(given).__name__} of {parts}"
    return "nothing" if given is None else f"a {type(given).__name__}"
