"""Learning-rate finder: what the loss does while the rate grows, and which rate that suggests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from ..beginning import check_data
from ..data.charts import chart
from ..engine import Engine
from ..errors import DataError, nearest
from ..stream.scalars import scalars_of
from .optimization import Optimization
from .rehearsal import Rehearsal, cycled, rehearsal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LRSearch", "find_lr", "set_lr"]

_GROWTHS = ("exponential", "linear")
_PATIENCE = 100  # full windows of batches that may pass by without a step of the optimizer


@dataclass(frozen=True, repr=False)
class LRSearch:
    """What a learning-rate finder saw. Printed, it names the suggestion.

    Attributes:
        rates: the rates that were tried, in growing order.
        losses: the loss at each of them, before the step with that rate; the mean over the batches
            of one optimizer step.
        smoothed: the running mean of the losses; see :func:`find_lr`.
        suggestion: the rate where the smoothed loss falls most steeply; ``None`` if it does not.
        reason: why there is no suggestion; ``None`` if there is one.
        ended: why the search ended.

    Example:
        >>> import torch
        >>> from footplate.engine.step.training import training_step
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(model, sgd, nn.functional.mse_loss), name="train")
        >>> search = find_lr(trainer, [(torch.ones(8, 1), torch.ones(8, 1))], steps=20)
        >>> len(search.rates) == len(search.losses) == len(search.smoothed)
        True
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    reason: str | None
    ended: str

    def plot(self, path: str | Path) -> None:
        """Draw the losses over the rates, with the suggestion marked.

        Args:
            path: where the PNG goes; its folder is made if need be.
        """
        with chart(path, height=4) as (axis,):
            self._draw(axis)

    def _draw(self, axis: Axes) -> None:
        axis.set_xscale("log")
        axis.plot(self.rates, self.losses, ".", color="tab:gray", alpha=0.4, label="loss")
        axis.plot(self.rates, self.smoothed, color="tab:blue", label="smoothed")
        if self.suggestion is not None:
            there = self.smoothed[self.rates.index(self.suggestion)]
            axis.axvline(self.suggestion, color="tab:red", linewidth=1, linestyle="--")
            label = f"suggestion {self.suggestion:.3g}"
            axis.plot(self.suggestion, there, "o", color="tab:red", label=label)
        if len(set(self.smoothed)) > 1:  # a diverging loss would press all else flat
            low, high = min(self.losses), max(self.smoothed)
            axis.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        axis.set_title(self._said, loc="left", fontsize=10, wrap=True)
        axis.set_xlabel("learning rate")
        axis.set_ylabel("loss")

    @property
    def _said(self) -> str:
        if self.suggestion is None:
            return f"no suggestion: {self.reason}"
        return f"suggested learning rate: {self.suggestion:.3g}"

    def __repr__(self) -> str:
        span = f"{self.rates[0]:.3g} … {self.rates[-1]:.3g}" if self.rates else "none"
        return f"<LRSearch: {self._said}; tried {len(self.rates)} rates, {span}; {self.ended}>"


def find_lr(
    trainer: Engine,
    data: Any,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    growth: Literal["exponential", "linear"] = "exponential",
    smoothing: float = 0.05,
    stop_at: float = 5.0,
    optimizer: str | None = None,
    model: nn.Module | None = None,
) -> LRSearch:
    """Train for some steps at growing rates, watch the loss, and put everything back.

    The range test of Smith, "Cyclical Learning Rates for Training Neural Networks", 2017. Losses
    are smoothed by an exponentially weighted mean with bias correction, as fastai and Lightning
    do. Suggested is, as by pytorch-ignite, the rate where the smoothed loss falls most steeply on
    the way to its lowest value: by central differences over the logarithm of the rate, without
    the first tenth of the rates, where the mean is still unsteady. The mean lags behind by about
    ``1 / smoothing`` steps, so the suggestion is rather high; more steps bring it closer. There is
    none if the fall is smaller than what losses scatter from step to step.

    Training goes on behind a search as it would without one; see :func:`.rehearsal` for what is
    put back, and what can't be. One rate is tried for each optimizer step, so a window of
    accumulated batches has one. The parameter groups keep the proportions of their present rates;
    the rate that is spoken of is that of the group with the highest; see :func:`set_lr`.

    Args:
        trainer: an engine with a :class:`.TrainingStep`; or with an :class:`.Optimization`
            attached and a step that uses it and returns the loss, or a dict with ``"loss"``.
        data: what to train on; gone through again if there is less than needed. Of one-shot data
            the batches are spent.
        lowest: the first rate.
        highest: the last one.
        steps: how many rates there are.
        growth: ``"exponential"``, by equal factors, or ``"linear"``, by equal differences.
        smoothing: what a new loss weighs in the mean, up to 1 for no smoothing.
        stop_at: the search ends when the smoothed loss is so many times the lowest one; for
            losses below 0, when it has risen by so many times less one of its magnitude.
        optimizer: whose rate is looked for, by name, if there are several; others keep theirs.
        model: what is trained, if the step is not a :class:`.TrainingStep`.

    Returns:
        rates, losses and the suggestion. A loss that is not finite ends the search, and is not
        among them.

    Raises:
        ValueError: for options that make no sense, an unknown optimizer, a trainer without one, a
            report without a loss, and rates that are all 0.
        TypeError: for what is no engine or can't be iterated over, and if ``model`` is missing.
        DataError: if the data are empty, or one-shot and too short.
        RuntimeError: if the trainer is running, or its step moves the rate or makes no steps.

    Example:
        >>> from footplate.engine.step.training import training_step
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Linear(8, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(model, sgd, nn.functional.mse_loss), name="train")
        >>> x = torch.randn(64, 8)
        >>> search = find_lr(trainer, [(x, x.sum(1, keepdim=True))])
        >>> 0.001 < search.suggestion < 1.0
        True
        >>> search.plot("rates.png")
        >>> set_lr(sgd, search.suggestion)
    """
    rates = _growing(lowest, highest, steps, growth)
    _check_smoothing(smoothing, stop_at)
    check_data(data)
    if data is None:
        raise DataError("find_lr() was given no data; give what the trainer is to be run on.")
    curve = _Curve(smoothing, stop_at)
    with rehearsal(trainer, model) as rehearsing:
        chosen = _chosen(rehearsing.optimizations, optimizer)
        rehearsing.keep_data(data)
        rehearsing.report_losses()
        _follow(curve, rehearsing, chosen, cycled(data), rates)
    return curve.search()


