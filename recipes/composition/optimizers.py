"""Optimizers: what ``optim_wrapper`` says, as optimizations of a model's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from ...engine.errors import nearest
from ...engine.step.accumulation import Accumulation
from ...engine.step.groups import Rule, default_optimizer, parameter_groups
from ...engine.step.optimization import Optimization
from ...engine.step.precision import Precision
from ..config.objects import Objects
from ..config.problems import ABSENT, ConfigError, Problem
from ..config.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from .gradients import ClipCfg, ParamwiseCfg, clip_of
from .mmengine.wrappers import (
    is_dealt_out_by_mmengine,
    is_wrapper,
    optimizer_by_mmengine,
    taken_over,
    wrappers_in,
)
from .slips import slips, taken_by

__all__ = [
    "amp_optim_wrapper",
    "check_optimizations",
    "missing_optimizers",
    "optim_wrapper",
    "optimizations",
]

_PARTS = ("optimizer", "paramwise_cfg", "constructor")  # what is not the wrapper's own

_NEAR = 0.85  # how alike a name is that is meant to be one of these, and not an optimizer's own


@OPTIM_WRAPPERS.register_module(name=["OptimWrapper", "OptimizerWrapper"])
def optim_wrapper(
    optimizer: Optimizer,
    *,
    accumulative_counts: int | Mapping[Any, int] = 1,
    clip_grad: Mapping[str, Any] | ClipCfg | float | bool | None = None,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
) -> Optimization:
    """An optimizer with accumulation and clipping.

    Args:
        optimizer: the optimizer.
        accumulative_counts: batches that make one step, or ``{epoch: batches}``.
        clip_grad: ``dict(max_norm=…)``, ``dict(type="value", clip_value=…)``, or the norm.
        precision: what the forward pass computes with.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> optim_wrapper(sgd, accumulative_counts=4, clip_grad=dict(max_norm=1.0)).clip
        ClipNorm(1, 2)
    """
    return Optimization(
        optimizer,
        precision=precision,
        accumulate=_accumulation(accumulative_counts),
        clip=clip_of(clip_grad),
    )


@OPTIM_WRAPPERS.register_module(name=["AmpOptimWrapper", "AmpOptimizerWrapper"])
def amp_optim_wrapper(
    optimizer: Optimizer,
    *,
    dtype: Literal["float16", "bfloat16"] = "float16",
    loss_scale: float | Literal["dynamic"] | Mapping[str, Any] = "dynamic",
    accumulative_counts: int | Mapping[Any, int] = 1,
    clip_grad: Mapping[str, Any] | ClipCfg | float | bool | None = None,
) -> Optimization:
    """An optimizer whose forward passes are in half precision.

    Args:
        optimizer: the optimizer.
        dtype: what the forward pass computes with.
        loss_scale: of float16: ``"dynamic"``, the scale to begin with, or keywords of
            ``torch.amp.GradScaler``.
        accumulative_counts: batches that make one step, or ``{epoch: batches}``.
        clip_grad: as :func:`optim_wrapper` takes it.
    """
    scaler: dict[str, Any] = {}
    if isinstance(loss_scale, Mapping):
        scaler = dict(loss_scale)
    elif loss_scale != "dynamic":
        scaler = {"init_scale": float(loss_scale), "growth_interval": 2**31 - 1}
    precision = Precision("bf16") if dtype == "bfloat16" else Precision("fp16", **scaler)
    return Optimization(
        optimizer,
        precision=precision,
        accumulate=_accumulation(accumulative_counts),
        clip=clip_of(clip_grad),
    )


def optimizations(
    given: Any, model: nn.Module, objects: Objects
) -> Optimization | dict[str, Optimization]:
    """The optimization of a model, or several by name.

    Args:
        given: what ``optim_wrapper`` says: nothing, for AdamW without decay on biases and norm
            layers; an optimizer, an optimization or a wrapper of MMEngine; a mapping with
            ``optimizer``; or several by name, each for the submodule of its name, unless a
            ``constructor`` deals them out.
        model: whose parameters are optimized.
        objects: what builds what is given as ``{type: …}``.

    Raises:
        ConfigError: for what does not fit.
    """
    if given is None:
        return Optimization(default_optimizer(model))
    given = wrappers_in(given) or given
    if isinstance(given, Mapping) and "constructor" in given:
        return _constructed(dict(given), model, objects)
    if not _is_several(given):
        return _one(given, model, objects, "optim_wrapper")
    made = {}
    for name, one in given.items():
        owner = model if not isinstance(one, Mapping) else _part(model, name)
        made[name] = _one(one, owner, objects, f"optim_wrapper.{name}")
    return made


def check_optimizations(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with an ``optim_wrapper``."""
    if given is None or isinstance(given, (Optimizer, Optimization)) or is_wrapper(given):
        return
    if not isinstance(given, Mapping):
        yield Problem(
            path=path,
            given=given,
            reason="an optim_wrapper is an optimizer, an Optimization, or a mapping with optimizer",
        )
    elif _is_several(given):
        for name, one in given.items():
            yield from check_optimizations(one, f"{path}.{name}", objects)
    else:
        yield from _check_one(dict(given), path, objects)


