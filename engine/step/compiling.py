"""Compilation: ``torch.compile`` by one option, and weights that keep their names through it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import nearest

__all__ = ["compile_model", "own_name", "uncompiled"]

_WRAPPED = "_orig_mod"  # what torch.compile(model) calls the model inside of its wrapper


def compile_model(model: nn.Module, options: bool | Mapping[str, Any] = True) -> None:
    """Compile a model in place, by ``nn.Module.compile``.

    The model stays the object that it was, and its state keeps its names. Compilation itself
    happens at the first call. A deep copy of the model is not compiled.

    Args:
        model: the model.
        options: ``False`` for nothing, ``True`` for torch's defaults, or keywords of
            ``torch.compile``: ``{"mode": "reduce-overhead", "dynamic": True}``.

    Raises:
        TypeError: if ``options`` is neither a bool nor a mapping.
        ValueError: for a keyword that ``torch.compile`` does not have, and for a model that is
            wrapped by ``torch.compile`` already.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> compile_model(model, {"backend": "eager"})
        >>> model(torch.ones(3, 2)).shape, list(model.state_dict())
        (torch.Size([3, 1]), ['weight', 'bias'])
    """
    if not isinstance(options, (bool, Mapping)):
        raise TypeError(
            f"compile is a bool or a dict of keywords of torch.compile, given {options!r}."
        )
    keywords = {} if isinstance(options, bool) else dict(options)
    known = [name for name in inspect.signature(torch.compile).parameters if name != "model"]
    for name in keywords:
        if name not in known:
            raise ValueError(
                f"torch.compile has no keyword {name!r}; it takes {', '.join(known)}."
                f"{nearest(str(name), known)}"
            )
    if options is False:
        return
    if uncompiled(model) is not model:
        raise ValueError(
            "the model was compiled by torch.compile(model) already; give the model itself, "
            "or leave compile=False."
        )
    model.compile(**keywords)
    if type(model).forward.__module__.startswith("torch."):
        _compile_own(model, keywords)


def _compile_own(model: nn.Module, keywords: Mapping[str, Any]) -> None:
    """Compile a module of torch itself, such as ``Sequential``.

    ``nn.Module.compile`` silently does nothing for it, as all of its frames are passed over
    (pytorch/pytorch#150915); so it gets one of ours to begin with.
    """
    call_impl = model._call_impl

    def call(*args: Any, **kwargs: Any) -> Any:
        return call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    model._compiled_call_impl = torch.compile(call, **keywords)


def uncompiled(model: nn.Module) -> nn.Module:
    """The model inside of what ``torch.compile(model)`` returned; any other as it is.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> uncompiled(torch.compile(model)) is model, uncompiled(model) is model
        (True, True)
    """
    while isinstance(inner := getattr(model, _WRAPPED, None), nn.Module):
        model = inner
    return model


def own_name(name: str) -> str:
    """The name of a parameter, buffer or module without what ``torch.compile`` adds to it.

    Example:
        >>> own_name("_orig_mod.layers.0._orig_mod.weight")
        'layers.0.weight'
    """
    return ".".join(part for part in name.split(".") if part != _WRAPPED)
