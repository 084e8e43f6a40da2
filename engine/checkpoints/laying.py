"""States of runs whose tensors were whole, for owners that have them in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from .plain import mapped
from .shards import is_sharded, laid_like

__all__ = ["laid_as"]


def laid_as(owner: Any, state: Any, named: Mapping[str, Tensor]) -> Any:
    """A saved state with those tensors in pieces that its owner has in pieces now.

    Where the owner has nothing yet, the parameters tell that the tensors belong to: those of an
    optimizer that was just made, or those of the model by whose name a tensor is kept. What the
    owner says is not the same in all processes stays whole, as a piece of it would be of one's own.

    Args:
        owner: has ``state_dict()``; its ``optimizer``, or it itself, is what an optimizer's state
            is of.
        state: of which each process has the same.
        named: the tensors of the model by name.

    Returns:
        the state; containers are new ones where anything in them may have changed.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> laid_as(model, {"weight": torch.ones(1, 2)}, {})
        {'weight': tensor([[1., 1.]])}
    """
    optimizer = owner if isinstance(owner, Optimizer) else getattr(owner, "optimizer", None)
    of = _by_parameter(optimizer) if isinstance(optimizer, Optimizer) else None
    now, equal = owner.state_dict(), getattr(owner, "replicated", True)

    def laid(saved: Any, now: Any) -> Any:
        if isinstance(saved, Tensor):
            return _like(saved, now)
        if isinstance(saved, dict) and saved.keys() == {"state", "param_groups"} and of is not None:
            return of(saved)
        if isinstance(saved, dict) and isinstance(now, dict):
            made = type(saved)()
            made.update(
                {key: laid(one, now.get(key, named.get(key))) for key, one in saved.items()}
            )
            if hasattr(saved, "__dict__"):  # such as a module's versions
                vars(made).update(vars(saved))
            return made
        if type(saved) in (list, tuple) and type(now) is type(saved) and len(now) == len(saved):
            return type(saved)(laid(one, at) for one, at in zip(saved, now, strict=True))
        return saved

    if not isinstance(state, dict) or not isinstance(equal, tuple):
        return laid(state, now)
    return {key: laid(one, now.get(key)) if key in equal else one for key, one in state.items()}


def _by_parameter(optimizer: Optimizer) -> Callable[[Any], Any]:
    """What lays out an optimizer's state as its parameters are, which it has in the same order."""

    def laid(saved: Any) -> Any:
        names = [name for group in saved["param_groups"] for name in group["params"]]
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        of = dict(zip(names, parameters, strict=False))  # it refuses another number of them itself
        state = {
            name: mapped(one, partial(_like, like=of.get(name)))
            for name, one in saved["state"].items()
        }
        return {**saved, "state": state}

    return laid


def _like(tensor: Tensor, like: Any) -> Tensor:
    fits = is_sharded(like) and not is_sharded(tensor) and like.shape == tensor.shape
    return laid_like(tensor, like) if fits else tensor