def set_lr(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of an optimizer, and keep the proportions of its parameter groups.

    Args:
        optimizer: the optimizer.
        rate: the new rate of the group that has the highest; the others follow in proportion.

    Raises:
        ValueError: for a rate that is not above 0; if the present rates are all 0.
        RuntimeError: if a scheduler is bound to the optimizer: it has taken the rate as it was.

    Example:
        >>> import torch
        >>> slow, fast = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        >>> sgd = torch.optim.SGD([{"params": slow, "lr": 0.25}, {"params": fast, "lr": 0.5}])
        >>> set_lr(sgd, 2.0)
        >>> [group["lr"] for group in sgd.param_groups]
        [1.0, 2.0]
    """
    if not _is_number(rate) or not 0 < rate < math.inf:
        hint = "; the search says as .reason why it suggests none" if rate is None else ""
        raise ValueError(f"a learning rate is a number above 0, given {rate!r}{hint}.")
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise RuntimeError(
            "a scheduler is bound to this optimizer, and has taken the rate as it was; call "
            "set_lr() between making the optimizer and making its schedulers."
        )
    _set_rates(optimizer, rate, _shares(optimizer))


# ---------------------------------------------------------------------- the curve


class _Curve:
    """Rates and losses as they come in, and when they are enough."""

    def __init__(self, smoothing: float, stop_at: float) -> None:
        self.smoothing = smoothing
        self.stop_at = stop_at
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.mean = 0.0
        self.ended = "all were tried"

    def ends_with(self, rate: float, loss: float) -> bool:
        """Take a point in; say whether it is the last one."""
        if not math.isfinite(loss):
            self.ended = f"ended at {rate:.3g}, where the loss was {loss}"
            return True
        self.rates.append(rate)
        self.losses.append(loss)
        self.mean += self.smoothing * (loss - self.mean)
        self.smoothed.append(self.mean / (1 - (1 - self.smoothing) ** len(self.losses)))
        lowest = min(self.smoothed)
        if self.smoothed[-1] - lowest > (self.stop_at - 1) * abs(lowest):
            self.ended = f"ended at {rate:.3g}, where the smoothed loss had risen too far"
            return True
        return False

    def search(self) -> LRSearch:
        suggestion = reason = None
        found = self._steepest()
        if isinstance(found, str):
            reason = found
        else:
            suggestion = self.rates[found]
        points = tuple(self.rates), tuple(self.losses), tuple(self.smoothed)
        return LRSearch(*points, suggestion, reason, self.ended)

    def _steepest(self) -> int | str:
        """Where the smoothed loss falls most steeply, or why that is nowhere."""
        values, first = self.smoothed, len(self.smoothed) // 10
        if len(values) - first < 3:
            return f"{len(values)} rates are too few to see a slope; {self.ended}"
        lowest = min(range(first, len(values)), key=values.__getitem__)
        fall = values[first] - values[lowest]
        steps = zip(self.losses, self.losses[1:], strict=False)
        scatter = statistics.median(abs(after - before) for before, after in steps)
        if math.isclose(values[first], values[lowest]):
            return "the loss never falls"
        if fall < scatter:
            return (
                f"the loss falls by {fall:.3g} at most, and scatters by {scatter:.3g} from step "
                f"to step; take larger batches"
            )
        inner = range(first + 1, max(lowest, first + 2))
        return min(inner, key=self._slope)

    def _slope(self, place: int) -> float:
        before, behind = place - 1, place + 1
        run = math.log(self.rates[behind] / self.rates[before])
        return (self.smoothed[behind] - self.smoothed[before]) / run


def _follow(
    curve: _Curve,
    rehearsing: Rehearsal,
    optimization: Optimization,
    batches: Iterator[Any],
    rates: Sequence[float],
) -> None:
    """Make a step with each of the rates, until the curve has enough."""
    optimizer = optimization.optimizer
    shares = _shares(optimizer)
    for rate in rates:
        _set_rates(optimizer, rate, shares)
        meant = _rates_of(optimizer)
        loss = _mean_loss(rehearsing, batches, optimization)
        if _rates_of(optimizer) != meant:
            raise RuntimeError(
                f"the rate was set to {rate:g}, but the step moved it; a schedule that the step "
                f"itself moves hides what a rate does. Attach it to the trainer as an LRSchedule, "
                f"which rests during a search."
            )
        if curve.ends_with(rate, loss):
            return


def _mean_loss(rehearsing: Rehearsal, batches: Iterator[Any], optimization: Optimization) -> float:
    """The mean loss of the batches that one optimizer step takes; the first that is not finite."""
    losses: list[float] = []
    size = optimization.accumulation.size_in(rehearsing.trainer.state.epoch)
    for batch in islice(batches, _PATIENCE * size):
        loss = _loss_in(rehearsing.process(batch), optimization.name)
        if loss is None:
            continue
        losses.append(loss)
        if not math.isfinite(loss):
            return loss
        if not optimization.window.held:
            return statistics.fmean(losses)
    raise RuntimeError(
        f"{_PATIENCE * size} batches went by, and {optimization.name!r} made no step; "
        f"{len(losses)} of them had a loss for it."
    )


def _loss_in(report: Any, name: str) -> float | None:
    """What a step reports as the loss of an optimizer; ``None`` if it was not its turn."""
    named = report if isinstance(report, Mapping) else {"loss": report}
    numbers = scalars_of(named)
    for key, value in numbers.items():
        turn, _, last = key.rpartition("_")
        if key == "loss" or (last == "loss" and name in turn.split("+")):
            return value
    skipped = all(one is None for one in named.values())
    if skipped or any(key.endswith("_loss") for key in numbers):
        return None
    given = f"a {type(report).__name__}" if named is not report else f"a dict with {list(named)}"
    raise ValueError(
        f"a search needs a step that returns the loss, one number, or a dict with it as 'loss'; "
        f"this one returned {given}."
    )


# ---------------------------------------------------------------------- rates


def _growing(lowest: float, highest: float, steps: int, growth: str) -> list[float]:
    if not (_is_number(lowest) and _is_number(highest) and 0 < lowest < highest < math.inf):
        raise ValueError(
            f"rates grow from lowest, above 0, to highest, above that; given lowest={lowest!r} and "
            f"highest={highest!r}."
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps is a whole number from 2 on, given {steps!r}.")
    if growth not in _GROWTHS:
        raise ValueError(
            f"growth is 'exponential' or 'linear', given {growth!r}."
            f"{nearest(str(growth), _GROWTHS)}"
        )
    ways = [step / (steps - 1) for step in range(steps - 1)]
    if growth == "linear":
        return [*(lowest + (highest - lowest) * way for way in ways), highest]
    return [*(lowest * (highest / lowest) ** way for way in ways), highest]


def _check_smoothing(smoothing: float, stop_at: float) -> None:
    if not _is_number(smoothing) or not 0 < smoothing <= 1:
        raise ValueError(
            f"smoothing is the weight of a new loss, above 0 and up to 1, given {smoothing!r}."
        )
    if not _is_number(stop_at) or not stop_at > 1:
        raise ValueError(
            f"stop_at is a multiple of the lowest loss, above 1, given {stop_at!r}; math.inf "
            f"never stops."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _chosen(optimizations: Mapping[str, Optimization], name: str | None) -> Optimization:
    known = ", ".join(map(repr, optimizations))
    if name is None and len(optimizations) > 1:
        raise ValueError(f"the optimizers are {known}; say as optimizer= which rate to look for.")
    if name is None:
        name = next(iter(optimizations))
    if name not in optimizations:
        raise ValueError(
            f"optimizer={name!r}, but the trainer has {known}.{nearest(name, optimizations)}"
        )
    return optimizations[name]


def _rates_of(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _shares(optimizer: Optimizer) -> list[float]:
    """The present rates of the parameter groups, as parts of the highest."""
    present = [group.get("lr") for group in optimizer.param_groups]
    if any(not isinstance(one, (int, float, Tensor)) for one in present):
        raise ValueError(f"{type(optimizer).__name__} has rates {present}, which are no numbers.")
    rates = _rates_of(optimizer)
    if not max(rates) > 0:
        raise ValueError(
            "the present rates are all 0, so new ones can't be in proportion to them; give the "
            "optimizer a rate, and bind a warm-up to it later."
        )
    return [rate / max(rates) for rate in rates]


def _set_rates(optimizer: Optimizer, highest: float, shares: list[float]) -> None:
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(highest * share)  # in place: compiled steps and graphs hold it
        else:
            group["lr"] = highest * share
