"""Lightning's hooks in a runner: those around its calls, and the handlers that call the others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ....engine.engine import Engine
from ....engine.handler import Handler
from ....engine.placement.ranks import from_first
from ....engine.step.guests import descends_from
from ....engine.step.lightning.calling import PACKAGES, call_module, tell
from ....engine.step.lightning.overridden import overridden, transferring
from ....handlers.lightning.checkpoints import KeptLightningHooks
from ....handlers.lightning.hooks import LightningHooks
from ....handlers.lightning.older import LightningOutputs, LightningPretrain
from ....handlers.lightning.transfer import LightningTransfer
from .callbacks import LightningCallback, in_order
from .data import ModuleLoaders

if TYPE_CHECKING:
    from ....engine.step.lightning.trainer import LightningTrainer
    from ...runner import Runner

__all__ = ["LightningLife"]

_STAGES = {"train": "fit", "val": "validate"}


class LightningLife:
    """What hooks of modules, callbacks and data modules are told of a runner's calls.

    Args:
        runner: whose calls they are.
        trainer: what the hooks take for their trainer; it is told of callbacks and data.
    """

    def __init__(self, runner: Runner, trainer: LightningTrainer) -> None:
        self.runner = runner
        self.trainer = trainer
        self._set_up: set[str] = set()  # calls that were set up, and not torn down
        self._prepared = False

    @property
    def moves_batches(self) -> bool:
        """Whether there are hooks of batch transfer."""
        self._know_data()
        return transferring(self.trainer) is not None

    @cached_property
    def _of_the_module(self) -> list[Any]:
        """The callbacks that the module brings; it is asked once."""
        if not overridden(self.trainer.lightning_module, "configure_callbacks"):
            return []
        made = call_module(self.trainer.lightning_module, "configure_callbacks") or []
        several = made if isinstance(made, (list, tuple)) else [made]
        return [LightningCallback(one).callback for one in several]

    def data_module(self) -> ModuleLoaders | None:
        """The module's own loaders."""
        return ModuleLoaders.of(self.runner)

    def handlers(self, engine: Engine) -> Iterator[Handler]:
        """What calls the hooks of an engine."""
        self.gather()
        if self.moves_batches:
            yield LightningTransfer(self.trainer, self.runner.to_device)
        if LightningOutputs.wanted(self.trainer.lightning_module, engine.name):
            yield LightningOutputs(self.trainer, str(engine.name))
        if engine.name == "train":
            yield KeptLightningHooks(self.trainer)
            yield LightningPretrain(self.trainer)
        else:
            yield LightningHooks(self.trainer)

    def gather(self) -> None:
        """Have the trainer know all callbacks, those of the runner and of the module."""
        given = [one.callback for one in self.runner.hooks if isinstance(one, LightningCallback)]
        callbacks = in_order(given, self._of_the_module)
        self.trainer.callbacks[:] = callbacks
        for one in callbacks:  # as Lightning does, so that they may log
            one.log = self.trainer.lightning_module.log
            one.log_dict = self.trainer.lightning_module.log_dict
        for engine in self.runner.engines:
            for handler in engine.handlers.values():
                if isinstance(handler, LightningHooks):
                    handler.renew(engine)

    def set_up(self, call: str) -> None:
        """What comes before a call: data are prepared and set up, callbacks and the module, too."""
        if call in self._set_up:
            return
        self._set_up.add(call)
        trainer, module = self.trainer, self.trainer.lightning_module
        trainer.called = call
        stage = _STAGES.get(call, call)
        self.gather()
        self._know_data()
        self.runner.set_up_data(stage)
        if not self._prepared and overridden(module, "prepare_data"):
            from_first(lambda: call_module(module, "prepare_data"))
        self._prepared = True
        tell(trainer, "setup", stage)
        self._configure_model()

    def tear_down(self, call: str) -> None:
        """What comes behind it."""
        if call in self._set_up:
            self._set_up.discard(call)
            tell(self.trainer, "teardown", _STAGES.get(call, call))
            self.trainer.called = next(iter(self._set_up), None)

    def _know_data(self) -> None:
        data = self.runner.data_module
        if data is None or isinstance(data, ModuleLoaders):
            return
        self.trainer.datamodule = data
        if descends_from(data, "LightningDataModule", *PACKAGES):
            data.trainer = self.trainer

    def _configure_model(self) -> None:
        """Let the module make its layers, and put them where the model runs."""
        module, placement = self.trainer.lightning_module, self.runner.placement
        for hook in ("configure_sharded_model", "configure_model"):
            if not overridden(module, hook):
                continue
            if placement.in_step:
                raise TypeError(
                    f"{type(module).__name__}.{hook}() makes layers when a call begins, but a "
                    f"{type(placement).__name__} spreads a model that is whole over the processes; "
                    f"make them in __init__()."
                )
            call_module(module, hook)
            placement.place(module)
