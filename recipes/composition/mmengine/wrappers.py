"""Optimizer wrappers of MMEngine that were given as they are: taken over, or driven."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ....engine.origin import package_of
from ....engine.step.accumulation import Accumulation
from ....engine.step.guests import descends_from
from ....engine.step.mmengine.driven import DrivenOptimization
from ....engine.step.optimization import Optimization
from ....engine.step.precision import Precision
from ...config.mmengine_names import found_in
from ...config.objects import Objects
from ..gradients import ParamwiseCfg, clip_of

__all__ = [
    "is_dealt_out_by_mmengine",
    "is_wrapper",
    "optimizer_by_mmengine",
    "taken_over",
    "wrappers_in",
]

_logger = logging.getLogger("footplate.runner")

_METHODS = (
    "update_params",
    "backward",
    "step",
    "zero_grad",
    "optim_context",
    "should_update",
    "should_sync",
    "scale_loss",
    "_clip_grad",
)
"""What a class of the user's may do otherwise than MMEngine's."""

_CONSTRUCTOR = "DefaultOptimWrapperConstructor"
_PARAMWISE = {
    "bias_decay_mult",
    "bias_lr_mult",
    "bypass_duplicate",
    "custom_keys",
    "dcn_offset_lr_mult",
    "dwconv_decay_mult",
    "flat_decay_mult",
    "norm_decay_mult",
}
"""What that takes."""

_STATIC = 2**31 - 1  # steps until a scale that is never to grow would


def is_wrapper(given: object) -> bool:
    """Whether it is an ``OptimWrapper`` of MMEngine, or several in its ``OptimWrapperDict``.

    Example:
        >>> is_wrapper(torch.optim.SGD)
        False
    """
    return not isinstance(given, type) and descends_from(given, "OptimWrapper", "mmengine")


def wrappers_in(given: Any) -> Mapping[str, Any] | None:
    """Those of an ``OptimWrapperDict`` by name; ``None`` for anything else."""
    if is_wrapper(given) and descends_from(given, "OptimWrapperDict", "mmengine"):
        several: Mapping[str, Any] = dict(given.items())
        return several
    return None


def is_dealt_out_by_mmengine(paramwise: Any, objects: Objects) -> bool:
    """Whether a ``paramwise_cfg`` says what MMEngine's constructor alone does.

    Args:
        paramwise: what it says.
        objects: what checks it.
    """
    if not isinstance(paramwise, Mapping) or not all(_fits(*one) for one in paramwise.items()):
        return False
    if found_in("optim_wrapper_constructor", _CONSTRUCTOR) is None:
        return False
    return bool(objects.check_call(ParamwiseCfg, paramwise, "paramwise_cfg"))


def _fits(name: str, value: Any) -> bool:
    """Whether an entry of a ``paramwise_cfg`` could be meant for that constructor."""
    if name == "custom_keys":
        parts = value.values() if isinstance(value, Mapping) else [value]
        return all(isinstance(one, Mapping) for one in parts)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return name in _PARAMWISE and (number or name == "bypass_duplicate")


def optimizer_by_mmengine(
    kind: Any, options: Mapping[str, Any], paramwise: Mapping[str, Any], model: nn.Module
) -> Optimizer:
    """An optimizer whose parameters MMEngine's constructor deals out.

    Args:
        kind: the optimizer's class.
        options: its arguments.
        paramwise: what ``paramwise_cfg`` says.
        model: whose parameters they are.
    """
    from mmengine.registry import DefaultScope

    constructor = found_in("optim_wrapper_constructor", _CONSTRUCTOR)
    assert constructor is not None  # as it was asked for
    wrapper = {"type": "OptimWrapper", "optimizer": {**options, "type": kind}}
    with DefaultScope.overwrite_default_scope("mmengine"):  # it warns where a project's has none
        made: Optimizer = constructor(wrapper, dict(paramwise))(model).optimizer
    return made


def taken_over(wrapper: Any) -> Optimization:
    """A wrapper as an optimization.

    One of MMEngine's own classes is taken over: its optimizer, windows, clipping and precision;
    windows go on over the end of an epoch, as there. One of a class that has methods of its own is
    driven as it is, which is logged.

    Args:
        wrapper: the wrapper.

    Raises:
        TypeError: for ``ApexOptimWrapper``.
    """
    if descends_from(wrapper, "ApexOptimWrapper", "mmengine"):
        raise TypeError(
            "optim_wrapper is an ApexOptimWrapper, whose package has long been part of torch; give "
            "dict(type='AmpOptimWrapper', …)."
        )
    own = [name for name in _METHODS if not _is_as_it_was(wrapper, name)]
    if own:
        names = ", ".join(own)
        _logger.info("%s is driven as it is, for its %s", type(wrapper).__name__, names)
        return DrivenOptimization(wrapper)
    size = wrapper._accumulative_counts
    return Optimization(
        wrapper.optimizer,
        precision=_precision(wrapper),
        accumulate=Accumulation(size, at_epoch_end="carry" if size > 1 else "flush"),
        clip=_clip(wrapper),
    )


def _is_as_it_was(wrapper: Any, name: str) -> bool:
    """Whether a method of a wrapper is the one of MMEngine's classes."""
    if name in vars(wrapper):
        # a scheduler of MMEngine puts one that counts in the place of the method
        return bool(getattr(vars(wrapper)[name], "_with_counter", False))
    return package_of(getattr(type(wrapper), name)) == "mmengine"


def _clip(wrapper: Any) -> Any:
    options = wrapper.clip_grad_kwargs
    if not options:
        return None
    by_norm = wrapper.clip_func is torch.nn.utils.clip_grad_norm_
    known = {name: one for name, one in options.items() if name != "foreach"}
    return clip_of({"type": "norm" if by_norm else "value", **known})


def _precision(wrapper: Any) -> Precision:
    scaler = getattr(wrapper, "loss_scaler", None)
    if scaler is None:
        return Precision("fp32")
    if wrapper.cast_dtype is torch.bfloat16:
        return Precision("bf16")
    if wrapper.cast_dtype in (None, torch.float16):
        static = getattr(wrapper, "_scale_update_param", None) is not None
        return Precision(
            "fp16",
            init_scale=scaler.get_scale(),
            growth_factor=scaler.get_growth_factor(),
            backoff_factor=scaler.get_backoff_factor(),
            growth_interval=_STATIC if static else scaler.get_growth_interval(),
        )
    raise TypeError(
        f"an AmpOptimWrapper of {wrapper.cast_dtype} computes with no less than fp32; give an "
        f"OptimWrapper, or dtype 'bfloat16' or 'float16'."
    )
