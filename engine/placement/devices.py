"""Devices: which there are, and the one that a name means."""

from __future__ import annotations

import torch

from ..errors import nearest

__all__ = ["device_of", "devices"]


def devices() -> list[str]:
    """The names of the devices of this machine, the best first.

    Example:
        >>> devices()[-1]
        'cpu'
    """
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    cuda = ["cuda", *cuda] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def device_of(given: str | int | torch.device) -> torch.device:
    """The device that is meant, if it is here.

    Args:
        given: ``"auto"`` for CUDA where there is any, else MPS, else the CPU; or any device of
            torch.

    Raises:
        ValueError: if it can't be used; it says which there are.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    there = devices()
    if given == "auto":
        return torch.device(there[0])
    try:
        device = torch.device(given)
        torch.empty(0, device=device)
    except Exception as error:  # whatever its library says
        raise ValueError(
            f"device {given!r} can't be used here ({str(error).partition(chr(10))[0]:.100}); there "
            f"are {', '.join(map(repr, there))}, and 'auto' takes the first."
            f"{nearest(str(given), there)}"
        ) from error
    return device