def missing_optimizers(given: Any, path: str) -> Iterator[Problem]:
    """Where an ``optim_wrapper`` has no optimizer, which it needs unless the model brings some."""
    if _is_several(given):
        for name, one in given.items():
            yield from missing_optimizers(one, f"{path}.{name}")
    elif isinstance(given, Mapping) and not any(map(given.get, ("constructor", "optimizer"))):
        yield Problem(path=f"{path}.optimizer", given=ABSENT, reason="an optimizer is missing")


def _check_one(given: Mapping[str, Any], path: str, objects: Objects) -> Iterator[Problem]:
    if (constructor := given.get("constructor")) is not None:
        spec = constructor if isinstance(constructor, Mapping) else {"type": constructor}
        injected = ("optim_wrapper_cfg", "paramwise_cfg")
        where = f"{path}.constructor"
        yield from objects.check(spec, where, OPTIM_WRAPPER_CONSTRUCTORS, injected=injected)
        return
    if given.get("optimizer") is not None:
        yield from _check_optimizer(given["optimizer"], f"{path}.optimizer", objects)
    own = {name: one for name, one in given.items() if name not in _PARTS}
    for slip in slips(
        own, _PARTS, taken_by(own.get("type", "OptimWrapper"), objects, OPTIM_WRAPPERS), path
    ):
        own.pop(slip.path.rpartition(".")[2])
        yield slip
    own.pop("clip_grad", None)  # whose type is none of an object
    yield from objects.check({"type": "OptimWrapper", **own}, path, OPTIM_WRAPPERS, injected=_PARTS)
    yield from _check_windows(given.get("accumulative_counts", 1), f"{path}.accumulative_counts")
    yield from _check_clip(given.get("clip_grad"), f"{path}.clip_grad", objects)
    paramwise = given.get("paramwise_cfg")
    if paramwise is not None and not is_dealt_out_by_mmengine(paramwise, objects):
        yield from objects.check_call(ParamwiseCfg, paramwise, f"{path}.paramwise_cfg")


