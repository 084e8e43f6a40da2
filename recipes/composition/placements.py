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
from ...engine.placement.zero_config import checked_config
from ..config.objects import Objects
from ..config.problems import ABSENT, Problem
from ..config.registry import MODEL_WRAPPERS
from .slips import taken_by

__all__ = ["check_one_optimizer", "check_placement", "placement_of"]

_REPLICATED, _CONFIG = "ddp", "config"

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
    spec, own = _parted({"type": _REPLICATED, **(given or {})}, objects)
    made: Placement = objects.build(
        spec, MODEL_WRAPPERS, path="model_wrapper_cfg", device=device, **own
    )
    return made


def check_placement(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with it."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield Problem(path=path, given=given, reason="is a mapping, as {'type': 'ddp'}")
        return
    spec, own = _parted({"type": _REPLICATED, **given}, objects)
    yield from objects.check(spec, path, MODEL_WRAPPERS, injected=("device", *own))
    if own and objects.find(spec["type"], MODEL_WRAPPERS) is DeepSpeed:
        try:
            checked_config(own[_CONFIG])
        except ValueError as error:
            yield Problem(path=f"{path}.{_CONFIG}", given=ABSENT, reason=str(error))


def check_one_optimizer(arguments: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong, if a placement brings an optimizer, and another one is given.

    Args:
        arguments: the runner's.
    """
    given = arguments.get("model_wrapper_cfg")
    own = given.get(_CONFIG) if isinstance(given, Mapping) else None
    optimizer = own.get("optimizer") if isinstance(own, Mapping) else None
    if optimizer is not None and arguments.get("optim_wrapper") is not None:
        yield Problem(
            path=f"model_wrapper_cfg.{_CONFIG}.optimizer",
            given=optimizer,
            reason="optim_wrapper says what the optimizer is, too; leave one of them out",
        )


def _parted(
    given: Mapping[str, Any], objects: Objects
) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """The options, and a library's own configuration, whose types are that library's business."""
    taken = _CONFIG in taken_by(given["type"], objects, MODEL_WRAPPERS)
    own = {_CONFIG: given[_CONFIG]} if taken and isinstance(given.get(_CONFIG), Mapping) else {}
    return {name: one for name, one in given.items() if name not in own}, own
