"""Plain values: what a file of state holds, tensors and primitives in containers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "check_plain",
    "compact",
    "identity",
    "in_storage",
    "mapped",
    "storage_of",
    "tensors_of",
    "wholly_used",
]

_PRIMITIVES = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_DICTS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, set, torch.Size)


def check_plain(value: object, where: str) -> None:
    """Refuse what could be saved, but not be loaded without running code.

    Args:
        value: what is to be saved.
        where: what to call it in an error.

    Raises:
        TypeError: naming the place and type of the first such value.

    Example:
        >>> check_plain({"lr": [0.1, None]}, "state")
        >>> try:
        ...     check_plain({"lr": [0.1, object()]}, "state")
        ... except TypeError as error:
        ...     print(str(error).partition(";")[0])
        state['lr'][1] is a builtins.object
    """
    kind = type(value)
    if kind in _DICTS:
        for key, one in value.items():  # type: ignore[attr-defined]
            check_plain(key, f"a key of {where}")
            check_plain(one, f"{where}[{key!r}]")
        for name, one in getattr(value, "__dict__", {}).items():  # such as a module's versions
            check_plain(one, f"{where}.{name}")
    elif kind in _SEQUENCES:
        for number, one in enumerate(value):  # type: ignore[arg-type]
            check_plain(one, f"{where}[{number}]")
    elif kind in (Tensor, torch.nn.Parameter):
        if value.is_meta:  # type: ignore[attr-defined]
            raise TypeError(f"{where} is a tensor on the meta device, which has no values to save.")
    elif not (value is None or kind in _PRIMITIVES):
        raise TypeError(
            f"{where} is a {kind.__module__}.{kind.__qualname__}; a checkpoint holds tensors and "
            f"primitives only, so convert it in state_dict()."
        )


def tensors_of(tree: object) -> Iterator[Tensor]:
    """The tensors in nested plain values, one after the other, each as often as it is there."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, _DICTS):
        for one in tree.values():
            yield from tensors_of(one)
    elif isinstance(tree, (list, tuple, set)):
        for one in tree:
            yield from tensors_of(one)


def mapped(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Nested plain values with other tensors; the containers are new ones of the same types."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, _DICTS):
        made = type(tree)()
        for key, one in tree.items():
            made[key] = mapped(one, function)
        vars_of = getattr(tree, "__dict__", None)
        if vars_of:
            made.__dict__.update(vars_of)
        return made
    if type(tree) in (list, tuple, set):
        return type(tree)(mapped(one, function) for one in tree)
    return tree


def identity(tensor: Tensor) -> tuple[object, ...]:
    """Equal for tensors that are one and the same piece of memory, seen the same way."""
    if isinstance(local := getattr(tensor, "_local_tensor", None), Tensor):  # of one in pieces
        return tuple(tensor.shape), *identity(local)
    if not in_storage(tensor) or tensor.numel() == 0:
        return (id(tensor),)
    seen = tuple(tensor.shape), tensor.stride(), tensor.is_conj(), tensor.is_neg()
    return tensor.device, tensor.dtype, tensor.data_ptr(), *seen


def storage_of(tensor: Tensor) -> tuple[object, ...]:
    """Equal for tensors that are pieces of the same memory."""
    if not in_storage(tensor) or tensor.numel() == 0:
        return (id(tensor),)
    return tensor.device, tensor.untyped_storage().data_ptr()


def wholly_used(tensors: Iterable[Tensor]) -> set[tuple[object, ...]]:
    """The storages of which nothing lies idle, as far as the sizes of the tensors tell.

    What is saved of a storage is all of it; a view of a few numbers must not drag it along.
    """
    distinct = {identity(one): one for one in tensors if in_storage(one) and one.numel()}
    idle: dict[tuple[object, ...], int] = {}
    for one in distinct.values():
        storage = storage_of(one)
        if storage not in idle:
            idle[storage] = one.untyped_storage().nbytes()
        idle[storage] -= one.nbytes
    return {storage for storage, size in idle.items() if size <= 0}


def compact(tree: Any) -> Any:
    """Nested plain values ready to be written: no graphs, and no storage for the sake of a view.

    Such views are copied, the same one once; all other tensors share the memory of those given.
    """
    whole = wholly_used(tensors_of(tree))
    copies: dict[object, Tensor] = {}

    def ready(tensor: Tensor) -> Tensor:
        if not in_storage(tensor) or storage_of(tensor) in whole:
            return tensor.detach()
        return copies.setdefault(identity(tensor), tensor.detach().clone())

    return mapped(tree, ready)


def in_storage(tensor: Tensor) -> bool:
    """Whether it is a view of one storage: not sparse, quantized or nested, and has values."""
    special = tensor.is_quantized or tensor.is_nested or tensor.is_meta
    return tensor.layout is torch.strided and not special
