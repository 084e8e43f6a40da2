"""Modules that were made on the meta device: their memory, and their first values."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

__all__ = ["materialize", "tensors_of"]


def materialize(module: nn.Module, device: torch.device, *, but: Collection[nn.Module]) -> None:
    """Give what lies on the meta device memory, and values by ``reset_parameters()``.

    Args:
        module: the module, changed in place.
        device: where the memory is.
        but: modules that are left alone, with all within.

    Raises:
        TypeError: for a module with such tensors that has no ``reset_parameters()``.

    Example:
        >>> with torch.device("meta"):
        ...     model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> materialize(model, torch.device("cpu"), but=())
        >>> model[0].weight.device.type, model[1].running_var.tolist()
        ('cpu', [1.0, 1.0])
    """
    new: dict[Tensor, nn.Parameter | None] = {}
    for name, one in _modules(module, but):
        own = [*one.parameters(recurse=False), *one.buffers(recurse=False)]
        if not any(tensor.is_meta for tensor in own):
            continue
        reset = getattr(one, "reset_parameters", None)
        if not callable(reset):
            raise TypeError(
                f"{name or 'the module'!r} was made on the meta device, but {type(one).__name__} "
                f"has no reset_parameters(), which gives its tensors first values; write one, "
                f"or make the model on a device."
            )
        before = dict(one._parameters)
        one.to_empty(device=device, recurse=False)
        reset()
        for key, old in before.items():  # what was one parameter stays one
            if old is not None:
                one._parameters[key] = new.setdefault(old, one._parameters[key])


def tensors_of(module: nn.Module, *, but: Collection[nn.Module]) -> Iterator[Tensor]:
    """Parameters and buffers of a module, but for those within some others."""
    for _, one in _modules(module, but):
        yield from one.parameters(recurse=False)
        yield from one.buffers(recurse=False)


def _modules(
    module: nn.Module, but: Collection[nn.Module], name: str = ""
) -> Iterator[tuple[str, nn.Module]]:
    yield name, module
    for key, child in module.named_children():
        if not any(child is one for one in but):
            yield from _modules(child, but, f"{name}.{key}".lstrip("."))
