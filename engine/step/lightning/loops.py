"""Loops: what callbacks read off the loops of Lightning's trainer, as plain facts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import LightningTrainer

__all__ = ["Facts", "fit_loop"]


class Facts(SimpleNamespace):
    """Some facts of a loop; what is not among them is an error that says which are."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"the loops of this trainer are Footplate's, and here is no {name!r}, but "
            f"{', '.join(self.__dict__)}; what a run can be asked is current_epoch, global_step, "
            f"num_training_batches and the like of the trainer itself."
        )


def fit_loop(trainer: LightningTrainer) -> Facts:
    """How far training is, as monitors and savers ask for it.

    Args:
        trainer: has the facts.
    """
    training, validator = trainer.engine(), trainer.engine("val")
    validated = validator is not None and validator.state.iteration > 0
    return Facts(
        epoch_loop=Facts(
            _batches_that_stepped=trainer.global_step,
            batch_progress=Facts(is_last_batch=trainer.is_last_batch),
            val_loop=Facts(_has_run=validated and not trainer.sanity_checking),
        ),
        max_batches=trainer.num_training_batches,
        max_epochs=trainer.max_epochs,
        min_epochs=trainer.min_epochs,
        total_batch_idx=-1 if training is None else training.state.iteration - 1,
    )
