"""Which parts of a loader follow the number of the pass, and which decide on its order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["loaders_in", "parts_of", "samplers_in"]

_INNER = ("batch_sampler", "sampler", "dataset", "dataloader", "loader")


def samplers_in(loader: Any) -> Iterator[Any]:
    """Whatever in a loader, however deeply wrapped, has a ``set_epoch`` method.

    Example:
        >>> from torch.utils.data import DataLoader, DistributedSampler
        >>> sampler = DistributedSampler(range(4), num_replicas=1, rank=0)
        >>> list(samplers_in(DataLoader(range(4), sampler=sampler))) == [sampler]
        True
    """
    return (one for one in parts_of(loader) if callable(_attribute(one, "set_epoch")))


def loaders_in(loader: Any) -> Iterator[Any]:
    """Whatever in a loader has a data set and a sampler, as torch's DataLoader has.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader(range(4))
        >>> list(loaders_in(loader)) == [loader]
        True
    """
    return (
        one
        for one in parts_of(loader)
        if _attribute(one, "dataset") is not None and _attribute(one, "sampler") is not None
    )


def parts_of(loader: Any) -> Iterator[Any]:
    """A loader, what it wraps, and the samplers and data sets in there, each once.

    Several loaders are found under ``loaders``. Any other list holds batches or samples, which
    are left alone.
    """
    waiting, seen = [loader], dict[int, Any]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one  # kept, as no other may have its id
        yield one
        waiting.extend(_attribute(one, name) for name in _INNER)
        several = _attribute(one, "loaders")
        if isinstance(several, (Mapping, list, tuple)):
            waiting.extend(several.values() if isinstance(several, Mapping) else several)


def _attribute(one: Any, name: str) -> Any:
    """An attribute, or ``None``; data may answer any name with any error."""
    try:
        return getattr(one, name, None)
    except Exception:
        return None
