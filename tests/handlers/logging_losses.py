"""An engine whose loss is its batch, and is logged, for tests of what sinks make of that."""

from __future__ import annotations

import torch

from footplate import Engine, Events
from footplate.handlers.scalars import Scalars


def engine_with(sink, name="train", step=lambda engine, batch: {"loss": torch.tensor(batch)}):
    """An engine that logs in each iteration, with a sink."""
    engine = Engine(step, name=name)
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1), epoch_suffix=None))
    engine.attach(sink)
    return engine
