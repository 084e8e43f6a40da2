"""Groups: which parameters of a module an optimizer has, and which are frozen, by their names.

Callbacks and hooks may add parameter groups, and thaw layers, as training goes on. A run that is
resumed is made anew, with the groups that it began with, and has those back by this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ["frozen", "grouped", "regroup"]


def grouped(module: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    """The names of the parameters in each group; ``""`` for one that is none of the module's.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> grouped(model, torch.optim.SGD(model[1].parameters(), lr=0.1))
        [['1.weight', '1.bias']]
    """
    names = {id(one): name for name, one in module.named_parameters()}
    return [[names.get(id(one), "") for one in group["params"]] for group in optimizer.param_groups]


def frozen(module: nn.Module) -> list[str]:
    """The names of the parameters that require no gradient."""
    return [name for name, one in module.named_parameters() if not one.requires_grad]


def regroup(
    module: nn.Module,
    optimizer: Optimizer,
    saved: Mapping[str, Any],
    groups: Sequence[Sequence[str]],
    still: Collection[str],
) -> None:
    """Give an optimizer the groups that it had when it was saved, and freeze what was frozen.

    Args:
        module: the module.
        optimizer: its optimizer.
        saved: the optimizer's state, which has the values of the groups.
        groups: as :func:`grouped` had them.
        still: as :func:`frozen` had them.
    """
    parameters = dict(module.named_parameters())
    for name, one in parameters.items():
        one.requires_grad_(name not in still)
    if list(map(list, groups)) == grouped(module, optimizer):
        return
    if not all(name in parameters for group in groups for name in group):
        return  # parameters of another module, which the state will tell of
    optimizer.param_groups[:] = [
        {**values, "params": [parameters[name] for name in group]}
        for values, group in zip(saved["param_groups"], groups, strict=True)
    ]
