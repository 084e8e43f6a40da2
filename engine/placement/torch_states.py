"""States of torchmetrics: those of several processes as one, for as long as a metric computes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .dealing import dealt_rows
from .together import Exchange

__all__ = ["merged"]

Reduction = Callable[[Any], Any]
States = dict[str, dict[str, Any]]  # by path within a metric, and name


@contextmanager
def merged(metric: nn.Module, exchange: Exchange) -> Generator[None, None, None]:
    """Have a metric, and those that it is made of, hold the states of all that take part.

    Each state is reduced as the metric has declared it, by ``add_state(…, dist_reduce_fx=)``. All
    states travel in one message. torchmetrics' own way hands them over one by one, and waits for
    ever where a list is longer in one process than in another. Rows of list states come in the
    order of the data set, if every list has as many of them as samples were dealt out. Behind the
    context the states are those of this process again.

    A metric that was told how to go about it, by ``process_group=``, ``dist_sync_fn=`` or
    ``sync_on_compute=False``, is left to do so.

    Args:
        metric: a metric of torchmetrics, or a collection.
        exchange: among those that take part.

    Example:
        >>> from torchmetrics import SumMetric
        >>> from footplate.engine.placement.together import ALONE
        >>> metric = SumMetric()
        >>> metric.update(3.0)
        >>> with merged(metric, ALONE):
        ...     metric.compute()
        tensor(3.)
    """
    parts = {path: one for path, one in metric.named_modules() if hasattr(one, "_reductions")}
    if any(map(_goes_its_own_way, parts.values())):
        yield
        return
    _share_within_groups(metric)
    own = {path: _held(one) for path, one in parts.items()}
    asked = {path: one.distributed_available_fn for path, one in parts.items()}
    try:
        for one in parts.values():
            one.distributed_available_fn = _no_others
            one._computed = None  # others may have seen a batch where this process has not
        if exchange.world_size > 1:
            _set(parts, _of_all(parts, own, exchange))
        yield
    finally:
        for path, one in parts.items():
            one.distributed_available_fn = asked[path]
        if exchange.world_size > 1:
            _set(parts, own)


def _held(metric: Any) -> dict[str, Any]:
    return {name: getattr(metric, name) for name in metric._reductions}


def _no_others() -> bool:
    return False


def _goes_its_own_way(metric: Any) -> bool:
    told = metric.process_group is not None or metric.dist_sync_fn is not None
    return told or not metric.sync_on_compute


def _share_within_groups(metric: Any) -> None:
    """Have the metrics of a collection that share their states hold them."""
    if isinstance(metric, nn.ModuleDict) and hasattr(metric, "compute_groups"):
        metric.values(copy_state=False)  # type: ignore[call-arg]


def _set(parts: Mapping[str, Any], states: States) -> None:
    for path, one in parts.items():
        for name, value in states[path].items():
            setattr(one, name, value)


def _of_all(parts: Mapping[str, Any], own: States, exchange: Exchange) -> States:
    """The states of all that take part; added on their way, if that is all there is to do."""
    places = [(path, name) for path, states in own.items() for name in states]
    reductions = [_reduction_of(parts[path], name) for path, name in places]
    if not all(one in ("dim_zero_sum", "dim_zero_mean") for one in reductions):
        return _joined(parts, exchange.all(own))
    joined: States = {path: {} for path in own}
    sums = exchange.sum([own[path][name] for path, name in places])
    for (path, name), reduction, total in zip(places, reductions, sums, strict=True):
        here = total.to(parts[path].device)
        joined[path][name] = here / exchange.world_size if "mean" in reduction else here
    return joined


def _reduction_of(metric: Any, name: str) -> str:
    """What torchmetrics calls the reduction of a state that is a tensor."""
    is_tensor = isinstance(metric._defaults[name], Tensor)
    return getattr(metric._reductions[name], "__name__", "") if is_tensor else ""


def _joined(parts: Mapping[str, Any], shares: list[States]) -> States:
    joined: States = {}
    for path, one in parts.items():
        several = {name: [share[path][name] for share in shares] for name in one._reductions}
        lists = {name for name, default in one._defaults.items() if isinstance(default, list)}
        rows = _rows_of([several[name] for name in several if name in lists])
        joined[path] = {
            name: _listed(values, one._reductions[name], rows, one.device)
            if name in lists
            else _stacked(values, one._reductions[name], one.device)
            for name, values in several.items()
        }
        _widen(joined[path])
    return joined


def _widen(states: dict[str, Any]) -> None:
    """Have the largest deviations from the mean of each share be those from the mean of all.

    torchmetrics' correlations take the one for the other, and scale by it: by nothing, where every
    share is constant, and say that the correlation is nan.
    """
    for axis in "xy":
        if {"n_total", mean := f"mean_{axis}", most := f"max_abs_dev_{axis}"} <= states.keys():
            means, counts = states[mean], states["n_total"]
            states[most] = states[most] + (means - (means * counts).sum(0) / counts.sum(0)).abs()


def _stacked(values: list[Any], reduction: Reduction | None, device: Any) -> Any:
    stacked = torch.stack([one.to(device) for one in values])
    return stacked if reduction is None else reduction(stacked)


def _listed(
    values: list[Any], reduction: Reduction | None, rows: list[int] | None, device: Any
) -> Any:
    flat = [_to(one, device) for value in values for one in _as_list(value)]
    if reduction is None or not flat:
        return flat
    everything = reduction(flat)
    fits = rows is not None and isinstance(everything, Tensor) and len(rows) == len(everything)
    return everything[rows] if fits else everything


def _rows_of(lists: Sequence[list[Any]]) -> list[int] | None:
    """Where the rows of list states are in the order of the data set, if they were dealt out."""
    counts = {tuple(sum(map(_rows, _as_list(one))) for one in values) for values in lists}
    if len(counts) != 1:
        return None
    (count,) = counts
    in_turn = list(count) == sorted(count, reverse=True) and count[0] - count[-1] <= 1
    return dealt_rows(count) if in_turn else None


def _rows(one: Any) -> int:
    return len(one) if isinstance(one, Tensor) and one.ndim else 1


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _to(one: Any, device: Any) -> Any:
    return one.to(device) if isinstance(one, Tensor) else one
