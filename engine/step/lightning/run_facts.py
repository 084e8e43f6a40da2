"""Facts of a run, as the trainer of a LightningModule is asked for them; an engine knows some."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...minimum import Minimum
from ...source import length_of
from ...stream.sink import Sink

if TYPE_CHECKING:
    from ...engine import Engine

__all__ = ["RunFacts"]


class RunFacts:
    """What is known of a run from its engines alone; a runner knows more."""

    fast_dev_run: bool | int = False
    min_epochs: int | None = None
    min_steps: int | None = None
    max_time: Any = None
    log_every_n_steps: int = 50
    check_val_every_n_epoch: int | None = 1
    val_check_interval: Any = 1.0
    num_sanity_val_steps = 0
    reload_dataloaders_every_n_epochs = 0
    overfit_batches: Any = 0.0
    num_nodes = 1

    def max_epochs(self, trainer: Engine | None) -> int | None:
        """Epochs of training in all; ``None`` where something else limits it, -1 for no end."""
        limit = None if trainer is None else trainer.state.max_epochs
        return -1 if limit == math.inf else None if limit is None else int(limit)

    def max_steps(self, trainer: Engine | None) -> int:
        """Optimizer steps in all; -1 for no limit."""
        return -1

    def stepping_batches(self, trainer: Engine | None, accumulate: int) -> float:
        """Optimizer steps that the run will have taken at its end; infinite for no end."""
        epochs, batches = self.max_epochs(trainer), self.batches("train", trainer)
        if epochs is None or epochs < 0 or batches is None or batches == math.inf:
            return math.inf
        return epochs * math.ceil(batches / accumulate)

    def batches(self, role: str, engine: Engine | None) -> float | None:
        """Batches of an engine's epoch; infinite where that is not known."""
        if engine is None:
            return None
        known = engine.state.epoch_length or length_of(engine.state.dataloader)
        return math.inf if known is None else known

    def limit(self, role: str) -> float:
        """What part of an engine's data is taken, or how many batches."""
        return 1.0

    def loader(self, role: str, engine: Engine | None) -> Any:
        """An engine's data; several in a list."""
        return None if engine is None else engine.state.dataloader

    def loader_idx(self, role: str, engine: Engine) -> int | None:
        """The number of the loader that an engine runs over, where each has a run of its own."""
        return None

    def folder(self) -> str | None:
        """Where the run writes to."""
        return None

    def sinks(self, engine: Engine | None) -> list[Sink]:
        """Where numbers go."""
        several = {} if engine is None else engine.handlers
        return [one for one in several.values() if isinstance(one, Sink)]

    def minimum(self) -> Minimum:
        """What a run does before it may be stopped."""
        return Minimum()

    def note_hyper_parameters(self, values: Mapping[str, Any]) -> None:
        """Take in what a model was made with."""
