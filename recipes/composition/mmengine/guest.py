"""What a model of MMEngine brings to a runner: the hub that its parts read and write."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ....engine.engine import Engine
from ....engine.handler import Handler
from ....engine.step.optimization import Optimization
from ..guests import Guest
from .hub import facts_of
from .runner import as_mmengine

__all__ = ["MMEngineGuest"]

_logger = logging.getLogger("footplate.runner")


class MMEngineGuest(Guest):
    """A model that derives from MMEngine's ``BaseModel``.

    ``MessageHub.get_current_instance()`` is a hub of the run, which knows ``epoch``, ``iter``,
    ``max_epochs``, ``max_iters`` and ``loop_stage``; what is said to MMEngine's current logger is
    in the run's log.
    """

    def loader_options(self) -> dict[str, Any]:
        """MMEngine's way to gather samples: in lists, which the model's preprocessor stacks."""
        return {"collate_fn": {"type": "mmengine.dataset.pseudo_collate"}}

    def handlers(self, engine: Engine) -> Iterator[Handler]:
        """What tells the hub where the run stands."""
        yield from facts_of(self.runner, engine)

    def set_up(self, call: str) -> None:
        """Make what the model asks for by ``get_current_instance()``."""
        as_mmengine(self.runner).make_way()

    def rescaled(self, wrappers: Mapping[str, Optimization], factor: float) -> None:
        """Warn where MMEngine would have multiplied learning rates by something else."""
        sizes = {name: one.accumulation.size_in(1) for name, one in wrappers.items()}
        size = max(sizes.values())
        if size > 1:
            text = (
                f"auto_scale_lr has multiplied learning rates by {factor:g}, since {size} batches "
                f"make a step; MMEngine leaves accumulation out of account. For its rates give a "
                f"base_batch_size that is {size} times as large."
            )
            _logger.warning(text)
            warnings.warn(text, RuntimeWarning, stacklevel=2)
