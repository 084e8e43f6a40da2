"""Which of Lightning's hooks somebody has overridden; the others need not be called."""

from __future__ import annotations

import inspect
from typing import Any

from ...overriding import overrides

__all__ = ["TRANSFERS", "overridden", "takes", "transferring"]

_BASES = (
    "lightning.pytorch.core",
    "lightning.pytorch.callbacks.callback",
    "pytorch_lightning.core",
    "pytorch_lightning.callbacks.callback",
)
"""The modules of the base classes, whose hooks do nothing, or what is done anyway."""

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
"""The hooks around the move of a batch to the device, in their order."""


def overridden(given: object, hook: str) -> bool:
    """Whether a module, a callback or a data module has a hook of its own.

    Example:
        >>> class Greeter:
        ...     def on_train_start(self, trainer, pl_module):
        ...         print("hello")
        >>> overridden(Greeter(), "on_train_start"), overridden(Greeter(), "on_train_end")
        (True, False)
    """
    return overrides(given, hook, *_BASES)


def takes(module: Any, method: str, parameter: str) -> bool:
    """Whether a method of a module has a parameter of this name.

    Example:
        >>> class Pair:
        ...     def training_step(self, batch, batch_idx, optimizer_idx): ...
        >>> [takes(Pair(), "training_step", name) for name in ("optimizer_idx", "hiddens")]
        [True, False]
    """
    return parameter in inspect.signature(getattr(module, method)).parameters


def transferring(trainer: Any, *hooks: str) -> Any:
    """Who has one of some hooks of batch transfer: the data module, the module, or ``None``.

    Args:
        trainer: knows both.
        hooks: which of :data:`TRANSFERS`; by default all.
    """
    for one in (trainer.datamodule, trainer.lightning_module):
        if one is not None and any(overridden(one, hook) for hook in hooks or TRANSFERS):
            return one
    return None
