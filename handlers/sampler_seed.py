"""Sampler seeding: tell samplers which pass over the data begins."""

from __future__ import annotations

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.samplers import samplers_in

__all__ = ["SamplerSeed"]


class SamplerSeed(Handler):
    """Calls ``set_epoch(pass)`` on every sampler or dataset of the data that has it.

    The number counts passes over the data from 0, not the engine's epochs, which may be shorter
    or longer; so the order of a resumed run is that of one that never stopped.

    Example:
        >>> from torch.utils.data import DataLoader, DistributedSampler
        >>> from footplate import Engine
        >>> sampler = DistributedSampler(range(4), num_replicas=1, rank=0, seed=3)
        >>> loader = DataLoader(range(4), sampler=sampler, batch_size=4)
        >>> trainer = Engine(lambda engine, batch: print(batch.tolist()))
        >>> seeding = trainer.attach(SamplerSeed())
        >>> state = trainer.run(loader, max_epochs=2)
        [2, 3, 1, 0]
        [2, 1, 3, 0]
    """

    def opened(self, engine: Engine) -> None:
        """Seed the pass that the first fetch will open."""
        if engine.source.iterator is None:
            self._seed(engine, engine.source.next_pass)

    def epoch_started(self, engine: Engine) -> None:
        """Seed the first pass over data that a handler has set for this epoch."""
        self.opened(engine)

    def dataloader_stop_iteration(self, engine: Engine) -> None:
        """Seed the next pass."""
        self._seed(engine, engine.source.passes)

    def terminate_single_epoch(self, engine: Engine) -> None:
        """Seed the next pass."""
        self._seed(engine, engine.source.passes)

    @staticmethod
    def _seed(engine: Engine, number: int) -> None:
        for sampler in samplers_in(engine.state.dataloader):
            sampler.set_epoch(number)
