"""Results: what ``self.log`` of a LightningModule gathers over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import nearest
from ...nested import samples_in

__all__ = ["Logged", "Results"]

_REDUCTIONS = {"mean": "mean", "avg": "mean", "sum": "sum", "min": "min", "max": "max"}
_START = {"mean": 0.0, "sum": 0.0, "min": float("inf"), "max": float("-inf")}


@dataclass
class Logged:
    """One name that is logged in one hook.

    Attributes:
        hook: the hook.
        name: what it is logged as.
        loader_idx: the number of the loader that it is of, where there are several.
        on_step, on_epoch: whether it is shown by batch, and reduced over the epoch.
        reduce: ``"mean"``, ``"sum"``, ``"min"`` or ``"max"`` over the epoch.
        bar, logger: whether progress bars and loggers show it.
        sync: reduces it over processes, given value and reduction; ``None`` where that is not
            wanted.
        suffixed: whether the loader's number stands behind the name.
        metric: the metric of torchmetrics that it is, which reduces itself.
        latest: the value of the batch at hand.
        total, weight: what was gathered of the epoch.
        touched: whether there is anything since the epoch began.
    """

    hook: str
    name: str
    loader_idx: int | None
    on_step: bool
    on_epoch: bool
    reduce: str
    bar: bool
    logger: bool
    suffixed: bool
    sync: Callable[[Tensor, str], Tensor] | None = field(default=None, compare=False)
    metric: Any = field(default=None, compare=False)
    latest: Tensor | None = field(default=None, compare=False)
    total: Any = field(default=None, compare=False)
    weight: Any = field(default=0, compare=False)
    touched: bool = field(default=False, compare=False)
    _computed: Any = field(default=None, compare=False)

    @property
    def _suffix(self) -> str:
        several = self.suffixed and self.loader_idx is not None
        return f"/dataloader_idx_{self.loader_idx}" if several else ""

    @property
    def base(self) -> str:
        """Its name, with the loader's number."""
        return f"{self.name}{self._suffix}"

    def shown_as(self, *, by_step: bool) -> str:
        """Its name by batch or by epoch, which differ only if it is shown by both."""
        both = self.on_step and self.on_epoch
        kind = ("_step" if by_step else "_epoch") if both else ""
        return f"{self.name}{kind}{self._suffix}"

    def take(self, value: Any, weight: int) -> None:
        """Take in the value of a batch."""
        self.touched, self._computed = True, None
        if not isinstance(value, Tensor):
            latest = getattr(value, "_forward_cache", None)
            self.metric, self.latest = value, latest if latest is None else latest.detach()
            return
        value = _wide(value)
        if self.on_step:
            self.latest = self._together(value, self.reduce)
        if not self.on_epoch:
            return
        if self.total is None:
            self.total = torch.tensor(_START[self.reduce], device=value.device)
        if self.reduce == "mean":
            self.total, self.weight = self.total + value * weight, self.weight + weight
        elif self.reduce == "sum":
            self.total = self.total + value
        else:
            self.total = getattr(torch, self.reduce)(self.total, value)

    def over_epoch(self) -> Tensor | None:
        """What it is over the epoch so far."""
        if self._computed is None:
            self._computed = self._over_epoch()
        return self._computed  # type: ignore[no-any-return]

    def _over_epoch(self) -> Any:
        if self.metric is not None:
            return self.metric.compute().detach()
        if self.reduce != "mean":
            return self._together(self.total, self.reduce)
        weight = torch.tensor(self.weight, device=self.total.device)
        return self._together(self.total, "mean") / self._together(weight, "mean")

    def _together(self, value: Tensor, reduction: str) -> Tensor:
        return value if self.sync is None else self.sync(value, reduction)

    def forget(self) -> None:
        """Begin the next epoch."""
        if self.metric is not None:
            self.metric.reset()
        self.latest = self.total = self._computed = None
        self.weight, self.touched = 0, False


