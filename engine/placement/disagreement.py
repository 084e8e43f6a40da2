"""Disagreement: processes that are to work as one are of one mind, or all say why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LaunchError
from .ranks import alike, gathered

__all__ = ["agree_or_raise"]

_LONGEST = 80  # characters of a value in a message
_NONE = "nothing"


def agree_or_raise(facts: Mapping[str, Any]) -> None:
    """Compare what each process takes for a fact; all processes have to call this.

    Sixteen bytes travel. Only if the processes differ, the facts themselves do.

    Args:
        facts: by name; whatever is compared by its ``repr``.

    Raises:
        LaunchError: in all processes, with each fact that is not the same in all, and who has it.

    Example:
        >>> agree_or_raise({"world size": 1, "seed": 7})
    """
    told = {name: repr(value) for name, value in facts.items()}
    if alike(repr(sorted(told.items()))):
        return
    everybody: list[dict[str, str]] = gathered(told)
    names = list(dict.fromkeys(name for one in everybody for name in one))
    differing = [line for name in names if (line := _difference(name, everybody))]
    raise LaunchError(
        "the processes don't agree with each other, so nothing is trained; give all of them the "
        "same configuration, data and versions:\n" + "\n".join(f"  {one}" for one in differing)
    )


def _difference(name: str, everybody: list[dict[str, str]]) -> str:
    """Who takes what for a fact; empty if all are of one mind."""
    ranks: dict[str, list[int]] = {}
    for rank, facts in enumerate(everybody):
        ranks.setdefault(facts.get(name, _NONE), []).append(rank)
    if len(ranks) == 1:
        return ""
    minds = (f"{_short(value)} on {_named(those)}" for value, those in ranks.items())
    return f"{name}: {'; '.join(minds)}"


def _named(ranks: list[int]) -> str:
    """Ranks in words, those behind each other as a range.

    Example:
        >>> _named([0, 2, 3, 4]), _named([7])
        ('ranks 0, 2-4', 'rank 7')
    """
    runs: list[list[int]] = []
    for one in ranks:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    words = (str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(words)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
