"""Tables: what has to be known of the data sets of the datasets library, which is not imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..placement.ranks import gathered, rank, world_size
from ..samplers import parts_of
from ..step.guests import descends_from

__all__ = ["are_different", "dealt_stream", "forgets_its_buffer"]


def forgets_its_buffer(data: Any) -> bool:
    """Whether data come from a stream that shuffles in a buffer, which its state does not hold.

    Such a stream can't be set to where it stood: samples that were in the buffer would be left out.
    Its order follows from seed and epoch, so that it can be walked over again.

    Args:
        data: a stream of the datasets library, or what wraps one, as a ``DataLoader`` does.

    Example:
        >>> forgets_its_buffer([1, 2, 3])
        False
    """
    return any(
        type(layer).__name__ == "BufferShuffledExamplesIterable" and layer.buffer_size > 1
        for part in parts_of(data)
        if _is_stream(part)
        for layer in _layers(part._ex_iterable)
    )


def dealt_stream(dataset: Any) -> Any:
    """A stream over this process's share, as ``split_dataset_by_node`` deals it out.

    Whole shards go to the processes where their number allows it; else each process takes every
    so many-th sample.

    Args:
        dataset: an iterable data set; one of the datasets library that is not dealt out yet is.

    Returns:
        the share; the data set itself, if there is nothing to deal out.

    Example:
        >>> dealt_stream("no stream")
        'no stream'
    """
    if not _is_stream(dataset) or dataset._distributed is not None or world_size() == 1:
        return dataset
    from datasets.distributed import split_dataset_by_node

    return split_dataset_by_node(dataset, rank=rank(), world_size=world_size())


def are_different(dataset: Any) -> bool:
    """Whether the processes have tables of different contents; all of them have to call this.

    Args:
        dataset: this process's; nothing is asked of one that is no table.
    """
    if not descends_from(dataset, "Dataset", "datasets"):
        return False
    return len(set(gathered(dataset._fingerprint))) > 1


def _is_stream(dataset: Any) -> bool:
    return descends_from(dataset, "IterableDataset", "datasets")


def _layers(one: Any) -> Iterator[Any]:
    """What a stream is made of, from the outside in."""
    yield one
    inner = getattr(one, "ex_iterable", None)
    for each in getattr(one, "ex_iterables", [] if inner is None else [inner]):
        yield from _layers(each)
