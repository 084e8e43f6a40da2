"""Randomness of samples that follows the sample, not who loads it."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

__all__ = ["PassIndex", "SampleRandomness"]


class PassIndex(NamedTuple):
    """The index of a sample, with the pass that it is loaded for.

    It travels with the index, since nothing else reaches a worker process in time.

    Attributes:
        number: of the pass, from 0.
        sample: the index into the data set.
    """

    number: int
    sample: int


class SampleRandomness(Dataset[Any]):
    """A data set whose samples are random by (seed, pass, index) alone.

    While a sample is loaded, the global generators of Python, of numpy (the legacy one, behind
    ``np.random.rand``) and of torch on the CPU are seeded for it; then they are put back as they
    were. So augmentation is the same for any number of workers and any batch size, and training in
    the same process draws what it would draw without it. Generators that the data set owns are
    left alone.

    It is indexed by :class:`PassIndex`, as an :class:`~footplate.engine.data.order.OrderSampler`
    gives them ``with_pass=True``. All other attributes are those of the data set.

    Args:
        dataset: a map-style data set. One with ``__getitems__`` is asked for one sample at a time.
        seed: a whole number.

    Attributes:
        dataset: the data set.
        seed: the seed.

    Raises:
        TypeError: for a data set that can't be indexed; when indexed by anything else.

    Example:
        >>> class Noise(Dataset):
        ...     def __getitem__(self, index):
        ...         return random.random()
        >>> noise = SampleRandomness(Noise(), seed=1)
        >>> noise[PassIndex(0, 7)] == noise[PassIndex(0, 7)]
        True
        >>> noise[PassIndex(0, 7)] == noise[PassIndex(1, 7)]
        False
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"randomness by sample needs a data set with indices, given "
                f"a {type(dataset).__name__}; give one that has __getitem__."
            )
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, index: PassIndex) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[PassIndex]) -> list[Any]:
        """The samples of a batch; the generators are put back once, which is the dearer part."""
        with _put_back():
            return [self._load(index) for index in indices]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)  # asked while it is unpickled, and has no data set yet
        return getattr(self.dataset, name)

    def _load(self, index: PassIndex) -> Any:
        if not isinstance(index, PassIndex):
            raise TypeError(
                f"the randomness of a sample follows its pass, which the index {index!r} does not "
                f"tell; index by PassIndex(pass, index), or have ordered_loader(…, sample_rng=True)"
                f" make the loader."
            )
        _seed_generators(self.seed, *index)
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__([index.sample])[0]
        return self.dataset[index.sample]


def _seed_generators(seed: int, number: int, sample: int) -> None:
    """Seed each by a word of its own; the CPU generator of torch takes no more than 32 bits."""
    mixed = hashlib.blake2b(f"sample {seed} {number} {sample}".encode(), digest_size=12)
    for_python, for_numpy, for_torch = struct.unpack("<3I", mixed.digest())
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.default_generator.manual_seed(for_torch)  # not the GPUs', as torch.manual_seed would


@contextmanager
def _put_back() -> Generator[None, None, None]:
    python, legacy = random.getstate(), np.random.get_state()
    cpu = torch.default_generator.get_state()  # a worker process must not touch the GPUs
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.default_generator.set_state(cpu)
