"""Steps: the contract of LightningModules, whose methods are called as Lightning's trainer does."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...placement.ranks import world_size
from ..contract import Contract
from ..losses import WithExtras, detached, read_loss
from .calling import call_module
from .configuration import Scheduled
from .log import LightningLog
from .modes import to_evaluation
from .optimization import LightningOptimization
from .overridden import overridden
from .schedules import LightningSchedules
from .trainer import LightningTrainer

if TYPE_CHECKING:
    from ...engine import Engine

__all__ = ["LightningSteps", "trainer_of"]

_ASKED_FOR = ("batch", "batch_idx", "dataloader_idx")


def trainer_of(module: Any) -> LightningTrainer:
    """What the module has for its trainer; one of ours is made if it has none."""
    found = module._trainer
    if not isinstance(found, LightningTrainer):
        found = LightningTrainer(module)
        module.trainer = found
    return found


class LightningSteps(Contract):
    """A LightningModule: ``training_step``, ``validation_step``, ``test_step``, ``predict_step``.

    With the optimizers of :func:`.lightning_optimizations` the module drives them itself, as with
    Lightning's trainer: automatically, or by hand if ``automatic_optimization`` is ``False``. With
    any other the loss is taken from ``training_step``, and the engine does the rest; the module's
    hooks around the optimizer are not called then.

    Args:
        model: the module.

    Example:
        >>> import torch
        >>> from lightning.pytorch import LightningModule
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> class Line(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return self.layer(batch).square().mean()
        >>> line = Line()
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(line, sgd), name="train")
        >>> sorted(trainer.run([torch.ones(4, 1)] * 3).output)
        ['loss']
    """

    name = "lightning"
    needs = "a LightningModule"

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)
        self.trainer = trainer_of(model)
        self.schedules: LightningSchedules | None = None
        self._given = {
            name: _asked_for(model, name)
            for name in ("training_step", "validation_step", "test_step", "predict_step")
        }
        self._own: list[LightningOptimization] = []
        self.optimizes_itself = bool(model.automatic_optimization)

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Modules that have a trainer, and no loss besides."""
        return loss is None and hasattr(model, "automatic_optimization")

    def bind(self, optimizations: Mapping[str, Any]) -> None:
        """Know the optimizers; the module drives those that are made for it."""
        own = [one for one in optimizations.values() if isinstance(one, LightningOptimization)]
        self.optimizes_itself = self.deals_out = bool(own)
        if not own and not self.model.automatic_optimization:
            raise TypeError(
                f"{type(self.model).__name__} optimizes by hand (automatic_optimization = False), "
                f"so it needs the optimizers of its own configure_optimizers(); give the step "
                f"those of lightning_optimizations(contract), and the contract."
            )
        self._own = own
        self.trainer.optimize_by(own)

    def schedule(self, schedulers: Sequence[Scheduled]) -> None:
        """Have schedulers moved with the steps."""
        self.schedules = LightningSchedules(self.trainer, schedulers)

    def attached(self, engine: Engine, role: str) -> None:
        """Have what the module logs handed on, and its schedulers moved."""
        engine.attach(LightningLog(self.trainer, role))
        if role == "train" and self.schedules is not None:
            engine.attach(self.schedules)

    # ------------------------------------------------------------------ training

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What ``training_step`` returns; behind it the module has trained, if it does itself."""
        if self.trainer.passes_over:  # the epoch ends with it, for schedulers, too
            if self.schedules is not None:
                self.schedules.batch_done(stepped=False, last=True)
            engine.terminate_epoch()
            return None
        if not self._own:
            return self._reported(self._call("training_step", batch), keep=True)
        if not self.model.automatic_optimization:
            with self._own[0].autocast():
                returned = self._call("training_step", batch)
            self._settle(engine, stepped=False)
            return self._reported(returned)
        before = self.trainer.global_step
        returned = self._train(batch)
        self._settle(engine, stepped=self.trainer.global_step > before)
        return returned

    def _train(self, batch: Any) -> Any:
        """Optimize automatically; returns what the step reports."""
        return self._reported(self._optimize(self._own[0], batch))

    def _optimize(self, optimization: LightningOptimization, batch: Any, **more: Any) -> Any:
        """Have one optimizer driven, with the step called within what it is given."""
        held: list[Any] = [None]

        def forward() -> Tensor | None:
            with optimization.autocast():
                held[0] = self._call("training_step", batch, **more)
            loss = read_loss(held[0])
            if loss is None and world_size() > 1:
                raise ValueError(
                    "training_step returned None for this batch, but other processes may have a "
                    "loss, and would wait for its gradients; return zero times what the model says."
                )
            return loss

        optimization.train(forward)
        return held[0]

    def _settle(self, engine: Engine, *, stepped: bool) -> None:
        if self.schedules is not None:
            self.schedules.batch_done(stepped=stepped, last=self.trainer.is_last_batch)

    def _reported(self, returned: Any, *, keep: bool = False) -> Any:
        """What the step reports: a loss by its name; extras beside it, which are not logged."""
        if isinstance(returned, Tensor):
            returned = {"loss": returned}
        report = returned if keep else detached(returned)
        extras = isinstance(report, Mapping) and len(report) > 1
        return WithExtras(report) if extras else report

    # ------------------------------------------------------------------ evaluation

    def to_evaluation(self, engine: Engine) -> None:
        """Have the module do it, by its hooks."""
        self.trainer.enter(engine)
        accumulating = any(one.window.held for one in self._own)
        to_evaluation(self.trainer, engine, accumulating=accumulating)

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What ``validation_step`` returns, or on an engine named ``test`` ``test_step``."""
        name = "test_step" if engine is not None and engine.name == "test" else "validation_step"
        if not overridden(self.model, name):
            raise TypeError(
                f"{type(self.model).__name__} has no {name}(self, batch, batch_idx), so it can't "
                f"say what it is worth; write it, or leave the data for it out."
            )
        return self._call(name, batch)

    def predict(self, engine: Engine, batch: Any) -> Any:
        """What ``predict_step`` returns; without it the module's answer to the batch."""
        return self._call("predict_step", batch)

    # ------------------------------------------------------------------ how steps are called

    def _call(self, name: str, batch: Any, **more: Any) -> Any:
        trainer, given = self.trainer, self._given[name]
        args: tuple[Any, ...] = (batch,)
        if given > 1:
            args = batch, trainer.batch_idx
        if given > 2 and (which := trainer.dataloader_idx) is not None:
            args = *args, which
        return call_module(self.model, name, *args, **more)


def _asked_for(module: nn.Module, name: str) -> int:
    """How many of batch, its number and its loader's a step takes."""
    parameters = inspect.signature(getattr(module, name)).parameters
    if "dataloader_iter" in parameters:
        raise TypeError(
            f"{type(module).__name__}.{name} takes a dataloader_iter, and would fetch batches "
            f"itself, of which no run could know where it stands; take batch, batch_idx."
        )
    kinds = [one.kind for one in parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return len(_ASKED_FOR)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(sum(kind in positional for kind in kinds), len(_ASKED_FOR))
