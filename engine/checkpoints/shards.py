"""Tensors that lie in pieces on several processes, in what is saved and in what is loaded.

``DTensor`` is what torch calls them. In a state each makes place for a note of its name, and its
pieces go to files of their own; where it is loaded, it gets the form that it has in that run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Layouts",
    "Piece",
    "Shape",
    "is_sharded",
    "laid_like",
    "pieces_of",
    "put_back",
    "take_out",
]

_NOTE = "footplate.shard"
_SHARD = re.compile(r"S\((\d+)\)")


@dataclass(frozen=True)
class Shape:
    """What a whole tensor is like.

    Attributes:
        size: its shape.
        dtype: its type.
        placements: how it lay on the processes, one text for each dimension of their mesh:
            ``"S(0)"`` for pieces along dimension 0, ``"R"`` for a copy on each.
    """

    size: tuple[int, ...]
    dtype: torch.dtype
    placements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What one process has of a tensor.

    Attributes:
        local: the values.
        offsets: where they begin in the whole, for each dimension.
        whole: what the whole tensor is like.
    """

    local: Tensor
    offsets: tuple[int, ...]
    whole: Shape


def is_sharded(value: object) -> bool:
    """Whether it is a tensor in pieces, asked without importing what makes them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def take_out(tree: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """Nested plain values without the tensors that lie in pieces, and these by name.

    Args:
        tree: tensors and primitives in dicts, lists, tuples and sets.
        name: what the names begin with; keys and numbers follow, with dots between them.

    Example:
        >>> take_out({"step": 3}, "state")
        ({'step': 3}, {})
    """
    found: dict[str, Any] = {}

    def without(value: Any, name: str) -> Any:
        if is_sharded(value):
            found[name] = value
            return {_NOTE: name}
        if isinstance(value, dict):
            made = type(value)()
            made.update({key: without(one, f"{name}.{key}") for key, one in value.items()})
            if hasattr(value, "__dict__"):  # such as a module's versions
                vars(made).update(vars(value))
            return made
        if type(value) in (list, tuple):
            return type(value)(without(one, f"{name}.{at}") for at, one in enumerate(value))
        return value

    if "torch.distributed.tensor" not in sys.modules:
        return tree, found
    return without(tree, name), found


def put_back(tree: Any, tensors: Callable[[str], Tensor]) -> Any:
    """Nested plain values with the tensors that :func:`take_out` took out of them.

    Args:
        tree: what it left.
        tensors: gives each by its name.

    Example:
        >>> put_back({"moment": {"footplate.shard": "a"}}, {"a": 1}.__getitem__)
        {'moment': 1}
    """
    if isinstance(tree, dict):
        if tree.keys() == {_NOTE}:
            return tensors(tree[_NOTE])
        for key, one in tree.items():
            tree[key] = put_back(one, tensors)
        return tree
    if type(tree) in (list, tuple):
        return type(tree)(put_back(one, tensors) for one in tree)
    return tree


def pieces_of(tensors: Mapping[str, Any]) -> dict[str, Piece]:
    """What this process has of tensors that lie in pieces; nothing is copied.

    Raises:
        TypeError: for one whose values are a sum over processes that is still to be made.
    """
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    found = {}
    for name, one in tensors.items():
        if any(placement.is_partial() for placement in one.placements):
            raise TypeError(
                f"{name!r} is a sum over processes that is still to be made, {one.placements}; "
                f"redistribute() it before it is saved."
            )
        _, offsets = compute_local_shape_and_global_offset(
            one.shape, one.device_mesh, one.placements
        )
        whole = Shape(tuple(one.shape), one.dtype, tuple(map(_told, one.placements)))
        found[name] = Piece(one.detach().to_local(), tuple(offsets), whole)
    return found


class Layouts:
    """How tensors come to lie on the processes of a run, as those of its model do.

    Args:
        model: the model; ``None`` where there is none, and tensors are whole.
    """

    def __init__(self, model: torch.nn.Module | None = None) -> None:
        own = [] if model is None else [*model.parameters(), *model.buffers()]
        sharded = [one for one in own if is_sharded(one)]
        self._mesh: Any = sharded[0].device_mesh if sharded else None  # type: ignore[attr-defined]
        self._by_size: dict[tuple[int, ...], Any] = {}
        for one in reversed(sharded):  # of several, the first one counts
            self._by_size[tuple(one.shape)] = one

    def empty(self, whole: Shape) -> Tensor:
        """A tensor without values: like one of the model that has its shape, if there is any.

        Others lie as they lay where they were saved, if the mesh has as many dimensions.
        """
        if self._mesh is None:
            return torch.empty(whole.size, dtype=whole.dtype)
        from torch.distributed.tensor import empty

        mesh, placements = self._of(whole)
        made: Tensor = empty(
            *whole.size, dtype=whole.dtype, device_mesh=mesh, placements=placements
        )
        return made

    def _of(self, whole: Shape) -> tuple[Any, Any]:
        like = self._by_size.get(whole.size)
        if like is not None:
            return like.device_mesh, like.placements
        return self._mesh, _placements(whole.placements, self._mesh.ndim)


def laid_like(tensor: Tensor, like: Any) -> Tensor:
    """A whole tensor in pieces as another; nothing is sent, each process takes its own."""
    from torch.distributed.tensor import distribute_tensor

    here = tensor.to(like.device)
    return distribute_tensor(here, like.device_mesh, like.placements, src_data_rank=None)


def _placements(told: Iterable[str], dimensions: int) -> list[Any]:
    from torch.distributed.tensor import Replicate, Shard

    found = [Shard(int(one[1])) if (one := _SHARD.fullmatch(text)) else None for text in told]
    fits = len(found) == dimensions
    return [one or Replicate() for one in found] if fits else [Replicate()] * dimensions


def _told(placement: Any) -> str:
    return f"S({placement.dim})" if placement.is_shard() else "R"
