"""Calling: how a method of a LightningModule is called, so that it knows where it logs."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import LightningTrainer

__all__ = ["PACKAGES", "call_module", "library", "tell", "within"]

PACKAGES = ("lightning", "pytorch_lightning")
"""The two names of the library."""

_MODULE = "LightningModule"
_NAMED = "_current_fx_name"  # where a LightningModule keeps which of its methods runs


def call_module(module: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of the module, which meanwhile knows its name, as ``self.log`` asks for it.

    Args:
        module: the module.
        name: the method's.
        *args: what it is given.
        **kwargs: what it is given by name.

    Returns:
        what it returns.
    """
    with within(module, name):
        return getattr(module, name)(*args, **kwargs)


def tell(trainer: LightningTrainer, name: str, *args: Any) -> Any:
    """Call a hook of the callbacks, and then of the module, whichever have it.

    Args:
        trainer: has the module and the callbacks.
        name: the hook's.
        *args: what the module's is given; a callback's has the trainer and the module before it.

    Returns:
        what the module's returns.
    """
    module = trainer.lightning_module
    with within(module, name):
        for callback in trainer.callbacks:
            if (hook := getattr(callback, name, None)) is not None:
                hook(trainer, module, *args)
        hook = getattr(module, name, None)
        return None if hook is None else hook(*args)


def within(module: Any, name: str) -> AbstractContextManager[None]:
    """The context in which a module takes itself to be in one of its hooks.

    Args:
        module: the module.
        name: the hook's.
    """
    return _Within(module, name)


class _Within:
    """Sets the name and puts it back; past the module's own way, which looks for tensors."""

    __slots__ = ("_before", "_module", "_name")

    def __init__(self, module: Any, name: str) -> None:
        self._module, self._name = module, name
        self._before = module._current_fx_name

    def __enter__(self) -> None:
        object.__setattr__(self._module, _NAMED, self._name)

    def __exit__(self, *error: object) -> None:
        object.__setattr__(self._module, _NAMED, self._before)


def library(module: Any, path: str) -> Any:
    """A part of the library that a module derives from, which has two names.

    Args:
        module: the module.
        path: of the part, ``"core.optimizer"`` say.

    Raises:
        TypeError: for what is no LightningModule, ``None`` where the module is gone included.
    """
    base = next((one for one in type(module).__mro__ if one.__name__ == _MODULE), None)
    if base is None:
        gone = "; a trainer holds its module weakly, so keep the module" if module is None else ""
        raise TypeError(
            f"{path!r} is looked for in the library of a LightningModule, given "
            f"{type(module).__name__}{gone}."
        )
    package = base.__module__.removesuffix(".core.module")
    return importlib.import_module(f"{package}.{path}")
