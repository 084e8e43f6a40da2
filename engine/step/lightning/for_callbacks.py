"""What Lightning's own callbacks ask its trainer for, besides the facts of the run."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from . import checkpoint
from .calling import library
from .manner import Manner

__all__ = ["ForCallbacks"]

_ACCELERATORS = {"cuda": "CUDAAccelerator", "mps": "MPSAccelerator"}


class ForCallbacks(Manner):
    """The part of a module's trainer that callbacks such as Lightning's look at.

    Attributes:
        callbacks: Lightning's callbacks that the run has.
        ckpt_path: the file that the run goes on from: none, as it goes on from checkpoints of ours.
    """

    ckpt_path = None
    callbacks: list[Any]

    @property
    def fit_loop(self) -> SimpleNamespace:
        """Where monitors and savers read the step that they log at, and how far the epoch is."""
        validator = self.engine("val")
        validated = validator is not None and validator.state.iteration > 0
        epoch_loop = SimpleNamespace(
            _batches_that_stepped=self.global_step,
            batch_progress=SimpleNamespace(is_last_batch=self.is_last_batch),
            val_loop=SimpleNamespace(_has_run=validated and not self.sanity_checking),
        )
        return SimpleNamespace(epoch_loop=epoch_loop)

    @property
    def enable_validation(self) -> bool:
        """Whether training is validated."""
        return sum(self.num_val_batches) > 0

    @property
    def accelerator(self) -> Any:
        """Lightning's own object for the kind of device, which tells how much of it is used."""
        kinds = library(self.lightning_module, "accelerators")
        kind = self.strategy.root_device.type
        return getattr(kinds, _ACCELERATORS.get(kind, "CPUAccelerator"))()

    def save_checkpoint(
        self, filepath: str | os.PathLike[str], weights_only: bool | None = None, **options: Any
    ) -> None:
        """Write a file of Lightning's format; no run of ours goes on from it.

        Args:
            filepath: of the file.
            weights_only: whether optimizers and schedulers are left out.
            options: none.

        Raises:
            TypeError: for options of Lightning's storage.
        """
        if any(one is not None for one in options.values()):
            raise TypeError(
                f"save_checkpoint() writes one file to this machine's disk, and takes no "
                f"{', '.join(options)}."
            )
        checkpoint.write(self, filepath, weights_only=bool(weights_only))
