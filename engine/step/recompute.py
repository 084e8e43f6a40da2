"""Activation checkpointing: keep a module's inputs, and compute the rest again for the gradients.

It trades time for memory, as Chen et al., "Training Deep Nets with Sublinear Memory Cost"
(2016), describe it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from ..errors import nearest
from .compiling import own_name, uncompiled

__all__ = ["keep_activations", "recompute_activations"]


def recompute_activations(
    model: nn.Module, *which: str | type[nn.Module], preserve_rng_state: bool = True
) -> list[str]:
    """Let submodules keep no activations in training, but compute them again in backward.

    Nothing else changes: gradients, running statistics and the names of the state are those of
    the model before, bit for bit; dropout draws the same numbers twice. In evaluation, and where
    no gradients are recorded, the modules run as ever. Autocast is as it was in the forward pass.

    Args:
        model: the model, changed in place. It may be deep-copied and pickled.
        which: names of submodules, as ``fnmatch`` patterns (``"layers.*"``; a ``*`` matches dots,
            too), or classes. Of modules within each other the outermost is meant, so
            ``"layers.*"`` is each layer as a whole. The model itself is never meant.
        preserve_rng_state: whether random numbers are drawn again as they were. Without it, a
            model that draws none saves a little time.

    Returns:
        the names of the submodules, in the order of the model.

    Raises:
        ValueError: if a pattern or class matches nothing, or a module that keeps no activations
            already or lies within one, or one whose ``forward`` was replaced.
        TypeError: for what is neither a name nor a class of modules.

    Example:
        >>> layer = lambda: torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
        >>> model = torch.nn.Sequential(layer(), layer(), torch.nn.Linear(8, 1))
        >>> recompute_activations(model, "[01]")
        ['0', '1']
        >>> model(torch.ones(4, 8)).sum().backward()
        >>> keep_activations(model)
        ['0', '1']
    """
    if not which:
        raise ValueError(
            "recompute_activations() was told no module; give names such as 'layers.*', or classes."
        )
    modules = _submodules(model)
    done = [name for name, module in modules.items() if isinstance(module, _Recomputing)]
    chosen = _outermost({name for one in which for name in _matches(one, modules)}, modules)
    for name in chosen:
        if clash := [other for other in done if _within(name, other) or _within(other, name)]:
            raise ValueError(
                f"{name!r} can't recompute its activations, as {clash[0]!r} does already; call "
                f"keep_activations(model) first."
            )
        if "forward" in vars(modules[name]):
            raise ValueError(
                f"{name!r} has a forward of its own, set on the instance; it would not be seen. "
                f"Define forward in its class."
            )
    for module in {id(modules[name]): modules[name] for name in chosen}.values():
        _recompute(module, preserve_rng_state)
    return chosen


def keep_activations(model: nn.Module) -> list[str]:
    """Undo :func:`recompute_activations`.

    Returns:
        the names of the submodules that keep their activations again.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
        >>> recompute_activations(model, "*")
        ['0', '1']
        >>> keep_activations(model), keep_activations(model)
        (['0', '1'], [])
    """
    modules = _submodules(model)
    done = [name for name, module in modules.items() if isinstance(module, _Recomputing)]
    for module in {id(modules[name]): modules[name] for name in done}.values():
        module.__class__ = type(module).__mro__[2]
    return done


class _Recomputing(nn.Module):
    """Goes before the class of a module.

    The class is changed, as a ``forward`` set on the instance would belong to the original still
    when the module is copied, and would keep it alive.
    """

    _preserve_rng_state: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*args, **kwargs)
        options: dict[str, Any] = {}
        if not torch.compiler.is_compiling():  # a compiled graph updates statistics only once
            options["context_fn"] = lambda: (nullcontext(), _StatisticsKept(self))
        return checkpoint(
            partial(super().forward, **kwargs),  # its keywords must not be taken for checkpoint's
            *args,
            use_reentrant=False,
            preserve_rng_state=self._preserve_rng_state,
            **options,
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = self.__getstate__()  # type: ignore[no-untyped-call]
        return _remade, (type(self).__mro__[2], self._preserve_rng_state), state


def _recompute(module: nn.Module, preserve_rng_state: bool) -> None:
    kind = type(module)
    body = {"_preserve_rng_state": preserve_rng_state, "__module__": kind.__module__}
    module.__class__ = type(kind.__name__, (_Recomputing, kind), body)


def _remade(kind: type[nn.Module], preserve_rng_state: bool) -> nn.Module:
    """A module without a state yet, for ``pickle`` and ``copy``."""
    module = kind.__new__(kind)
    _recompute(module, preserve_rng_state)
    return module


class _StatisticsKept(AbstractContextManager[None]):
    """Gives norm layers running statistics to throw away: the forward pass has counted the batch.

    torch.utils.checkpoint alone counts it twice (pytorch/pytorch#96136). It is entered as often
    as a graph that is retained is walked.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._kept: list[tuple[_NormBase, dict[str, Tensor | None]]] = []

    def __enter__(self) -> None:
        for one in self._module.modules():
            if isinstance(one, _NormBase):
                self._kept.append((one, dict(one._buffers)))
                for name, buffer in one._buffers.items():
                    one._buffers[name] = None if buffer is None else buffer.clone()

    def __exit__(self, *_: object) -> None:
        while self._kept:
            one, buffers = self._kept.pop()
            one._buffers.update(buffers)


def _submodules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules within a model, under each of their names."""
    found = uncompiled(model).named_modules(remove_duplicate=False)
    modules = {own_name(name): module for name, module in found}
    del modules[""]
    return modules


def _matches(which: str | type[nn.Module], modules: dict[str, nn.Module]) -> list[str]:
    if isinstance(which, str):
        found = [name for name in modules if fnmatchcase(name, which)]
        if not found:
            raise ValueError(f"no submodule is named {which!r}.{nearest(which, modules)}")
        return found
    if not (isinstance(which, type) and issubclass(which, nn.Module)):
        raise TypeError(f"give names or classes of submodules, not {which!r}.")
    found = [name for name, module in modules.items() if isinstance(module, which)]
    if not found:
        kinds = {type(module).__name__: None for module in modules.values()}
        raise ValueError(
            f"no submodule is a {which.__name__}; there are {', '.join(kinds)}."
            f"{nearest(which.__name__, kinds)}"
        )
    return found


def _outermost(names: set[str], modules: dict[str, nn.Module]) -> list[str]:
    """The names that lie within none of the others, in the order of the model."""
    return [
        name
        for name in modules
        if name in names and not any(_within(name, other) for other in names if other != name)
    ]


def _within(name: str, other: str) -> bool:
    return name == other or name.startswith(f"{other}.")
