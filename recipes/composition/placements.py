"""Placements: how ``model_wrapper_cfg`` says that several processes train one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ...engine.placement.deepspeed import DeepSpeed
from ...engine.placement.placement import Placement
from ...engine.placement.ranks import world_size
from ...engine.placement.replicated import Replicated
from ...engine.placement.sharded import Sharded
from ..config.objects import Objects
from ..config.problems import Problem
from ..config.registry import MODEL_WRAPPERS

__all__ = ["check_placement", "placement_of"]

_REPLICATED = "ddp"

MODEL_WRAPPERS.register_module(
    Replicated, name=(_REPLICATED, "DistributedDataParallel", "MMDistributedDataParallel")
)
MODEL_WRAPPERS.register_module(
    Sharded, name=("fsdp", "FullyShardedDataParallel", "MMFullyShardedDataParallel")
)
MODEL_WRAPPERS.register_module(DeepSpeed, name=("deepspeed", "MMDeepSpeedEngineWrapper"))


def placement_of(
    given: Mapping[str, Any] | None, objects: Objects, device: torch.device
) -> Placement:
    """Where a runner's model runs.

    Args:
        given: ``{"type": …, **options}``; replicas where it names none.
        objects: what finds types.
        device: of this process.

    Returns:
        what was asked for; in one process that is asked for nothing, one device.

    Example:
        >>> type(placement_of(None, Objects(), torch.device("cpu"))).__name__
        'Placement'
    """
    if world_size() == 1 and given is None:
        return Placement(device)
    spec = {"type": _REPLICATED, **(given or {})}
    made: Placement = objects.build(spec, MODEL_WRAPPERS, path="model_wrapper_cfg", device=device)
    return made


def check_placement(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with it."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield Problem(path=path, given=given, reason="is a mapping, as {'type': 'ddp'}")
        return
    spec = {"type": _REPLICATED, **given}
    yield from objects.check(spec, path, MODEL_WRAPPERS, injected=("device",))
