"""Parameter groups: what single parameters have of their own, as ``paramwise_cfg`` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ...engine.errors import nearest

__all__ = ["parameter_groups"]

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_KNOWN = (
    "custom_keys",
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "dwconv_decay_mult",
    "bypass_duplicate",
)
_OF_DECAY = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")


def parameter_groups(
    model: nn.Module, paramwise: Mapping[str, Any], lr: float | None, weight_decay: float | None
) -> list[dict[str, Any]]:
    """A group for each parameter, with the learning rate and weight decay that it has of its own.

    Args:
        model: the model.
        paramwise: factors: ``bias_lr_mult`` and ``bias_decay_mult`` of biases but those of norm
            layers, ``norm_decay_mult`` of these, ``dwconv_decay_mult`` of depth-wise
            convolutions; and ``custom_keys``, which beat all of them: ``lr_mult`` and
            ``decay_mult`` by a part of the parameter's name, of which the longest counts. With
            ``bypass_duplicate`` a shared parameter is in one group.
        lr: the learning rate that the optimizer is made with.
        weight_decay: its weight decay.

    Raises:
        ValueError: for unknown names, and for factors of what is not given.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        >>> groups = parameter_groups(model, dict(norm_decay_mult=0.0), 0.1, 0.01)
        >>> [group["weight_decay"] for group in groups if "weight_decay" in group]
        [0.01, 0.0, 0.0]

    Source: mmcv.runner.DefaultOptimizerConstructor of MMCV 1.7.
    """
    _check(paramwise, lr, weight_decay)
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, value in module.named_parameters(recurse=False):
            if paramwise.get("bypass_duplicate") and value.requires_grad and id(value) in seen:
                continue
            seen.add(id(value))
            group: dict[str, Any] = {"params": [value]}
            if value.requires_grad:
                group.update(_own(prefix, name, module, paramwise, lr, weight_decay))
            groups.append(group)
    return groups


def _own(
    prefix: str,
    name: str,
    module: nn.Module,
    paramwise: Mapping[str, Any],
    lr: float | None,
    weight_decay: float | None,
) -> Iterator[tuple[str, float]]:
    """What a parameter has of its own."""
    custom = paramwise.get("custom_keys") or {}
    keys = sorted(sorted(custom), key=len, reverse=True)
    if (key := next((one for one in keys if one in f"{prefix}.{name}"), None)) is not None:
        yield "lr", (lr or 0.0) * custom[key].get("lr_mult", 1.0)
        if weight_decay is not None:
            yield "weight_decay", weight_decay * custom[key].get("decay_mult", 1.0)
        return
    is_norm, is_bias = isinstance(module, _NORMS), name == "bias"
    if is_bias and not is_norm:
        yield "lr", (lr or 0.0) * paramwise.get("bias_lr_mult", 1.0)
    if weight_decay is not None and (kind := _decay_of(module, is_norm, is_bias)) is not None:
        yield "weight_decay", weight_decay * paramwise.get(kind, 1.0)


def _decay_of(module: nn.Module, is_norm: bool, is_bias: bool) -> str | None:
    """The name of the factor of a parameter's weight decay."""
    if is_norm:
        return "norm_decay_mult"
    if isinstance(module, nn.Conv2d) and module.in_channels == module.groups:
        return "dwconv_decay_mult"
    return "bias_decay_mult" if is_bias else None


def _check(paramwise: Mapping[str, Any], lr: float | None, weight_decay: float | None) -> None:
    for name in paramwise:
        if name not in _KNOWN:
            raise ValueError(
                f"paramwise_cfg has {', '.join(_KNOWN)}, not {name!r}.{nearest(name, _KNOWN)}"
            )
    custom = paramwise.get("custom_keys") or {}
    scales_decay = any("decay_mult" in one for one in custom.values())
    if weight_decay is None and (scales_decay or any(one in paramwise for one in _OF_DECAY)):
        raise ValueError("paramwise_cfg scales the weight decay; give the optimizer weight_decay=.")
    if lr is None and (custom or "bias_lr_mult" in paramwise):
        raise ValueError("paramwise_cfg scales the learning rate; give the optimizer lr=.")
