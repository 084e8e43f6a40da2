"""Devices: which there are, and the one that a name means."""

from __future__ import annotations

import os

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


def device_of(
    given: str | int | torch.device = "auto", *, local_rank: int | None = None
) -> torch.device:
    """The device that is meant, if it is here.

    Args:
        given: ``"auto"`` for CUDA where there is any, else MPS, else the CPU; or any device of
            torch; or several in the order in which the processes of a machine take them,
            ``"cuda:2,cuda:0"``.
        local_rank: of several processes, the number that this one has on its machine: ``"auto"``
            and ``"cuda"`` are the CUDA device of this number then, and MPS, which is one alone, is
            not taken. Where each process sees a single device, as SLURM may have it, it is that.

    Raises:
        ValueError: if it can't be used; it says which there are.

    Example:
        >>> device_of("cpu"), device_of("cpu", local_rank=3)
        (device(type='cpu'), device(type='cpu'))
    """
    there = devices()
    if isinstance(given, str) and "," in given:
        given = _in_order(given.split(","), local_rank or 0)
    elif local_rank is not None:
        given = _own(given, local_rank)
    if given == "auto":
        return torch.device(there[0])
    try:
        device = torch.device(given)
        if device.type == "xla":
            raise RuntimeError("Footplate has no loop for lazy tensors; take CUDA or the CPU")
        torch.empty(0, device=device)
    except Exception as error:  # whatever its library says
        raise ValueError(
            f"device {given!r} can't be used here ({str(error).partition(chr(10))[0]:.100}); there "
            f"are {', '.join(map(repr, there))}, and 'auto' takes the first."
            f"{nearest(str(given), there)}"
        ) from error
    return device


def _in_order(given: list[str], local_rank: int) -> str:
    """The device of a process, of those that were given one by one."""
    if len({*given}) < len(given) or local_rank >= len(given):
        raise ValueError(
            f"devices {', '.join(given)} are each for one process of a machine, and this is the "
            f"one with the number {local_rank}, counted from 0; name as many as there are "
            f"processes, each once."
        )
    return given[local_rank].strip()


def _own(given: str | int | torch.device, local_rank: int) -> str | int | torch.device:
    """The device of one of several processes; its ``auto`` is CUDA or the CPU."""
    if str(given).startswith("mps"):
        raise ValueError(
            f"device {given!r} can't be used by several processes, as torch has no backend that "
            f"talks between them on MPS; start one process, or give device='cpu'."
        )
    if given == "auto" and not torch.cuda.is_available():
        return "cpu"
    if given not in ("auto", "cuda") or not torch.cuda.is_available():
        return given
    count = torch.cuda.device_count()
    if count == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:
        return "cuda:0"
    if local_rank >= count:
        raise ValueError(
            f"process {local_rank} of this machine, counted from 0, finds {count} CUDA devices; "
            f"start as many processes as there are devices, or give device='cpu'."
        )
    return f"cuda:{local_rank}"
