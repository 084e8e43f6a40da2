"""Batch transfer: Lightning's hooks around the move of a batch to the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...engine.handler import Handler
from ...engine.priority import Priority
from ...engine.step.lightning.calling import call_module
from ...engine.step.lightning.overridden import transferring

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...engine.step.lightning.trainer import LightningTrainer

__all__ = ["LightningTransfer"]


class LightningTransfer(Handler):
    """Calls the hooks of batch transfer; where only some are overridden, batches move as ever.

    Of each hook, the data module's goes before the module's.

    Args:
        trainer: has the module and the data module.
        move: what moves a batch where no hook does.
    """

    priority = Priority.HIGHEST
    for_one_engine = True

    def __init__(self, trainer: LightningTrainer, move: Callable[[Any], Any]) -> None:
        self.trainer = trainer
        self._move = move

    def get_batch_completed(self, engine: Engine) -> None:
        """Replace the batch by what the hooks make of it."""
        which = self.trainer.dataloader_idx or 0
        batch = self._hooked("on_before_batch_transfer", engine.state.batch, which)
        if transferring(self.trainer, "transfer_batch_to_device") is None:
            batch = self._move(batch)
        else:
            device = self.trainer.lightning_module.device
            batch = self._hooked("transfer_batch_to_device", batch, device, which)
        engine.state.batch = self._hooked("on_after_batch_transfer", batch, which)

    def _hooked(self, hook: str, batch: Any, *more: Any) -> Any:
        owner = transferring(self.trainer, hook)
        if owner is None:
            return batch
        if owner is self.trainer.lightning_module:
            return call_module(owner, hook, batch, *more)
        return getattr(owner, hook)(batch, *more)