def _check_clip(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if isinstance(given, Mapping):
        yield from objects.check_call(ClipCfg, given, path)
        return
    try:
        clip_of(given)
    except (TypeError, ValueError) as error:
        yield Problem(path=path, given=ABSENT, reason=str(error))


def _check_windows(given: Any, path: str) -> Iterator[Problem]:
    try:
        _accumulation(given)
    except (TypeError, ValueError) as error:
        yield Problem(path=path, given=ABSENT, reason=str(error))


def _accumulation(given: int | Mapping[Any, int]) -> Accumulation:
    """Windows of so many batches, or ``{epoch: batches}``; in YAML an epoch is a text."""
    if isinstance(given, Mapping):
        return Accumulation.of({int(epoch): size for epoch, size in given.items()})
    return Accumulation.of(given)


def _check_optimizer(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if isinstance(given, Mapping):
        yield from objects.check(given, path, OPTIMIZERS, injected=("params",))
        if "type" not in given:
            yield Problem(path=f"{path}.type", given=ABSENT, reason="an optimizer needs a type")
    elif not isinstance(given, Optimizer):
        yield Problem(path=path, given=given, reason="is no optimizer of torch")


def _one(given: Any, model: nn.Module, objects: Objects, path: str) -> Optimization:
    if isinstance(given, Optimization):
        return given
    if isinstance(given, Optimizer):
        return Optimization(given)
    if is_wrapper(given):
        return taken_over(given)
    problems = [*check_optimizations(given, path, objects), *missing_optimizers(given, path)]
    if problems:
        raise ConfigError(problems)
    wrapper = {name: value for name, value in given.items() if name not in _PARTS}
    if isinstance(clip := wrapper.get("clip_grad"), Mapping):
        wrapper["clip_grad"] = objects.call(ClipCfg, clip, path=f"{path}.clip_grad")
    optimizer = given["optimizer"]
    if isinstance(optimizer, Mapping):
        paramwise = given.get("paramwise_cfg") or {}
        optimizer = _optimizer(optimizer, paramwise, model, objects, path)
    made: Optimization = objects.build(
        {"type": "OptimWrapper", **wrapper}, OPTIM_WRAPPERS, path=path, optimizer=optimizer
    )
    return made


def _optimizer(
    spec: Mapping[str, Any], paramwise: Any, model: nn.Module, objects: Objects, path: str
) -> Optimizer:
    if is_dealt_out_by_mmengine(paramwise, objects):
        options = {name: value for name, value in spec.items() if name != "type"}
        kind = objects.find(spec["type"], OPTIMIZERS)
        return optimizer_by_mmengine(kind, options, paramwise, model)
    cfg: ParamwiseCfg = objects.call(ParamwiseCfg, paramwise, path=f"{path}.paramwise_cfg")
    params = _parameters(model, list(cfg.as_rules()), spec)
    made: Optimizer = objects.build(spec, OPTIMIZERS, path=f"{path}.optimizer", params=params)
    return made


def _parameters(model: nn.Module, rules: Sequence[Rule], spec: Mapping[str, Any]) -> list[Any]:
    if not rules:
        return [one for one in model.parameters() if one.requires_grad]
    lr, decay = spec.get("lr", 1e-3), spec.get("weight_decay", 0.0)
    return list(parameter_groups(model, *rules, lr=lr, weight_decay=decay))


def _constructed(
    given: dict[str, Any], model: nn.Module, objects: Objects
) -> Optimization | dict[str, Optimization]:
    """Leave it to a class of the user's, as MMEngine does for several optimizers."""
    constructor, paramwise = given.pop("constructor"), given.pop("paramwise_cfg", None)
    spec = {"type": constructor} if not isinstance(constructor, Mapping) else constructor
    maker = objects.build(
        spec,
        OPTIM_WRAPPER_CONSTRUCTORS,
        path="optim_wrapper.constructor",
        optim_wrapper_cfg=given,
        paramwise_cfg=paramwise,
    )
    made = maker(model)
    made = wrappers_in(made) or made
    if isinstance(made, Mapping):
        return {name: _one(one, model, objects, name) for name, one in made.items()}
    return _one(made, model, objects, "optim_wrapper")


def _is_several(given: Any) -> bool:
    known = ("type", "clip_grad", "accumulative_counts", *_PARTS)
    return (
        isinstance(given, Mapping)
        and bool(given)
        and not any(get_close_matches(str(name), known, 1, _NEAR) for name in given)
        and all(
            isinstance(one, (Mapping, Optimizer, Optimization)) or is_wrapper(one)
            for one in given.values()
        )
    )


def _part(model: nn.Module, name: str) -> nn.Module:
    children: dict[str, nn.Module] = dict(model.named_modules())
    if name not in children:
        raise ConfigError(
            [
                Problem(
                    path=f"optim_wrapper.{name}",
                    given=name,
                    reason=f"{type(model).__name__} has no submodule of this name to optimize; "
                    f"give a constructor that deals the parameters out",
                    hint=nearest(name, children),
                )
            ]
        )
    return children[name]
