"""Progress: which engine of a LightningModule's run works, and where that run stands."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ...state import Next, Status
from .calling import library

if TYPE_CHECKING:
    from ...engine import Engine
    from .log import LightningLog
    from .optimization import LightningOptimization

__all__ = ["Progress"]

_STAGES = {"train": "TRAINING", "val": "VALIDATING", "test": "TESTING", "predict": "PREDICTING"}
_CALLS = {"train": "FITTING", "val": "VALIDATING", "test": "TESTING", "predict": "PREDICTING"}
_WITHIN_AN_EPOCH = (Next.ITERATION, Next.ITERATION_COMPLETED, Next.EPOCH_COMPLETED)


class Progress:
    """The part of a module's trainer that knows what runs, and where.

    Args:
        module: the module, which holds its trainer; it is held weakly.

    Attributes:
        sanity_checking: whether the validation at hand is a trial of it.
        passes_over: whether the batch at hand and the rest of its epoch are left out.
        should_stop: whether training ends behind the batch, or epoch, at hand.
        within_epoch: whether an epoch of training has begun, and its end is not told yet.
        called: what the runner was called for, before its engine runs and behind that.
    """

    def __init__(self, module: Any) -> None:
        self._module = weakref.ref(module)
        self.sanity_checking = False
        self.passes_over = False
        self.should_stop = False
        self.within_epoch = False
        self.called: str | None = None
        self._optimizations: list[weakref.ref[LightningOptimization]] = []
        self._engines: dict[str, weakref.ref[Engine]] = {}
        self._running: list[LightningLog] = []

    # ------------------------------------------------------------------ what runs

    @property
    def lightning_module(self) -> Any:
        """The module."""
        return self._module()

    model = lightning_module

    @property
    def at(self) -> LightningLog | None:
        """The log of the innermost engine that runs; ``None`` outside of a run."""
        return self._running[-1] if self._running else None

    @property
    def role(self) -> str | None:
        """What runs innermost: ``"train"``, ``"val"``, ``"test"``, ``"predict"`` or nothing."""
        return self._running[-1].role if self._running else None

    def engine(self, role: str = "train") -> Engine | None:
        """The engine of a role, if there is one."""
        found = self._engines.get(role)
        return None if found is None else found()

    def know(self, engine: Engine, role: str) -> None:
        """Know an engine that the module runs in."""
        self._engines[role] = weakref.ref(engine)

    def enter(self, engine: Engine) -> None:
        """Know that an engine runs; it may be known already."""
        log = engine.handlers.get("lightning_log")
        if log is not None and log not in self._running:
            self._running.append(log)  # type: ignore[arg-type]

    def leave(self, engine: Engine) -> None:
        """Know that it does so no longer."""
        log = engine.handlers.get("lightning_log")
        if log in self._running:
            self._running.remove(log)

    @property
    def optimizations(self) -> list[LightningOptimization]:
        """The module's optimizations, in the order of its optimizers."""
        return [one for found in self._optimizations if (one := found()) is not None]

    def optimize_by(self, optimizations: Iterable[LightningOptimization]) -> None:
        """Know what optimizes the module."""
        self._optimizations = [weakref.ref(one) for one in optimizations]

    def optimization_of(self, optimizer: Any) -> LightningOptimization:
        """The optimization of an optimizer.

        Raises:
            ValueError: for an optimizer that is not the module's.
        """
        for one in self.optimizations:
            if optimizer is one.optimizer or optimizer is one.by_module:
                return one
        raise ValueError(
            f"this {type(optimizer).__name__} is none of those that configure_optimizers() has "
            f"returned; return it there, and use what self.optimizers() gives."
        )

    # ------------------------------------------------------------------ where the run stands

    @property
    def current_epoch(self) -> int:
        """The epoch of training, from 0; behind its end, how many there were."""
        if (engine := self.engine()) is None:
            return 0
        place = engine.progress.next
        within = place in _WITHIN_AN_EPOCH or (place is Next.TERMINATE and self.within_epoch)
        return engine.progress.epoch - (within and engine.progress.epoch > 0)

    @property
    def global_step(self) -> int:
        """Steps taken, of all optimizers together."""
        return sum(one.taken for one in self.optimizations)

    @property
    def batch_idx(self) -> int:
        """The number of the batch at hand in its loader, from 0."""
        engine, at = self.engine(self.role or "train"), self.at
        if at is not None and at.in_turn is not None:
            return at.in_turn.batch_idx
        return 0 if engine is None else engine.progress.epoch_iteration

    @property
    def is_last_batch(self) -> bool:
        """Whether the last batch of training is known to be the last of its epoch."""
        if (engine := self.engine()) is None or engine.state.epoch_length is None:
            return False
        return engine.progress.epoch_iteration + 1 >= engine.state.epoch_length

    @property
    def received_sigterm(self) -> bool:
        """Whether this process was told to end, which it does behind the batch at hand."""
        watch = None if (engine := self.engine()) is None else engine.watch
        return watch is not None and watch.signum == signal.SIGTERM

    @property
    def interrupted(self) -> bool:
        """Whether the last run of training was ended by a signal, or by ``interrupt()``."""
        engine = self.engine()
        return engine is not None and engine.state.status is Status.INTERRUPTED

    @property
    def training(self) -> bool:
        """Whether a training step, and what belongs to it, runs."""
        return self.role == "train"

    @property
    def validating(self) -> bool:
        """Whether a validation runs that is no trial."""
        return self.role == "val" and not self.sanity_checking

    @property
    def testing(self) -> bool:
        """Whether a test runs."""
        return self.role == "test"

    @property
    def predicting(self) -> bool:
        """Whether a prediction runs."""
        return self.role == "predict"

    @property
    def evaluating(self) -> bool:
        """Whether a validation or a test runs."""
        return self.role in ("val", "test")

    @property
    def state(self) -> SimpleNamespace:
        """What was called, ``fn``, and what of it runs, ``stage``, in Lightning's own words."""
        states = library(self.lightning_module, "trainer.states")
        outer = self._running[0].role if self._running else self.called
        fn = None if outer is None else states.TrainerFn[_CALLS[outer]]
        stage = None if self.role is None else states.RunningStage[_STAGES[self.role]]
        if self.sanity_checking:
            stage = states.RunningStage.SANITY_CHECKING
        status = states.TrainerStatus.RUNNING if outer else states.TrainerStatus.FINISHED
        return SimpleNamespace(fn=fn, stage=stage, status=status)
