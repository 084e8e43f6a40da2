"""Limits: how long a LightningModule's run is, and over which data."""

from __future__ import annotations

import math
from typing import Any

from .progress import Progress
from .run_facts import RunFacts

__all__ = ["Limits"]


class Limits(Progress):
    """The part of a module's trainer that knows how long the run is.

    Args:
        module: the module.
        facts: what is known of the run besides its engines.
    """

    accumulate_grad_batches: int

    def __init__(self, module: Any, facts: RunFacts | None = None) -> None:
        super().__init__(module)
        self.facts = facts or RunFacts()

    # ------------------------------------------------------------------ how long it is

    @property
    def max_epochs(self) -> int | None:
        """Epochs in all."""
        return self.facts.max_epochs(self.engine())

    @property
    def max_steps(self) -> int:
        """Steps in all; -1 for no limit."""
        return self.facts.max_steps(self.engine())

    @property
    def min_epochs(self) -> int | None:
        """The least epochs."""
        return self.facts.min_epochs

    @property
    def min_steps(self) -> int | None:
        """The least steps."""
        return self.facts.min_steps

    @property
    def estimated_stepping_batches(self) -> float:
        """Steps that the run will have taken at its end; infinite for no end."""
        return self.facts.stepping_batches(self.engine(), self.accumulate_grad_batches)

    @property
    def num_training_batches(self) -> float | None:
        """Batches in an epoch of training."""
        return self.facts.batches("train", self.engine())

    @property
    def num_val_batches(self) -> list[float]:
        """Batches of each validation loader."""
        return _listed(self.facts.batches("val", self.engine("val")))

    @property
    def num_test_batches(self) -> list[float]:
        """Batches of each test loader."""
        return _listed(self.facts.batches("test", self.engine("test")))

    @property
    def num_predict_batches(self) -> list[float]:
        """Batches of each loader that is predicted of."""
        return _listed(self.facts.batches("predict", self.engine("predict")))

    @property
    def num_sanity_val_steps(self) -> int:
        """Batches of each validation loader that are tried before training."""
        return self.facts.num_sanity_val_steps

    @property
    def num_sanity_val_batches(self) -> list[float]:
        """Batches of each validation loader that there are to try."""
        return [min(self.num_sanity_val_steps, one) for one in self.num_val_batches]

    @property
    def val_check_batch(self) -> float | None:
        """Batches of training from one validation to the next within an epoch."""
        interval, batches = self.val_check_interval, self.num_training_batches
        if isinstance(interval, int) or batches is None or batches == math.inf:
            return interval if isinstance(interval, int) else batches
        return max(1, int(batches * interval))

    @property
    def enable_validation(self) -> bool:
        """Whether training is validated."""
        return sum(self.num_val_batches) > 0

    @property
    def fast_dev_run(self) -> int | bool:
        """Whether the run is a trial."""
        return self.facts.fast_dev_run

    @property
    def log_every_n_steps(self) -> int:
        """Iterations from one log point to the next."""
        return self.facts.log_every_n_steps

    @property
    def check_val_every_n_epoch(self) -> int | None:
        """Epochs from one validation to the next; ``None`` where iterations count."""
        return self.facts.check_val_every_n_epoch

    @property
    def val_check_interval(self) -> Any:
        """What part of an epoch, or how many iterations, lie between two validations."""
        return self.facts.val_check_interval

    @property
    def limit_train_batches(self) -> float:
        """What of the training data is taken: a part, or how many batches."""
        return self.facts.limit("train")

    @property
    def limit_val_batches(self) -> float:
        """What of the validation data is taken."""
        return self.facts.limit("val")

    @property
    def limit_test_batches(self) -> float:
        """What of the test data is taken."""
        return self.facts.limit("test")

    @property
    def limit_predict_batches(self) -> float:
        """What of the data to predict of is taken."""
        return self.facts.limit("predict")

    @property
    def overfit_batches(self) -> Any:
        """What of the training data is trained on alone."""
        return self.facts.overfit_batches

    # ------------------------------------------------------------------ data

    @property
    def dataloader_idx(self) -> int | None:
        """The number of the loader at hand; ``None`` where there is one alone."""
        at = self.at
        if at is None or (engine := self.engine(at.role)) is None:
            return None
        if at.in_turn is not None:
            return at.in_turn.loader_idx
        return self.facts.loader_idx(at.role, engine)

    @property
    def train_dataloader(self) -> Any:
        """The training data."""
        return self.facts.loader("train", self.engine())

    @property
    def val_dataloaders(self) -> Any:
        """The validation data; several in a list."""
        return self.facts.loader("val", self.engine("val"))

    @property
    def test_dataloaders(self) -> Any:
        """The test data; several in a list."""
        return self.facts.loader("test", self.engine("test"))

    @property
    def predict_dataloaders(self) -> Any:
        """The data to predict of; several in a list."""
        return self.facts.loader("predict", self.engine("predict"))


def _listed(batches: Any) -> list[float]:
    """Batches of each loader, of one alone, too."""
    if isinstance(batches, (list, tuple)):
        return list(batches)
    return [] if batches is None else [batches]
