"""Optimizing: how a LightningModule is optimized."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..accumulation import Accumulation
from ..clipping import ClipNorm, ClipValue
from ..optimization import Clip
from ..precision import Precision
from .calling import library
from .limits import Limits
from .run_facts import RunFacts
from .strategy import PrecisionPlugin, Strategy

if TYPE_CHECKING:
    from .configuration import Scheduled
    from .optimization import LightningOptimization

__all__ = ["Optimizing", "Options"]

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


class Optimizing(Limits):
    """The part of a module's trainer that knows how it is optimized.

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

    @property
    def optimizers(self) -> list[Any]:
        """The optimizers."""
        return self.strategy.optimizers

    @optimizers.setter
    def optimizers(self, given: list[Any]) -> None:
        """Refuse others than there are.

        Raises:
            ValueError: for those that configure_optimizers() has not returned.
        """
        if [id(one) for one in given] != [id(one) for one in self.optimizers]:
            raise ValueError(
                "trainer.optimizers can't be set: a run that goes on would not know of them; "
                "return them in configure_optimizers()."
            )

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
