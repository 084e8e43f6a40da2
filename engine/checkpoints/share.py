"""What one process writes of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .background import HostCopy
from .shards import Piece

__all__ = ["BUFFERS", "Share", "merged", "of_its_own"]

_ENGINE = "engine"
BUFFERS = "buffers"
"""Where a state has the buffers of its process that are others than the first one's."""


@dataclass(frozen=True)
class Share:
    """What one process writes of a checkpoint.

    Attributes:
        weights: by name.
        state: all else, in tensors and primitives.
        pieces: what it has of tensors that lie on several processes.
    """

    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]
    pieces: Mapping[str, Piece] = field(default_factory=dict)

    def copied(self, host: HostCopy) -> Share:
        """The same in the host's memory."""
        locals_ = {name: piece.local for name, piece in self.pieces.items()}
        weights, state, copies = host.of([dict(self.weights), dict(self.state), locals_])
        pieces = {name: replace(one, local=copies[name]) for name, one in self.pieces.items()}
        return Share(weights, state, pieces)


def of_its_own(state: Mapping[str, Any], owners: Mapping[str, Any]) -> dict[str, Any]:
    """A state without what is the same on all processes.

    Args:
        state: what :meth:`.Contents.gather` gave.
        owners: handlers and others, by the keys of their states.
    """
    states = _without_equal(state["others"], owners)
    made = {**state, "others": states}
    if _ENGINE in state:
        exact = state[_ENGINE]["footplate"]
        handlers = _without_equal(exact["handlers"], owners)
        made[_ENGINE] = {**state[_ENGINE], "footplate": {**exact, "handlers": handlers}}
    return made


def merged(shared: dict[str, Any], own: Mapping[str, Any], *, place: bool) -> dict[str, Any]:
    """The state of one process, from the first one's and what it has of its own.

    Args:
        shared: the first one's.
        own: what :func:`of_its_own` left.
        place: whether its place in the run is its own, too, and not the first one's.
    """
    made = {**shared, **{key: one for key, one in own.items() if key not in (_ENGINE, "others")}}
    made["others"] = _joined(shared["others"], own["others"])
    if _ENGINE in shared and _ENGINE in own:
        engine = own[_ENGINE] if place else shared[_ENGINE]
        both = (one[_ENGINE]["footplate"]["handlers"] for one in (shared, own))
        exact = {**engine["footplate"], "handlers": _joined(*both)}
        made[_ENGINE] = {**engine, "footplate": exact}
    return made


def _without_equal(states: Mapping[str, Any], owners: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, state in states.items():
        equal = _equal_parts(owners.get(key))
        if equal is False:
            found[key] = state
        elif equal is not True and isinstance(state, Mapping):
            found[key] = {name: one for name, one in state.items() if name not in equal}
    return found


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(shared)
    for key, state in own.items():
        before = made.get(key)
        both = isinstance(before, Mapping) and isinstance(state, Mapping)
        made[key] = {**before, **state} if both else state  # type: ignore[dict-item]
    return made


def _equal_parts(owner: Any) -> bool | tuple[str, ...]:
    """What is the same on all processes of a state: all, nothing, or some of its keys."""
    known = getattr(owner, "replicated", None)
    if known is not None:
        return known if isinstance(known, bool) else tuple(known)
    if type(owner).__name__ == "ZeroRedundancyOptimizer":
        return False
    same = torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler
    return isinstance(owner, same)
