"""Adding: numbers and tensors of several processes, on their way or by hand."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from .ranks import summed_tensor, world_size

__all__ = ["EXACT", "added", "number_of", "put_into", "specification", "summed_alike"]

EXACT: Final = 53
"""Bits of whole numbers that are exact in double precision."""

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def specification(values: Sequence[Any]) -> str | None:
    """What values have to have in common to be added on their way; ``None`` if they can't be.

    Example:
        >>> specification([3, torch.zeros(2)]), specification(["a"])
        ('int(), torch.float32(2,)', None)
    """
    if not all(map(_can_be, values)):
        return None
    return ", ".join(
        f"{one.dtype}{tuple(one.shape)}" if isinstance(one, Tensor) else f"{type(one).__name__}()"
        for one in values
    )


def _can_be(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype in _FLOATS | _WHOLE and value.layout == torch.strided
    return type(value) is float or (type(value) is int and abs(value) < 2**63 // world_size())


def number_of(values: Sequence[Any]) -> float | None:
    """One value as a number of double precision, whose sum is exact if it is whole; if it can be.

    Example:
        >>> number_of([torch.tensor([3])]), number_of([1, 2]), number_of([2**60])
        (3.0, None, None)
    """
    if len(values) != 1:
        return None
    (one,) = values
    number = one.item() if isinstance(one, Tensor) and one.numel() == 1 else one
    if isinstance(number, Tensor):
        return None
    is_exact = isinstance(number, float) or abs(number) < 2 ** (EXACT - world_size().bit_length())
    return float(number) if is_exact else None


def put_into(value: Any, total: float) -> Any:
    """A sum as what was added: a number, or a tensor with one element, on its device.

    Example:
        >>> put_into(torch.tensor([3]), 7.0), put_into(3, 7.0)
        (tensor([7]), 7)
    """
    if not isinstance(value, Tensor):
        return type(value)(total)
    return torch.full_like(value, total if value.dtype in _FLOATS else int(total))


def summed_alike(values: Sequence[Any]) -> list[Any]:
    """The sum of each value over all processes, which have others of the same specification."""
    tensors = [torch.as_tensor(one) for one in values]
    sums: dict[int, Tensor] = {}
    for dtypes, wide in ((_FLOATS, torch.float64), (_WHOLE, torch.int64)):
        places = [place for place, one in enumerate(tensors) if one.dtype in dtypes]
        if not places:
            continue
        flat = [tensors[place].detach().cpu().reshape(-1).to(wide) for place in places]
        parts = summed_tensor(torch.cat(flat)).split([len(one) for one in flat])
        sums.update(zip(places, parts, strict=True))
    return [_like(one, sums[place]) for place, one in enumerate(values)]


def _like(value: Any, total: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return type(value)(total.item())
    return total.reshape(value.shape).to(value)


def added(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """The sum of each value over the shares, all of which are at hand.

    Example:
        >>> added([[1, True], [2, torch.tensor(3)]])
        [3, tensor(4)]
    """
    return [functools.reduce(operator.add, each) for each in zip(*shares, strict=True)]
