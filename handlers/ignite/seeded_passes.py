"""Passes over the data, each seeded as pytorch-ignite's deterministic engine seeds it."""

from __future__ import annotations

from typing import Any

import torch
from ignite.utils import manual_seed

from ...engine.engine import Engine
from ...engine.handler import Handler
from ...engine.priority import Priority
from ...engine.random import set_deterministic
from ...engine.source import length_of

__all__ = ["SeededPasses"]


class SeededPasses(Handler):
    """Seeds all generators when a pass over the data begins: by a seed of the run, and the pass.

    The seed of the run is drawn when it starts, and stands in ``engine.state.seed``. Where there is
    a GPU, torch is told to use deterministic algorithms, and to warn where there are none.

    A run that goes on needs none of this to be exact; it is for runs that are to draw what they
    drew under :class:`ignite.engine.DeterministicEngine`.

    Example:
        >>> trainer = Engine(lambda engine, batch: torch.rand(()).item())
        >>> seeding = trainer.attach(SeededPasses())
        >>> _ = torch.manual_seed(0)
        >>> first = trainer.run([0, 1], max_epochs=2).output
        >>> _ = torch.manual_seed(0)
        >>> trainer.run([0, 1], max_epochs=2).output == first
        True
    """

    priority = Priority.LOWEST
    for_one_engine = True
    replicated = True

    def __init__(self) -> None:
        self._seed: int | None = None

    def opened(self, engine: Engine) -> None:
        """Say with which seed the run goes on."""
        engine.state.seed = self._seed

    def started(self, engine: Engine) -> None:
        """Draw the seed of the run."""
        self._seed = engine.state.seed = int(torch.randint(0, int(1e9), (1,)).item())
        if torch.cuda.is_available():
            set_deterministic("warn")

    def epoch_started(self, engine: Engine) -> None:
        """Seed the first pass, which opens with the first batch."""
        source = engine.source
        if source.iterator is None and source.next_pass == source.passes:
            self._seed_pass(engine, length_of(engine.state.dataloader))

    def dataloader_stop_iteration(self, engine: Engine) -> None:
        """Seed the next pass."""
        self._seed_pass(engine, length_of(engine.state.dataloader))

    def terminate_single_epoch(self, engine: Engine, iter_counter: int) -> None:
        """Seed the next pass."""
        self._seed_pass(engine, iter_counter)

    def _seed_pass(self, engine: Engine, length: int | None) -> None:
        assert self._seed is not None
        manual_seed(self._seed + engine.state.iteration // (length or 1))

    def state_dict(self) -> dict[str, Any]:
        """The seed of the run."""
        return {"seed": self._seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the seed of the run."""
        self._seed = state["seed"]