class Results:
    """What a module logs in the runs of one engine; ``self.log`` puts it here.

    Args:
        training: whether that engine trains.
        metrics: finds the metrics of the module by their names in it.
        reduce: reduces a tensor over the processes, as ``Strategy.reduce`` does.

    Attributes:
        by_step: whether a batch is at hand, or values of the epoch are asked for.
        batch: the batch at hand.
        loader_idx: its loader's number, where there are several.

    Example:
        >>> results = Results(training=False)
        >>> for loss, batch in ((1.0, torch.zeros(3, 1)), (5.0, torch.zeros(1, 1))):
        ...     results.batch = batch
        ...     results.log("validation_step", "val_loss", torch.tensor(loss))
        >>> results.values("callback")
        {'val_loss': tensor(2.)}
    """

    def __init__(
        self,
        *,
        training: bool,
        metrics: Callable[[str], Any] = lambda name: None,
        reduce: Callable[..., Any] = lambda value, **how: value,
    ) -> None:
        self.training = training
        self.by_step = False
        self.batch: Any = None
        self.loader_idx: int | None = None
        self._metrics = metrics
        self._reduce = reduce
        self._logged: dict[tuple[str, str, int | None], Logged] = {}
        self._metric_names: dict[tuple[str, str, int | None], str] = {}

    def __iter__(self) -> Iterator[Logged]:
        return (one for one in self._logged.values() if one.touched)

    def log(
        self,
        fx: str,
        name: str,
        value: Any,
        *,
        prog_bar: bool = False,
        logger: bool = True,
        on_step: bool = False,
        on_epoch: bool = True,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_fn: Any = None,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Take in a value; the arguments are those of ``self.log``.

        Raises:
            ValueError: for a reduction that is none, for neither step nor epoch, and for a name
                that is logged in one hook in two ways.
        """
        if not (on_step or on_epoch):
            raise ValueError(f"self.log({name!r}, on_step=False, on_epoch=False) shows nothing.")
        told = Logged(
            fx,
            name,
            self.loader_idx if add_dataloader_idx else None,
            on_step,
            on_epoch,
            _reduction(reduce_fx, name),
            prog_bar,
            logger,
            add_dataloader_idx,
        )
        key = fx, name, told.loader_idx
        one = self._logged.setdefault(key, told)
        if one != told:
            raise ValueError(
                f"self.log({name!r}) is called twice in {fx}() with other arguments; give one of "
                f"the two another name."
            )
        if metric_attribute is not None:
            self._metric_names[key] = metric_attribute
        synced = sync_dist and not rank_zero_only
        one.sync = self._synced(sync_dist_group) if synced else None
        if isinstance(value, Tensor) and not enable_graph:
            value = value.detach()
        one.take(value, self._weight(one, batch_size))

    def _synced(self, group: Any) -> Callable[[Tensor, str], Tensor]:
        return lambda value, by: self._reduce(value, group=group, reduce_op=by)

    def _weight(self, one: Logged, batch_size: int | None) -> int:
        if batch_size is not None or not one.on_epoch or one.reduce != "mean":
            return 1 if batch_size is None else batch_size
        return 1 if self.batch is None else samples_in(self.batch)

    def reset(self) -> None:
        """Forget everything."""
        for one in self:
            one.forget()

    def values(self, kind: str) -> dict[str, Tensor]:
        """What stands at the moment: of the batch while one is at hand, and else of the epoch.

        Args:
            kind: for whom: ``"callback"``, ``"log"`` or ``"bar"``.
        """
        found: dict[str, Tensor] = {}
        for one in self:
            if self.by_step and self.loader_idx != one.loader_idx and one.loader_idx is not None:
                continue
            value = self._value(one)
            if value is None:
                continue
            shown = one.shown_as(by_step=self.by_step)
            if kind == "callback" and (self.training or not self.by_step):
                found[one.base] = found[shown] = value
            elif (kind == "log" and one.logger) or (kind == "bar" and one.bar):
                found[shown] = value
        return found

    def _value(self, one: Logged) -> Tensor | None:
        if self.by_step:
            return one.latest if one.on_step else None
        return one.over_epoch() if one.on_epoch else None

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """What was gathered of the epoch, in plain values; metrics keep theirs themselves."""
        kept = ("hook", "name", "loader_idx", "on_step", "on_epoch", "reduce", "bar", "logger")
        return {
            "logged": [
                {
                    **{name: getattr(one, name) for name in kept},
                    "suffixed": one.suffixed,
                    "total": None if one.total is None else one.total.detach().clone(),
                    "weight": one.weight,
                    "synced": one.sync is not None,
                    "metric": self._metric_names.get(key),
                }
                for key, one in self._logged.items()
                if one.touched
            ]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._logged.clear()
        for told in state["logged"]:
            said = dict(told)
            metric, synced = said.pop("metric"), said.pop("synced")
            one = Logged(**said, touched=True)
            one.sync = self._synced(None) if synced else None
            key = one.hook, one.name, one.loader_idx
            if metric is not None:
                self._metric_names[key], one.metric = metric, self._metrics(metric)
            self._logged[key] = one


def _reduction(given: Any, name: str) -> str:
    """The name of a reduction that is given by name or as a function."""
    said = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
    found = _REDUCTIONS.get(said.lower())
    if found is None:
        raise ValueError(
            f"self.log({name!r}, reduce_fx={given!r}): an epoch is reduced by mean, sum, min or "
            f"max; for anything else log a metric of torchmetrics.{nearest(said, _REDUCTIONS)}"
        )
    return found


def _wide(value: Tensor) -> Tensor:
    """A value in single precision, at least."""
    return value if value.dtype in (torch.float32, torch.float64) else value.to(torch.float32)
