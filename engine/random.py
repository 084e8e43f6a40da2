"""Random number generators: seeding them, and taking their state along.

It imports neither numpy nor torch before they are needed: generators of a library that nobody has
imported have drawn nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from .whole import whole

__all__ = [
    "capture",
    "current_seed",
    "derived",
    "preserved",
    "restore",
    "seed_all",
    "set_deterministic",
]

_SEEDS = 2**32
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_found: list[tuple[bool, bool, bool, str | None]] = []  # of torch's, before they were set
_WORDS = struct.Struct("<625I")  # of the Mersenne Twister, and its position


def seed_all(
    seed: int | None = None,
    *,
    deterministic: bool | Literal["warn"] = False,
    diff_rank_seed: bool = False,
) -> int:
    """Seed the generators of Python, numpy and torch, on every device.

    Args:
        seed: a whole number from 0 to 2**32 - 1; drawn from the system if ``None``, once for all
            ranks.
        deterministic: whether torch must use deterministic algorithms alone, and raise where
            there are none; ``"warn"`` only warns there. It beats cuDNN's search for the fastest.
            ``False`` leaves torch's settings as they are.
        diff_rank_seed: whether each rank adds its number, so that dropout and augmentation differ
            among them. Weights must be the same then, as DDP makes them.

    Returns:
        the seed before a rank adds its number, to be recorded with the run.

    Raises:
        ValueError: for a seed out of range, or another ``deterministic``.
        RuntimeError: if no seed is given and the ranks can't agree upon one yet.

    Example:
        >>> import torch
        >>> seed_all(7)
        7
        >>> first = torch.rand(2)
        >>> _ = seed_all(7)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    import numpy as np
    import torch

    _check_deterministic(deterministic)
    seed = _drawn() if seed is None else whole("a seed", seed, least=0)
    if seed >= _SEEDS:
        raise ValueError(f"a seed is a whole number from 0 to 2**32 - 1, given {seed}.")
    own = (seed + _rank()) % _SEEDS if diff_rank_seed else seed
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)
    if deterministic:
        _be_deterministic(warn_only=deterministic == "warn")
    return seed


def set_deterministic(how: bool | Literal["warn"]) -> None:
    """Have torch use deterministic algorithms alone, as :func:`seed_all` says, or no longer.

    Args:
        how: ``True`` or ``"warn"``; ``False`` puts back what the first of these found here, and
            does nothing if nobody asked for one. Whether cuDNN tries out which algorithm is fastest
            is left as it is then.

    Raises:
        ValueError: for anything else.

    Example:
        >>> import torch
        >>> set_deterministic(True)
        >>> torch.are_deterministic_algorithms_enabled()
        True
        >>> set_deterministic(False)
        >>> torch.are_deterministic_algorithms_enabled()
        False
    """
    import torch

    _check_deterministic(how)
    if how:
        if not _found:
            _found.append(
                (
                    torch.are_deterministic_algorithms_enabled(),
                    torch.is_deterministic_algorithms_warn_only_enabled(),
                    torch.backends.cudnn.deterministic,
                    os.environ.get(_CUBLAS),
                )
            )
        _be_deterministic(warn_only=how == "warn")
    elif _found:
        mode, warn_only, cudnn, cublas = _found.pop()
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        torch.backends.cudnn.deterministic = cudnn
        if cublas is None:
            os.environ.pop(_CUBLAS, None)


def _check_deterministic(how: object) -> None:
    if how not in (True, False, "warn"):
        raise ValueError(f"deterministic is True, False or 'warn', given {how!r}.")


def _be_deterministic(*, warn_only: bool) -> None:
    import torch

    os.environ.setdefault(_CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def current_seed() -> int:
    """The seed that torch's generator was last given, or chose for itself.

    Example:
        >>> _ = seed_all(7)
        >>> current_seed()
        7
    """
    import torch

    return torch.initial_seed()


def capture() -> dict[str, Any]:
    """The state of every generator, in tensors and primitives.

    Returns:
        ``python``: version, words in hexadecimal, and Gaussian; and of the libraries that are
        imported ``numpy``: the same of its legacy generator, words as an int64 tensor, or as a
        tuple without torch; ``torch``: a uint8 tensor; ``cuda``: one for each device, once CUDA
        is at work.

    Example:
        >>> state = capture()
        >>> first = random.random()
        >>> restore(state)
        >>> random.random() == first
        True
    """
    version, words, gaussian = random.getstate()
    state: dict[str, Any] = {"python": (version, _WORDS.pack(*words).hex(), gaussian)}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        name, words, *rest = numpy.random.get_state(legacy=True)
        wide = words.astype(numpy.int64)
        kept = tuple(wide.tolist()) if torch is None else torch.from_numpy(wide)
        state["numpy"] = (name, kept, *rest)
    if torch is not None:
        state["torch"] = torch.get_rng_state()
        state["cuda"] = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return state


def restore(state: Mapping[str, Any]) -> None:
    """Set every generator to a state that :func:`capture` gave.

    Devices that this machine does not have are left out.

    Example:
        >>> import torch
        >>> before = capture()
        >>> first = random.random(), torch.rand(1).item()
        >>> restore(before)
        >>> first == (random.random(), torch.rand(1).item())
        True
    """
    version, words, gaussian = state["python"]
    packed = isinstance(words, str)
    words = _WORDS.unpack(bytes.fromhex(words)) if packed else tuple(words)
    random.setstate((version, words, gaussian))
    if "numpy" in state:
        import numpy as np

        name, numbers, *rest = state["numpy"]
        np.random.set_state((name, np.asarray(numbers).astype(np.uint32), *rest))
    if "torch" in state:
        import torch

        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            for device, one in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
                torch.cuda.set_rng_state(one, device)


def derived(*numbers: int) -> dict[str, Any]:
    """The state of every generator that follows from some numbers, as :func:`capture` gives it.

    Args:
        numbers: the seed of a run, a rank and an iteration, say.

    Example:
        >>> state = derived(7, 1)
        >>> restore(state)
        >>> first = random.random()
        >>> restore(derived(7, 2))
        >>> first == random.random()
        False
    """
    told = " ".join(map(str, numbers)).encode()
    with preserved():
        seed_all(int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "little"))
        return capture()


@contextmanager
def preserved() -> Generator[None, None, None]:
    """Leave the generators behind a ``with`` block as they were before it.

    Example:
        >>> import torch
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


def _drawn() -> int:
    """A seed from the system; the first rank's, where there are several."""
    import torch.distributed as dist

    drawn = [int.from_bytes(os.urandom(4), "little")]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(drawn)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RuntimeError(
            "no seed is given, and each rank would draw another, as they can't talk yet; have them "
            "joined first, by launcher='auto' of a runner or init_process_group() of "
            "torch.distributed, or give a seed."
        )
    return drawn[0]


def _rank() -> int:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return int(os.environ.get("RANK", "0"))
