"""Shared facts: what the processes of a run have to be of one mind about before it trains."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any

from ...engine.data.order import Order
from ...engine.flattened import flattened
from ...engine.placement.environment import versions
from ...engine.placement.ranks import world_size
from ...engine.samplers import parts_of

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["facts_of"]

_PACKAGES = ("footplate", "torch")


def facts_of(runner: Runner) -> dict[str, Any]:
    """The facts about a run that are the same in all its processes, by name.

    Returns:
        each value of the configuration by its path, the seed, the number of processes, versions,
        and the lengths of training data that are dealt out; empty where there is one process.
    """
    if world_size() == 1:
        return {}
    known = versions()
    return {
        "world size": world_size(),
        "seed": runner.seed,
        **{f"version of {name}": known.get(name) for name in _PACKAGES},
        "samples to train with": list(_dealt_out(runner.train_dataloader)),
        **flattened(runner.plain_config),
    }


def _dealt_out(loader: Any) -> Iterator[int]:
    """The lengths of data of which each process takes its share, by torch's sampler or by ours.

    Others may be as long as they are; each process has its own then.
    """
    for part in parts_of(loader):
        order = getattr(part, "order", None)
        if isinstance(order, Order):
            if order.world_size > 1:
                yield order.size
        elif hasattr(part, "num_replicas") and isinstance(part.dataset, Sized):
            yield len(part.dataset)
