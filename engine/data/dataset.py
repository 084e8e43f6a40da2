"""What data say of the samples behind them: what they are about, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..samplers import loaders_in, parts_of
from ..source import length_of

__all__ = ["meta_of", "size_of"]

_NAMES = ("metainfo", "dataset_meta")


def meta_of(data: Any) -> Mapping[str, Any] | None:
    """What a data set says of itself, such as the names of its classes.

    Asked are the data, what they wrap, and the data sets within, such as those of a ``Subset`` or
    a ``ConcatDataset``, for a mapping under ``metainfo`` or ``dataset_meta``, as MMEngine has it.

    Args:
        data: a loader, or anything else that can be run over.

    Returns:
        that of the first that has any; ``None`` if none does.

    Example:
        >>> from torch.utils.data import DataLoader, Subset
        >>> class Pets(list):
        ...     metainfo = {"classes": ("cat", "dog")}
        >>> meta_of(DataLoader(Subset(Pets([0, 1, 1]), [0, 2])))
        {'classes': ('cat', 'dog')}
    """
    return next(_metas(data), None)


def size_of(data: Any) -> int | None:
    """How many samples there are behind the data, over all processes, each counted once.

    Args:
        data: a loader, or anything else that can be run over.

    Returns:
        the length of its data set; ``None`` where that is not to be known, and for several.

    Example:
        >>> from torch.utils.data import DataLoader, DistributedSampler
        >>> sampler = DistributedSampler(range(5), num_replicas=2, rank=1)
        >>> len(sampler), size_of(DataLoader(range(5), sampler=sampler)), size_of([[0, 1], [2]])
        (3, 5, None)
    """
    sizes = {length_of(loader.dataset) for loader in loaders_in(data)}
    sizes |= {
        size
        for part in parts_of(data)
        if isinstance(size := _asked(_asked(part, "order"), "size"), int)
    }
    return sizes.pop() if len(sizes) == 1 else None


def _metas(data: Any) -> Iterator[Mapping[str, Any]]:
    for part in parts_of(data):
        found = (_asked(part, name) for name in _NAMES)
        yield from (meta for meta in found if isinstance(meta, Mapping))
        datasets = _asked(part, "datasets")
        for one in datasets if isinstance(datasets, (list, tuple)) else ():
            yield from _metas(one)


def _asked(one: Any, name: str) -> Any:
    """An attribute, or ``None``; data may answer any name with any error."""
    try:
        return getattr(one, name, None)
    except Exception:
        return None
