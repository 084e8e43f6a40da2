"""Whether an optimizer can go on from a state that was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from ..errors import StateError

__all__ = ["check_saved"]


def check_saved(optimizer: Optimizer, saved: Mapping[str, Any], name: str) -> None:
    """Refuse an optimizer's state that one of another kind saved, or one of other parameters.

    It would be loaded, and fail at the next step. Switches, which are off by default, come with
    newer versions of torch, which add them to what an older one saved; all else is needed.

    Args:
        optimizer: the optimizer that is to go on.
        saved: the state of one; what has no ``param_groups`` is left to the optimizer itself.
        name: what the state is saved under.

    Raises:
        StateError: saying what was saved and what is there.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> saved = torch.optim.SGD([weight], lr=0.1).state_dict()
        >>> try:
        ...     check_saved(torch.optim.Adam([weight]), saved, "optimizer")
        ... except StateError as error:
        ...     print(str(error).partition("; ")[2].partition(".")[0])
        the Adam that is here needs betas, eps, which that one has not
    """
    groups, own = saved.get("param_groups", ()), optimizer.param_groups
    was, now = ([len(one["params"]) for one in each] for each in (groups, own))
    kind = type(optimizer).__name__
    otherwise = (
        f"Go on with the optimizer that the run was begun with, or leave its state out by "
        f"without=[{name!r}], or begin a run with the weights alone."
    )
    if groups and was != now:
        raise StateError(
            f"the state of {name!r} was saved with {_counted(was)}, but the {kind} that is here "
            f"has {_counted(now)}. {otherwise}"
        )
    defaults = optimizer.defaults.items()
    needed = [key for key, one in defaults if not (one is None or isinstance(one, bool))]
    for group in groups:
        if lacking := [key for key in needed if key not in group]:
            has = [key for key in group if key != "params"]
            raise StateError(
                f"the state of {name!r} was saved by another kind of optimizer, with "
                f"{', '.join(has)}; the {kind} that is here needs {', '.join(lacking)}, which that "
                f"one has not. {otherwise}"
            )


def _counted(sizes: Sequence[int]) -> str:
    """Parameter groups in words."""
    many = "1 parameter group" if len(sizes) == 1 else f"{len(sizes)} parameter groups"
    return f"{many} of {' and '.join(map(str, sizes))} parameters"
