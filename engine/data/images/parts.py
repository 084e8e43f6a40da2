"""Parts of a collection of images: to train on, to validate with, to test with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DataError, nearest
from .cifar10 import cifar10
from .folder import ImageFolder
from .mnist import mnist

__all__ = ["COLLECTIONS", "cut", "parts_of"]

Samples = tuple[Tensor, Tensor]

COLLECTIONS: Mapping[str, Callable[..., Samples]] = {"mnist": mnist, "cifar10": cifar10}
"""Collections that are known by name, each with a part to test with."""


def cut(samples: Samples, *ends: float, seed: int = 0) -> list[Samples]:
    """Samples in a random order, in parts.

    Args:
        samples: images and labels, of the same first dimension.
        ends: the share of all samples behind which each part ends, ascending, from 0 to 1; the
            last part has what is left.
        seed: of the order.

    Example:
        >>> samples = torch.arange(10.0), torch.arange(10)
        >>> [labels.tolist() for _, labels in cut(samples, 0.6, 0.8, seed=3)]
        [[6, 0, 3, 7, 8, 5], [1, 9], [2, 4]]
    """
    images, labels = samples
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    places = [round(end * len(order)) for end in ends]
    return [(images[part], labels[part]) for part in order.tensor_split(places)]


def parts_of(
    data: str, *, seed: int = 0, size: int = 32, kept: str | Path = "data"
) -> tuple[Samples, Samples, Samples]:
    """Images and labels in memory, in parts to train on, to validate with and to test with.

    A collection has samples to test with; a tenth of its others, drawn by the seed, validates. A
    folder's images are dealt out by the seed, 70, 15 and 15 percent.

    Args:
        data: ``"mnist"``, ``"cifar10"``, or a folder, whose folders are the classes of its images,
            as :class:`~footplate.engine.data.images.folder.ImageFolder` reads them.
        seed: of what goes into which part.
        size: of images from a folder, in pixels.
        kept: the folder in which files of a collection are kept, once they are fetched.

    Returns:
        for each part images, float32 of shape (N, C, H, W) from 0 to 1, and labels, int64 (N,).

    Raises:
        DataError: if there is no such collection or folder, or its images can't be had.

    Example:
        >>> try:
        ...     parts_of("minst")
        ... except DataError as error:
        ...     print(str(error).partition("; ")[2])
        there are mnist, cifar10. Did you mean 'mnist'?
    """
    if read := COLLECTIONS.get(data):
        train, val = cut(read(kept), 0.9, seed=seed)
        return train, val, read(kept, "test")
    if not Path(data).is_dir():
        raise DataError(
            f"{data!r} is no folder, and no collection; there are {', '.join(COLLECTIONS)}."
            f"{nearest(data, COLLECTIONS)}"
        )
    train, val, test = cut(ImageFolder(data, size=size).in_memory(), 0.7, 0.85, seed=seed)
    return train, val, test
