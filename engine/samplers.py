"""Which parts of a loader follow the number of the pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["parts_of", "samplers_in"]

_INNER = ("batch_sampler", "sampler", "dataset", "dataloader", "loader", "loaders")
_MOST = 64  # longer ones are data, not loaders


def samplers_in(loader: Any) -> Iterator[Any]:
    """Whatever in a loader, however deeply wrapped, has a ``set_epoch`` method.

    Example:
        >>> from torch.utils.data import DataLoader, DistributedSampler
        >>> sampler = DistributedSampler(range(4), num_replicas=1, rank=0)
        >>> list(samplers_in(DataLoader(range(4), sampler=sampler))) == [sampler]
        True
    """
    return (one for one in parts_of(loader) if callable(getattr(one, "set_epoch", None)))


def parts_of(loader: Any) -> Iterator[Any]:
    """A loader, what it wraps, and the samplers and data sets in there, each once."""
    waiting, seen = [loader], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, (dict, list, tuple)) and len(one) <= _MOST:
            waiting.extend(one.values() if isinstance(one, dict) else one)
        waiting.extend(getattr(one, name, None) for name in _INNER)
