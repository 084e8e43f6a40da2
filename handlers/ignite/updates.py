"""Optimization as pytorch-ignite's supervised steps do it, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from ...engine.step.accumulation import Accumulation, Window
from ...engine.step.optimization import Optimization
from ...engine.step.precision import Precision

if TYPE_CHECKING:
    from ...engine.engine import Engine

__all__ = ["Amp", "DividedLosses"]


class Amp(Precision):
    """Autocast on CUDA, in the precision that torch is set to there: fp16, unless told otherwise.

    Elsewhere torch warns, and computes as it does without.

    Args:
        scaler: what scales losses, if anything.
    """

    def __init__(self, scaler: GradScaler | None = None) -> None:
        self._given = scaler
        super().__init__("fp16")

    def autocast(self, device_type: str) -> AbstractContextManager[None]:
        """Autocast on CUDA."""
        return torch.autocast("cuda")

    def scaler(self, device_type: str) -> GradScaler | None:
        """The scaler that was given."""
        return self._given


class _Divided(Window):
    """A window whose losses were divided before they came, so that the gradients need not be."""

    total = 1


class DividedLosses(Optimization):
    """An optimization that divides each loss of a window by its size, before backward.

    A window goes on over the end of an epoch. The gradients of one are kept until the forward
    pass of the next, so that handlers of ITERATION_COMPLETED see them, and are gone during it.

    Args:
        optimizer: the optimizer.
        size: batches in a window.
        precision: what the forward pass computes with.
    """

    def __init__(self, optimizer: Optimizer, size: int, precision: Precision | str) -> None:
        accumulation = Accumulation(size, at_epoch_end="carry")
        super().__init__(optimizer, precision=precision, accumulate=accumulation)
        self.window = _Divided(size)
        self._stale = False

    def backward(
        self,
        loss: Tensor,
        weight: float | Tensor | None = None,
        *,
        shared_with: Sequence[Optimization] = (),
        **how: Any,
    ) -> None:
        """Add a batch's gradients to those of this window."""
        self._let_go()
        size = self.window.size
        share = loss / size if size > 1 else loss
        super().backward(share, weight, shared_with=shared_with, **how)

    def forward_started(self, engine: Engine) -> None:
        """Let go of the gradients of the last window, before the pass that needs the memory."""
        self._let_go()

    def zero_grad(self) -> None:
        """Begin a new window; the gradients of the last one are let go with its first batch."""
        self.window.held, self.window.vetoed = 0, False
        self._stale = True

    def _let_go(self) -> None:
        if self._stale:
            self._stale = False
            super().zero_grad()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that was saved; its gradients are those of a window under way."""
        super().load_state_dict(state)
        self._stale = False
