"""Placement: where a model runs, and how several processes train it as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .devices import device_of

__all__ = ["Placement"]


class Placement:
    """One process on one device; the base of those over several.

    A training step asks it how to call a model, which batches exchange gradients, and what is left
    to be done before a step of the optimizer. Engines, handlers and recipes don't know of it.

    Args:
        device: of this process: a device of torch by name, or ``"auto"``.

    Attributes:
        device: of this process.
        several: whether there are several processes.
        in_step: whether a forward pass waits for those of other processes.
        keeps_gradients: whether handlers find no gradients with the parameters.

    Example:
        >>> placement = Placement("cpu")
        >>> model = placement.place(nn.Linear(2, 1))
        >>> placement.device.type, placement.call(model, torch.zeros(3, 2)).shape
        ('cpu', torch.Size([3, 1]))
    """

    several = False
    in_step = False
    keeps_gradients = False

    def __init__(self, device: str | int | torch.device = "auto") -> None:
        self.device = device_of(device)

    def place(self, model: nn.Module) -> nn.Module:
        """Put a model where it runs: the same object, changed in place.

        Call it before an optimizer is made, since parameters may be others behind it, and before
        weights are loaded.
        """
        return model.to(self.device)

    def optimizer(self, model: nn.Module) -> Optimizer | None:
        """The optimizer that the placement brings, where none was given; most bring none."""
        return None

    def bind(self, model: nn.Module, *, one_backward: bool) -> None:
        """Know the model that is trained; a training step calls it once, before its first batch.

        Args:
            model: what :meth:`place` gave.
            one_backward: whether each batch has one forward and one backward pass, behind each
                other, that reach all parameters that are trained. It is not so for several
                optimizers, nor for a model that steps its optimizer itself.
        """

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what runs the model's forward pass in training."""
        return function(*args)

    def begin(self) -> None:
        """Do what comes before each window of batches."""

    def batch(self, *, closes: bool) -> AbstractContextManager[Any]:
        """The context of a batch's forward and backward passes.

        Args:
            closes: whether an optimizer step follows; else gradients are gathered, and need not
                be exchanged.
        """
        return nullcontext()

    def own(self, optimization: Any) -> None:
        """Know an optimization that trains the model; refuse what it can't be asked for."""

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Compute the gradients of a batch, with keywords of ``Tensor.backward``."""
        loss.backward(**how)  # type: ignore[no-untyped-call]

    def divide(self, gradients: list[Tensor], total: float | Tensor) -> None:
        """Divide the gradients of a window by what it holds."""
        if gradients:
            torch._foreach_div_(gradients, total)

    def step(self, optimizer: Optimizer) -> str | None:
        """Have the optimizer step; returns why it did not, if it did not."""
        optimizer.step()
        return None

    def reduce(self, parameters: Sequence[Tensor]) -> None:
        """Exchange the gradients that an optimizer is about to step with, if they were not yet."""

    def mean(self, total: float | Tensor) -> float | Tensor:
        """The mean over the processes of what a window's gradients are divided by."""
        return total

    def align(self, model: nn.Module) -> None:
        """Have the buffers of the model, as running means, the same in all processes."""

    def kept(self, gradient: Tensor) -> Tensor:
        """A copy of a gradient of an open window, as this process saves it; asks no other."""
        return gradient.clone()

    def taken(self, gradient: Tensor, parameter: Tensor) -> Tensor:
        """A copy of a gradient that was :meth:`kept`, for a parameter to go on with."""
        return gradient.to(parameter.device, parameter.dtype, copy=True)

    def loading(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context in which weights are loaded; all processes have to enter it."""
        return nullcontext()

    def collected(self, model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is saved of the weights of a model; all processes have to call this.

        Args:
            model: the model.
            weights: what it has of them, by name.

        Returns:
            the same; of those that no file could hold as they are, on the first process copies.
        """
        return weights
