"""Precision: which numbers the forward pass computes with, and the scaler that fp16 needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from ..errors import nearest

__all__ = ["Precision", "single"]

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Mixed precision by name: weights stay as they are, and the forward pass is autocast.

    Args:
        kind: ``"fp32"`` for no autocast at all, ``"bf16"``, or ``"fp16"``, whose losses are
            scaled so that small gradients don't vanish.
        scaler: keywords for :class:`torch.amp.GradScaler`, such as ``init_scale``; fp16 alone
            takes them.

    Raises:
        ValueError: for another kind, or keywords without fp16.
        TypeError: for keywords that the scaler does not take.

    Example:
        >>> with Precision("bf16").autocast("cpu"):
        ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        torch.bfloat16

    Source: Micikevicius et al., Mixed Precision Training, 2018; computed by torch.amp.
    """

    def __init__(self, kind: str = "fp32", **scaler: Any) -> None:
        if kind not in _DTYPES:
            raise ValueError(
                f"precision is one of {', '.join(map(repr, _DTYPES))}, given {kind!r}."
                f"{nearest(str(kind), _DTYPES)}"
            )
        if scaler and kind != "fp16":
            raise ValueError(f"{', '.join(scaler)}= set the scaler, and {kind!r} has none.")
        self.kind = kind
        self.dtype = _DTYPES[kind]
        self._scaler = scaler
        if kind == "fp16":
            self.scaler("cpu")  # refuses keywords that it does not take

    @classmethod
    def of(cls, given: str | Precision) -> Precision:
        """A precision, made of its name if need be."""
        return given if isinstance(given, Precision) else cls(given)

    def autocast(self, device_type: str) -> AbstractContextManager[None]:
        """A context in which operations choose this precision, on devices of a type."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device_type, self.dtype)

    def scaler(self, device_type: str) -> GradScaler | None:
        """A new scaler for fp16; ``None`` where none is needed."""
        return GradScaler(device_type, **self._scaler) if self.kind == "fp16" else None

    def __repr__(self) -> str:
        return f"Precision({self.kind!r})"


def single(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of half precision as fp32, in which numbers add up; any other as it is.

    Example:
        >>> single(torch.ones(1, dtype=torch.bfloat16)).dtype, single(torch.ones(1).long()).dtype
        (torch.float32, torch.int64)
    """
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
