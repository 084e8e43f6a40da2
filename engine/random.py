"""Random number generators: seeding them, and taking their state along.

It stands beside the core, which never imports it, since it needs torch and numpy.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["capture", "preserved", "restore", "seed_all"]


def seed_all(seed: int | None = None, *, deterministic: bool = False) -> int:
    """Seed the generators of Python, numpy and torch, on every device.

    Args:
        seed: a whole number from 0 to 2**32 - 1; drawn from the system if ``None``.
        deterministic: whether torch must use deterministic algorithms alone, and raise where
            there are none.

    Returns:
        the seed, to be recorded with the run.

    Raises:
        ValueError: for a seed out of range.

    Example:
        >>> seed_all(7)
        7
        >>> first = torch.rand(2)
        >>> _ = seed_all(7)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed is a whole number from 0 to 2**32 - 1, given {seed}.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return seed


def capture() -> dict[str, Any]:
    """The state of every generator, in tensors and primitives.

    Returns:
        ``python``: version, words and Gaussian; ``numpy``: the same of its legacy generator, words
        as an int64 tensor; ``torch``: a uint8 tensor; ``cuda``: one for each device.
    """
    name, words, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(words, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state: dict[str, Any]) -> None:
    """Set every generator to a state that :func:`capture` gave.

    Example:
        >>> before = capture()
        >>> first = random.random(), np.random.rand(), torch.rand(1).item()
        >>> restore(before)
        >>> first == (random.random(), np.random.rand(), torch.rand(1).item())
        True
    """
    version, words, gaussian = state["python"]
    random.setstate((version, tuple(words), gaussian))
    name, numbers, *rest = state["numpy"]
    np.random.set_state((name, numbers.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def preserved() -> Generator[None, None, None]:
    """Leave the generators behind a ``with`` block as they were before it.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with preserved():
        ...     inside = torch.rand(1)
        >>> torch.equal(inside, torch.rand(1))
        True
    """
    before = capture()
    try:
        yield
    finally:
        restore(before)
