"""DistSamplerSeedHook: samplers are told which pass begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...handlers.sampler_seed import SamplerSeed
from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["DistSamplerSeedHook"]


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Calls ``set_epoch`` of the samplers of what is trained on, with the number of the pass."""

    def settle(self, runner: BaseRunner) -> None:
        """Attach what does so."""
        runner.trainer.attach(SamplerSeed())
