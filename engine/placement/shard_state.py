"""What torch's sharding knows of a unit and has no public name for, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Partial

__all__ = [
    "are_held",
    "as_summand",
    "average_held",
    "cast_inputs",
    "forget_batch",
    "free_after_forward",
    "frees_after_forward",
    "hold",
    "keep_after_forward",
    "own_summand",
]


def forget_batch(root: FSDPModule) -> None:
    """Let go of what an error has left half done, gradients that were not exchanged included."""
    if hasattr(root, "reset_iter_state"):
        root.reset_iter_state()
    for one in _parameters(root):
        one.unsharded_accumulated_grad = None
        if hasattr(one, "_unsharded_param"):
            one._unsharded_param.grad = None


def hold(root: FSDPModule) -> None:
    """Let gradients that were not exchanged lie with their parameters, as sums still to be made.

    So all that looks at a parameter's gradient sees that it is there, and what lets go of it does.
    """
    for one in _parameters(root):
        parameter = one.sharded_param
        gradient, one.unsharded_accumulated_grad = one.unsharded_accumulated_grad, None
        if gradient is None and hasattr(one, "_unsharded_param"):
            gradient, one._unsharded_param.grad = one._unsharded_param.grad, None
        if gradient is not None:
            summand = as_summand(gradient.to(parameter.dtype), parameter)
            parameter.grad = summand if parameter.grad is None else parameter.grad + summand


def are_held(root: FSDPModule) -> bool | None:
    """Whether the gradients that there are were not exchanged; ``None`` if there are none."""
    for one in _parameters(root):
        if one.sharded_param.grad is not None:
            return _is_held(one.sharded_param.grad)
    return None


def as_summand(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A process's whole gradient as part of a sum still to be made; one in pieces as it is."""
    if isinstance(gradient, DTensor) or not isinstance(parameter, DTensor):
        return gradient
    return DTensor.from_local(gradient, parameter.device_mesh, [Partial()], run_check=False)


def own_summand(gradient: Tensor) -> Tensor:
    """A copy of a gradient; of a sum still to be made, of what this process adds to it."""
    if _is_held(gradient):
        assert isinstance(gradient, DTensor)
        return gradient.to_local().clone()
    return gradient.clone()


def average_held(parameters: Iterable[Tensor]) -> None:
    """Average them over the processes, into shards."""
    for one in parameters:
        if isinstance(one, DTensor) and _is_held(one.grad):
            assert isinstance(one.grad, DTensor)
            summed = one.grad.redistribute(placements=one.placements)
            one.grad = summed / one.device_mesh.size()


def _is_held(gradient: Tensor | None) -> bool:
    return isinstance(gradient, DTensor) and gradient.placements[0].is_partial()


def cast_inputs(unit: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """What a unit's forward pass is given, as its policy of mixed precision has it."""
    cast: tuple[Any, Any] = unit._get_fsdp_state()._cast_forward_inputs(args, kwargs)
    return cast


def frees_after_forward(unit: FSDPModule) -> list[Any]:
    """How a unit's parameters are freed behind its forward pass."""
    return [group.post_forward_mesh_info for group in _groups(unit)]


def keep_after_forward(unit: FSDPModule) -> None:
    """Free them no more."""
    for group in _groups(unit):
        group.post_forward_mesh_info = None


def free_after_forward(unit: FSDPModule, how: list[Any]) -> None:
    """Free them as before."""
    for group, mesh in zip(_groups(unit), how, strict=True):
        group.post_forward_mesh_info = mesh


def _parameters(root: FSDPModule) -> Iterator[Any]:
    """What torch knows of each parameter in shards."""
    assert isinstance(root, nn.Module)
    for unit in root.modules():
        for group in _groups(unit):
            yield from group.fsdp_params


def _groups(unit: Any) -> Iterator[Any]:
    """The groups of parameters of a unit; of other modules none."""
    if isinstance(unit, FSDPModule):
        state: Any = unit._get_fsdp_state()
        several = getattr(state, "_fsdp_param_groups", None)
        yield from [state._fsdp_param_group] if several is None else several
