"""Options of policies: what is said in several of them, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

if TYPE_CHECKING:
    from .updater import Updater

__all__ = [
    "by_group",
    "check_by_iteration",
    "check_cycle",
    "check_places",
    "check_share",
    "check_target",
]


def check_target(hook: Updater, least: float | None, ratio: float | None) -> None:
    """Refuse two ends, and none.

    Raises:
        ValueError: unless exactly one of them is given.
    """
    if (least is None) == (ratio is None):
        raise ValueError(
            f"{type(hook).__name__} takes min_{hook.what} or min_{hook.what}_ratio, one of them; "
            f"given {least!r} and {ratio!r}."
        )


def check_by_iteration(hook: Updater, by_epoch: bool) -> None:
    """Refuse epochs, where a policy is made for iterations.

    Raises:
        ValueError: for ``by_epoch=True``.
    """
    if by_epoch:
        raise ValueError(f"{type(hook).__name__} counts iterations; give by_epoch=False.")


def check_places(step: Any) -> None:
    """Refuse what says no places to step at.

    Raises:
        ValueError: for what is neither a whole number above 0, nor a list of such.
    """
    several = list(step) if isinstance(step, (list, tuple)) else [step]
    if not all(type(one) is int and one > 0 for one in several):
        raise ValueError(f"step is a whole number above 0, or a list of such, given {step!r}.")


def check_cycle(ratio: Any, up: float, gamma: float) -> tuple[float, float]:
    """The two ratios of a cycle, of what says one or both.

    Raises:
        ValueError: for other ratios, and for a share and a factor out of range.
    """
    ratios = (ratio, ratio / 1e5) if isinstance(ratio, float) else ratio
    if isinstance(ratios, (list, tuple)) and len(ratios) == 1:
        ratios = (ratios[0], ratios[0] / 1e5)
    if not isinstance(ratios, (list, tuple)) or len(ratios) != 2:
        raise ValueError(f"target_ratio is a float or two of them, given {ratio!r}.")
    if not 0 <= up < 1:
        raise ValueError(f"step_ratio_up is from 0 to less than 1, given {up!r}.")
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma is above 0 and at most 1, given {gamma!r}.")
    return float(ratios[0]), float(ratios[1])


def check_share(name: str, share: Any) -> float:
    """A share of a run.

    Raises:
        ValueError: for what is no float from 0 to 1.
    """
    if not isinstance(share, float) or not 0 <= share <= 1:
        raise ValueError(f"{name} is a float from 0 to 1, given {share!r}.")
    return share


def by_group(
    given: float | Sequence[float] | Mapping[str, Any], optimizer: Optimizer, name: str
) -> list[float]:
    """A value for each parameter group, of one for all, one each, or these by optimizer.

    Raises:
        ValueError: for another number of values than there are groups.
        KeyError: for an optimizer of which nothing is said.
    """
    if isinstance(given, Mapping):
        name = name or type(optimizer).__name__
        if name not in given:
            raise KeyError(f"nothing is said of {name!r}, but of {', '.join(map(repr, given))}.")
        given = given[name]
    if isinstance(given, (int, float)):
        return [given] * len(optimizer.param_groups)
    if len(given) != len(optimizer.param_groups):
        raise ValueError(
            f"{len(given)} values were given for {len(optimizer.param_groups)} parameter groups."
        )
    return [float(one) for one in given]
