"""Packing: values as bytes that another process reads, tensors as what they hold."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import torch
from torch import Tensor

__all__ = ["packed", "unpacked"]

_AS_THEY_LIE = {  # of others torch knows best how they are to be pickled
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
}  # fmt: skip


def packed(value: Any) -> bytes:
    """A value as bytes.

    Args:
        value: anything that can be pickled; of tensors it is what they hold that travels, with
            neither device nor gradient, which takes a tenth of the time that their own way does.

    Example:
        >>> unpacked(packed({"seen": torch.tensor(3), "of": "val"}))
        {'seen': tensor(3), 'of': 'val'}
    """
    into = io.BytesIO()
    _Packer(into, pickle.HIGHEST_PROTOCOL).dump(value)
    return into.getvalue()


def unpacked(data: bytes) -> Any:
    """What was packed; all tensors on the host."""
    return pickle.loads(data)


class _Packer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        here = value.detach().cpu()
        plain = type(here) is Tensor and here.layout == torch.strided
        if not plain or here.dtype not in _AS_THEY_LIE:
            return here.__reduce_ex__(pickle.HIGHEST_PROTOCOL)  # type: ignore[no-untyped-call]
        row = here.clone(memory_format=torch.contiguous_format).view(-1)  # with strides of its own
        held = row.view(torch.uint8).numpy().tobytes()
        return _tensor, (held, here.dtype, tuple(here.shape))


def _tensor(held: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(held), dtype=dtype).reshape(shape)
