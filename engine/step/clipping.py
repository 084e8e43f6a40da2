"""Clipping: small functions that bound gradients in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["ClipNorm", "ClipValue", "norm_of"]


class ClipNorm:
    """Scales all gradients together so that their norm is at most ``max_norm``.

    Args:
        max_norm: the bound, above 0.
        norm_type: the norm's p, 2 by default; ``math.inf`` for the largest value.
        error_if_nonfinite: whether a norm that is no number is an error.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> ClipNorm(1.0)([weight]).item(), weight.grad
        (5.0, tensor([0.6000, 0.8000]))

    Source: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks, 2013;
    computed by :func:`torch.nn.utils.clip_grads_with_norm_`.
    """

    def __init__(
        self, max_norm: float, norm_type: float = 2.0, *, error_if_nonfinite: bool = False
    ) -> None:
        _positive("max_norm", max_norm)
        _positive("norm_type", norm_type)
        self.max_norm = float(max_norm)
        self.norm_type = float(norm_type)
        self.error_if_nonfinite = error_if_nonfinite

    def __call__(self, parameters: Sequence[Tensor]) -> Tensor:
        """Clip, and return the norm before that, a scalar tensor on the gradients' device."""
        norm = norm_of(parameters, self.norm_type)
        if self.error_if_nonfinite:
            torch.nn.utils.get_total_norm([norm], self.norm_type, error_if_nonfinite=True)
        torch.nn.utils.clip_grads_with_norm_(parameters, self.max_norm, norm)
        return norm

    def __repr__(self) -> str:
        return f"ClipNorm({self.max_norm:g}, {self.norm_type:g})"


class ClipValue:
    """Bounds each element of the gradients to ``-max_value … max_value``.

    Args:
        max_value: the bound, above 0.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, -0.5])
        >>> ClipValue(1.0)([weight])
        >>> weight.grad
        tensor([ 1.0000, -0.5000])
    """

    def __init__(self, max_value: float) -> None:
        _positive("max_value", max_value)
        self.max_value = float(max_value)

    def __call__(self, parameters: Sequence[Tensor]) -> None:
        """Clip."""
        torch.nn.utils.clip_grad_value_(parameters, self.max_value)

    def __repr__(self) -> str:
        return f"ClipValue({self.max_value:g})"


def norm_of(parameters: Sequence[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients together, a scalar tensor on their device; 0 without any.

    Where they lie in shards, it is that of all shards, and all processes have to call this.

    Args:
        parameters: whose gradients; those without one are left out.
        norm_type: the exponent; ``math.inf`` for the largest of all.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, -4.0])
        >>> norm_of([weight]).item(), norm_of([weight], math.inf).item()
        (5.0, 4.0)
    """
    gradients = [one.grad for one in parameters if one.grad is not None]
    shards = [one for one in gradients if type(one) is not Tensor and hasattr(one, "device_mesh")]
    if not shards:
        return torch.nn.utils.get_total_norm(gradients, norm_type)
    others = [one for one in gradients if not hasattr(one, "device_mesh")]
    norms = _norms_of_shards(shards, norm_type)
    return torch.nn.utils.get_total_norm([*norms, *others], norm_type)


@torch.no_grad()
def _norms_of_shards(shards: Sequence[Any], norm_type: float) -> list[Tensor]:
    """The norms of tensors that lie in shards, of those that lie alike together.

    What a process has of them is measured at once, and one number is exchanged. A process may have
    nothing of some: torch knows no largest value of that, and would fail there alone.
    """
    from torch.distributed.tensor import DTensor, Partial, Replicate  # which takes long

    alike: dict[Any, list[Tensor]] = {}
    for one in shards:
        local = alike.setdefault((one.device_mesh, one.placements), [])
        if (own := one.to_local()).numel():
            local.append(own)
    norms = []
    for (mesh, placements), local in alike.items():
        largest = math.isinf(norm_type)
        own = torch.nn.utils.get_total_norm(local, norm_type).to(shards[0].to_local().device)
        part = own if largest else own**norm_type
        kinds = [
            Replicate() if one.is_replicate() else Partial("max" if largest else "sum")
            for one in placements
        ]
        joined = DTensor.from_local(part, mesh, kinds, run_check=False).full_tensor()
        norms.append(joined if largest else joined ** (1 / norm_type))
    return norms


def _positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name} is a number above 0, given {value!r}.")
    if name != "norm_type" and math.isinf(value):
        raise ValueError(f"{name}={value} bounds nothing; leave clipping out.")
