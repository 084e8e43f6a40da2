"""Optimization in Lightning's order: the module has its optimizers step, by its own hooks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..accumulation import Accumulation
from ..clipping import ClipNorm, ClipValue
from ..optimization import Clip, Optimization
from ..precision import Precision
from .calling import call_module, library, tell
from .configuration import NoOptimizer
from .groups import frozen, grouped, regroup

if TYPE_CHECKING:
    from ...engine import Engine
    from .trainer import LightningTrainer

__all__ = ["LightningOptimization"]


class LightningOptimization(Optimization):
    """An optimizer of a LightningModule, whose methods run in the order of Lightning's trainer.

    Where the module optimizes automatically, a window of batches is::

        for each batch                    within optimizer_step(…, closure) if it fills the window
            training_step
            on_before_zero_grad           ahead of a window's first gradients
            optimizer_zero_grad
            on_before_backward
            backward
            on_after_backward
        unscale, divide                   by what the window holds
        on_before_optimizer_step          GRADIENTS_READY
        configure_gradient_clipping
        the optimizer steps

    Gradients so stay until the next window begins. Where the module optimizes by hand, it is
    handed LightningOptimizers of Lightning's own, whose ``step()`` comes here.

    Args:
        trainer: has the module.
        optimizer: any optimizer of torch, one that needs a closure too.
        name, precision, accumulate, clip: as for :class:`.Optimization`.

    Attributes:
        by_module: what the module is handed for its optimizer.
        taken: how many steps were the module's to take: what Lightning calls its global step.

    Raises:
        ValueError: for accumulation or clipping where the module optimizes by hand.
    """

    gives_closures: ClassVar[bool] = True
    replicated = ("optimizer", "scaler", "taken", "groups", "frozen")  # type: ignore[assignment]

    def __init__(
        self,
        trainer: LightningTrainer,
        optimizer: Optimizer,
        *,
        name: str = "optimization",
        precision: str | Precision = "fp32",
        accumulate: int | Mapping[int, int] | Accumulation = 1,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(
            optimizer, name=name, precision=precision, accumulate=accumulate, clip=clip
        )
        self._trainer = trainer
        self.taken = 0
        self._refused: str | None = None
        self._stepped = False
        module = trainer.lightning_module
        if not module.automatic_optimization:
            self._check_by_hand(type(module).__name__)
        self.by_module = library(module, "core.optimizer").LightningOptimizer(optimizer)
        self.by_module._strategy = weakref.proxy(trainer.strategy)

    def _check_by_hand(self, kind: str) -> None:
        for option, said in (
            ("accumulation", self.accumulation.gathers),
            ("clipping", self.clip is not None),
        ):
            if said:
                raise ValueError(
                    f"{kind} optimizes by hand (automatic_optimization = False), so {option} is "
                    f"its business, too; leave it out, and do it in training_step."
                )

    @property
    def module(self) -> Any:
        """The module."""
        return self._trainer.lightning_module

    @property
    def device_type(self) -> str:
        """The type of device that the module is on."""
        return str(self.module.device.type)

    def gauges(self, engine: Engine) -> dict[str, float]:
        """The learning rates; none without an optimizer."""
        return super().gauges(engine) if self.optimizer.param_groups else {}

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass; weights are cast anew where they are used again.

        So the gradients of several uses are added up in full precision, as in Lightning.
        """
        dtype = self.precision.dtype
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.device_type, dtype, cache_enabled=False)

    # ------------------------------------------------------------------ automatic

    def train(self, forward: Callable[[], Tensor | None]) -> None:
        """Go through a batch: its gradients, and a step if it fills the window.

        Args:
            forward: gives the batch's loss; ``None`` for a batch that is left out.

        Raises:
            RuntimeError: if the module's ``optimizer_step`` has not run the closure.
        """
        if not self.closes_next():
            self._closure(forward)
            return
        ran = False

        def closure() -> Tensor | None:
            nonlocal ran
            ran = True
            return self._closure(forward)

        self._take(closure)
        if not ran:
            raise RuntimeError(
                f"{type(self.module).__name__}.optimizer_step() has not run its closure, in which "
                f"training_step and backward are, so nothing was trained on this batch; call "
                f"optimizer.step(closure=optimizer_closure), or to leave a step out "
                f"optimizer_closure() alone."
            )

    def _closure(self, forward: Callable[[], Tensor | None]) -> Tensor | None:
        loss = forward()
        if not self.window.held or self.window.held >= self.window.size:
            self._begin_window()
        if loss is None:
            return None
        self.backward(loss)
        return loss.detach()

    def _begin_window(self) -> None:
        announce, trainer = self._announce, self._trainer
        tell(trainer, "on_before_zero_grad", self.optimizer)
        if announce.zero_grad_started.calls:
            announce(announce.zero_grad_started, optimization=self)
        where = trainer.current_epoch, trainer.batch_idx
        call_module(self.module, "optimizer_zero_grad", *where, self.optimizer)
        self.window.held, self.window.vetoed = 0, False
        if announce.zero_grad_completed.calls:
            announce(announce.zero_grad_completed, optimization=self)

    def backward(
        self,
        loss: Tensor,
        weight: float | Tensor | None = None,
        *,
        shared_with: Sequence[Optimization] = (),
        **how: Any,
    ) -> None:
        """Add a batch's gradients, by the module's own ``backward``."""
        tell(self._trainer, "on_before_backward", loss)
        super().backward(loss, weight, shared_with=shared_with, **how)
        tell(self._trainer, "on_after_backward")

    def _differentiate(
        self, added: Tensor, group: Sequence[Optimization], how: Mapping[str, Any]
    ) -> None:
        call_module(self.module, "backward", added, **how)

    def _take(self, closure: Callable[[], Any]) -> None:
        """Have the module take a step, with what runs before it."""
        self._refused, self._stepped = None, False
        trainer = self._trainer
        where = trainer.current_epoch, trainer.batch_idx
        try:
            call_module(self.module, "optimizer_step", *where, self.by_module, closure)
        except BaseException as error:
            self._drop(error)
            raise
        self._note()

    def _flush(self) -> None:
        if self.accumulation.flushes and self.window.held and self.module.automatic_optimization:
            self._take(lambda: None)

    # ------------------------------------------------------------------ the step itself

    def step_by(self, closure: Callable[[], Any], **options: Any) -> Any:
        """Have the optimizer step, behind a closure; it is what ``step()`` of the module's is.

        Args:
            closure: what runs first; an optimizer may run it several times.
            options: keywords of the optimizer's ``step``.

        Returns:
            what the optimizer's ``step`` returns.
        """
        if self.scaler is None:
            returned = self.optimizer.step(closure=lambda: self._behind(closure), **options)
            self._stepped = self._refused is None
        else:
            returned = closure()
            if self.window.held:
                self._prepare()
                self._refused = self._step_scaled(self.scaler)
                self._stepped = self._refused is None
        if not self.module.automatic_optimization:
            self._note()
        return returned

    def _behind(self, closure: Callable[[], Any]) -> Any:
        returned = closure()
        self._prepare()
        if self.window.vetoed:  # the optimizer finds nothing to step with
            self._refused = "veto"
            self.optimizer.zero_grad()
        return returned

    def _prepare(self) -> None:
        if self.window.held or not self.module.automatic_optimization:
            super()._prepare()
        else:  # nothing has come of the batch, which hooks may yet look at
            self._bound()

    def _bound(self) -> None:
        """Ask the module's hooks, which look at the gradients and clip them."""
        tell(self._trainer, "on_before_optimizer_step", self.optimizer)
        if self.module.automatic_optimization:
            call_module(
                self.module,
                "configure_gradient_clipping",
                self.optimizer,
                gradient_clip_val=self._trainer.gradient_clip_val,
                gradient_clip_algorithm=self._trainer.gradient_clip_algorithm,
            )

    def clip_by(self, value: float, algorithm: str) -> None:
        """Clip the gradients, as the module's ``clip_gradients`` asks for it.

        Args:
            value: the bound; 0 for what was set for the run, if anything was.
            algorithm: ``"norm"`` or ``"value"``.
        """
        if value <= 0 or value == self._trainer.gradient_clip_val:
            clip = self.clip
        else:
            clip = ClipValue(value) if str(algorithm) == "value" else ClipNorm(value)
        if clip is not None:
            self._clip(clip)

    def _note(self) -> None:
        """Let it be known that a step was taken, or that it was left out and why."""
        announce, stepped, refused = self._announce, self._stepped, self._refused
        held = self.window.held
        self.window.held, self.window.vetoed = 0, False
        self._stepped, self._refused = False, None
        if refused is not None:
            announce(announce.optimizer_step_skipped, optimization=self, reason=refused)
            return
        self.taken += 1
        if stepped and held and not isinstance(self.optimizer, NoOptimizer):
            channel = announce.optimizer_stepped
            announce(channel, optimization=self) if channel.calls else announce.count(channel)

    # ------------------------------------------------------------------ state

    def _has_left_overs(self) -> bool:
        """No: by hand each backward counts in all windows, and what a step leaves is let go."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """That of any optimization, the steps taken, and what is trained in which group."""
        return {
            **super().state_dict(),
            "taken": self.taken,
            "groups": grouped(self.module, self.optimizer),
            "frozen": frozen(self.module),
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what no optimization of its kind saved; groups are made as they were."""
        state = {key: one for key, one in state.items() if key not in ("taken", "frozen")}
        if state.pop("groups", None) is not None:
            state["optimizer"] = {}
        super().check_state(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, with the groups that there were."""
        state = dict(state)
        self.taken = state.pop("taken", 0)
        groups, still = state.pop("groups", None), state.pop("frozen", ())
        if groups is not None:
            regroup(self.module, self.optimizer, state["optimizer"], groups, set(still))
        super().load_state_dict(state)
