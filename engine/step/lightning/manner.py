"""Manner: how a LightningModule is trained, and on what."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...placement.ranks import is_first, local_rank, rank, world_size
from ..accumulation import Accumulation
from ..clipping import ClipNorm, ClipValue
from ..optimization import Clip
from ..precision import Precision
from .calling import library
from .extent import Extent
from .run_facts import RunFacts
from .strategy import PrecisionPlugin, Strategy

if TYPE_CHECKING:
    from .configuration import Scheduled
    from .optimization import LightningOptimization

__all__ = ["Manner", "Options"]

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Options:
    """How a module is to be optimized, whichever optimizers it chooses.

    Attributes:
        precision: what the forward pass computes with.
        accumulation: batches that make one step.
        clip: what bounds the gradients.
    """

    precision: Precision = field(default_factory=Precision)
    accumulation: Accumulation = field(default_factory=Accumulation)
    clip: Clip | None = None


class Manner(Extent):
    """The part of a module's trainer that knows how it is optimized, and in which process.

    Args:
        module: the module.
        facts: what is known of the run besides its engines.

    Attributes:
        options: how the module is to be optimized, ahead of its optimizers.
        strategy: the way to the optimizers, and to other processes.
        lr_scheduler_configs: the module's schedulers.
    """

    def __init__(self, module: Any, facts: RunFacts | None = None) -> None:
        super().__init__(module, facts)
        self.options = Options()
        self.strategy = Strategy(self)
        self.lr_scheduler_configs: list[Scheduled] = []

    # ------------------------------------------------------------------ how it trains

    @property
    def optimizers(self) -> list[Any]:
        """The optimizers."""
        return self.strategy.optimizers

    @property
    def accumulate_grad_batches(self) -> int:  # type: ignore[override]
        """Batches that make one step."""
        return self._leading.accumulation.size_in(self.current_epoch + 1)

    @property
    def gradient_clip_val(self) -> float | None:
        """What the gradients are bounded by, if ``optim_wrapper`` says so."""
        clip = self._leading.clip
        if isinstance(clip, ClipNorm):
            return clip.max_norm if clip.norm_type == 2 else None
        return clip.max_value if isinstance(clip, ClipValue) else None

    @property
    def gradient_clip_algorithm(self) -> Any:
        """That each value is bounded, in Lightning's word; ``None`` for the norm, its default."""
        if not isinstance(self._leading.clip, ClipValue):
            return None
        return library(self.lightning_module, "utilities").GradClipAlgorithmType.VALUE

    @property
    def _leading(self) -> Options | LightningOptimization:
        """What tells how the module is optimized; ahead of the first optimizer its options."""
        return next(iter(self.optimizations), self.options)

    @property
    def precision(self) -> str:
        """The precision by Lightning's name."""
        return _PRECISIONS[self._leading.precision.kind]

    @property
    def precision_plugin(self) -> PrecisionPlugin:
        """What clips gradients."""
        return self.strategy.precision_plugin

    @property
    def scaler(self) -> Any:
        """What scales losses for fp16; ``None`` elsewhere."""
        return getattr(self._leading, "scaler", None)

    # ------------------------------------------------------------------ where it runs

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return world_size()

    @property
    def global_rank(self) -> int:
        """The number of this process."""
        return rank()

    @property
    def local_rank(self) -> int:
        """Its number on its machine."""
        return local_rank()

    @property
    def node_rank(self) -> int:
        """The number of its machine."""
        return int(os.environ.get("GROUP_RANK", os.environ.get("NODE_RANK", "0")))

    @property
    def num_nodes(self) -> int:
        """How many machines there are."""
        return max(1, world_size() // self.num_devices)

    @property
    def num_devices(self) -> int:
        """How many processes there are on a machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return is_first()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print, in the first process."""
        if is_first():
            print(*args, **kwargs)
