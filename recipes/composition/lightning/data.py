"""Lightning's data: the loaders that a LightningModule has itself, as a data module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ....engine.step.lightning.calling import call_module
from ....engine.step.lightning.overridden import overridden

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["LOADERS", "ModuleLoaders"]

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
"""The methods that give loaders."""


class ModuleLoaders:
    """The loaders of a module, with the methods of a data module.

    Loaders that the runner was given go before the module's own. The module's ``setup`` and
    ``teardown`` are hooks, and called as such.

    Args:
        runner: the runner, with the module for its model.
    """

    def __init__(self, runner: Runner) -> None:
        for name in LOADERS:
            given = runner.given[name]
            if isinstance(given, Mapping):  # one that is to be built, or several
                setattr(self, name, partial(runner.build_dataloader, given, name=name))
            elif given is not None:
                setattr(self, name, lambda found=given: found)
            elif overridden(runner.model, name):
                setattr(self, name, partial(call_module, runner.model, name))

    @classmethod
    def of(cls, runner: Runner) -> ModuleLoaders | None:
        """The loaders of a runner's module; ``None`` if it has none of its own."""
        return cls(runner) if any(overridden(runner.model, one) for one in LOADERS) else None

    def setup(self, stage: str) -> None:
        """Nothing, as the module's hook does it."""
