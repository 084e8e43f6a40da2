"""Optimization: how losses become steps of an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from ..errors import StateError
from ..handler import Handler
from ..placement.placement import Placement
from ..priority import Priority
from .accumulation import Accumulation, Window
from .announcer import Announcer
from .precision import Precision, single
from .saved_optimizer import check_saved
from .sharing import open_windows, trainable

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Clip", "Optimization"]

Clip = Callable[[Sequence[Tensor]], "Tensor | None"]
"""Bounds the gradients of parameters in place, and may return their norm before that."""

_KEYS = {"optimizer", "scaler", "window"}  # of a state


class Optimization(Handler):
    """An optimizer with its precision, accumulation and clipping.

    A training step drives it. By hand, :meth:`update` is backward and, once a window of batches
    is full, the rest; attach it to the engine to have its events fired and its state saved::

        backward           add the gradients of a batch, scaled for fp16
        unscale, divide    once the window is full: by what it holds
        GRADIENTS_READY    handlers may change the gradients
        clip
        step               unless a handler called veto(), or fp16 gradients overflowed
        zero_grad

    Without an engine it works in a plain loop, silently.

    Args:
        optimizer: any optimizer of torch.
        name: its key in the engine's state, by which handlers tell several apart.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or a :class:`.Precision`.
        accumulate: batches in a window, ``{epoch: batches}``, or an :class:`.Accumulation`.
        clip: a :class:`.ClipNorm`, a :class:`.ClipValue` or any function of the parameters.

    Attributes:
        window: what the gradients hold.
        norm: the gradients' norm before the last clipping, if ``clip`` returned it.
        alone: whether it is the only optimizer of its step. If not, backward computes the
            gradients of its own parameters only.
        placement: what exchanges gradients with other processes; ``None`` where there are none.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimization = Optimization(torch.optim.SGD([weight], lr=0.1), accumulate=2)
        >>> for x in (2.0, 4.0):
        ...     print(optimization.update((weight * x).sum()), weight.item())
        False 1.0
        True 0.699999988079071
    """

    name: str
    priority = Priority.HIGHEST
    for_one_engine = True
    gives_closures: ClassVar[bool] = False  # to optimizers that need the loss several times a step
    replicated = "optimizer", "scaler"  # gradients that are gathered are each process's own

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        name: str = "optimization",
        precision: str | Precision = "fp32",
        accumulate: int | Mapping[int, int] | Accumulation = 1,
        clip: Clip | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Optimization() takes an optimizer of torch, given {optimizer!r:.80}.")
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty and not self.gives_closures:
            raise TypeError(
                f"{type(optimizer).__name__} needs the loss several times a step, by a closure; "
                f"call its step(closure) in a step of your own."
            )
        if clip is not None and not callable(clip):
            raise TypeError(f"clip={clip!r} can't be called; write ClipNorm({clip}) for a norm.")
        self.optimizer = optimizer
        self.name = name
        self.precision = Precision.of(precision)
        self.accumulation = Accumulation.of(accumulate)
        self.clip = clip
        self.norm: Tensor | None = None
        self.alone = True
        self.placement: Placement | None = None
        self.window = Window(self.accumulation.size_in(1))
        self._announce = Announcer()
        inherited = type(optimizer).zero_grad is Optimizer.zero_grad
        self._own_zero_grad = not inherited or "zero_grad" in vars(optimizer)

    def on_register(self, engine: Engine) -> None:
        """Fire the events of steps there; among several each keeps to its own parameters."""
        self._announce = Announcer(engine)
        everyone = [one for one in engine.handlers.values() if isinstance(one, Optimization)]
        for one in everyone if len(everyone) > 1 else ():
            one.alone = False

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer optimizes."""
        return [one for group in self.optimizer.param_groups for one in group["params"]]

    def gauges(self, engine: Engine) -> dict[str, float]:
        """The learning rates, for the log points of a scalar stream.

        Returns:
            that of the first parameter group as ``lr``, and those of others, as ``lr/1`` and so
            on, that differ from all before them, now or when schedules began; of several
            optimizers each under its name, as ``lr/generator``.
        """
        name = "lr" if self.alone else f"lr/{self.name}"
        told: dict[tuple[float, float], str] = {}
        for number, group in enumerate(self.optimizer.param_groups):
            rate = float(group["lr"])
            begun = float(group.get("initial_lr", rate))  # so that none goes where all come to 0
            told.setdefault((begun, rate), f"{name}/{number}" if number else name)
        return {one: rate for (_, rate), one in told.items()}

    @property
    def device_type(self) -> str:
        """The type of device that the parameters are on."""
        return str(self.optimizer.param_groups[0]["params"][0].device.type)

    @cached_property
    def scaler(self) -> GradScaler | None:
        """What scales losses for fp16."""
        return self.precision.scaler(self.device_type)

    # ------------------------------------------------------------------ the parts of an update

    def update(self, loss: Tensor, weight: float | Tensor | None = None) -> bool:
        """Add a batch's gradients, and make a step if that fills the window.

        Args:
            loss: the batch's loss, a scalar tensor.
            weight: how many samples or tokens the loss is the mean of; a number, or a scalar
                tensor, which is not read. By default all batches of a window weigh the same.

        Returns:
            whether the optimizer stepped.
        """
        self.backward(loss, weight)
        return self.settle()

    def backward(
        self,
        loss: Tensor,
        weight: float | Tensor | None = None,
        *,
        shared_with: Sequence[Optimization] = (),
        **how: Any,
    ) -> None:
        """Add a batch's gradients to those of the window; see :meth:`update`.

        Args:
            loss: the batch's loss.
            weight: what it is the mean of.
            shared_with: further optimizations that take gradients of this loss.
            how: keywords of ``Tensor.backward``, as ``retain_graph=True``; ``inputs=None`` for
                the gradients of all parameters that the loss depends on, other optimizers' too.

        Raises:
            ValueError: if those who share the loss scale it, or weigh it differently.
        """
        announce, window = self._announce, self.window
        group = (self, *shared_with)
        if shared_with or self.accumulation.gathers or window.size > 1 or self.placement:
            open_windows(group, announce.epoch)
        if announce.backward_started.calls:
            announce(announce.backward_started, loss=loss, optimization=self)
        if window.size == 1 and self.placement is None:  # else other processes weigh, too
            weight = None
        added = loss if weight is None else single(loss) * weight
        if self.scaler is not None:
            added = self.scaler.scale(added)
        try:
            self._differentiate(added, group, how)
            for one in group:
                if weight is None and not one.window.weighted:
                    one.window.held += 1
                else:
                    one.window.add(weight)
        except BaseException as error:  # some gradients were added, and can't be told apart
            for one in group:
                one._drop(error)
            raise
        if announce.backward_completed.calls:
            announce(announce.backward_completed, loss=loss, optimization=self)

    def closes_next(self) -> bool:
        """Whether a step follows the batch that is about to come, as far as is known."""
        window = self.window
        size = window.size if window.held else self.accumulation.size_in(self._announce.epoch)
        return window.held + 1 >= size or self._ends_here()

    def settle(self) -> bool:
        """Make a step if the window is full, or if the epoch ends here and the window with it.

        Returns:
            whether the optimizer stepped.
        """
        return self.step() if self.closes() else False

    def closes(self) -> bool:
        """Whether a step is due: the window is full, or the epoch ends here and it with that."""
        window = self.window
        return window.held >= window.size or (bool(window.held) and self._ends_here())

    def step(self) -> bool:
        """Step with what the window holds, full or not, and let the gradients go.

        Returns:
            whether the optimizer stepped; not so if a handler vetoed it, or gradients overflowed.
        """
        announce = self._announce
        try:
            refused = self._advance()
            if refused is None:
                stepped = announce.optimizer_stepped
                announce(stepped, optimization=self) if stepped.calls else announce.count(stepped)
            else:
                announce(announce.optimizer_step_skipped, optimization=self, reason=refused)
        except BaseException as error:  # the gradients are divided, or used already
            self._drop(error)
            raise
        self.zero_grad()
        return refused is None

    def zero_grad(self) -> None:
        """Let the gradients go, and begin a new window."""
        announce = self._announce
        if announce.zero_grad_started.calls:
            announce(announce.zero_grad_started, optimization=self)
        if self._own_zero_grad:
            self.optimizer.zero_grad()
        else:  # the same as torch's, whose record for the profiler costs more than all of it
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        self.window.held, self.window.vetoed = 0, False
        if announce.zero_grad_completed.calls:
            announce(announce.zero_grad_completed, optimization=self)

    def veto(self) -> None:
        """Leave out the step at hand; its gradients are let go.

        Raises:
            RuntimeError: outside of a step.
        """
        if not self.window.held:
            raise RuntimeError(
                f"{self.name!r} has no gradients to leave out; call veto() in a handler of "
                f"BACKWARD_COMPLETED, GRADIENTS_READY or OPTIMIZER_STEP_STARTED."
            )
        self.window.vetoed = True

    # ------------------------------------------------------------------ within an engine

    def started(self, engine: Engine) -> None:
        """Let go of what an earlier run left, unless this one goes on from it."""
        if engine.state.iteration == 0 and self.window.held:
            self.optimizer.zero_grad()
            self.window.begin(self.window.size)

    def terminate_single_epoch(self, engine: Engine) -> None:
        """End a window that is still open."""
        self._flush()

    def epoch_completed(self, engine: Engine) -> None:
        """End a window that is still open, if the epoch ended without warning."""
        self._flush()

    def completed(self, engine: Engine) -> None:
        """End a window that is still open, if the run ended without warning."""
        self._flush()

    def _flush(self) -> None:
        if self.accumulation.flushes and self.window.held:
            self.step()

    def _ends_here(self) -> bool:
        """Whether this iteration is known to be the last one for the window."""
        engine = self._announce.engine
        if engine is None or not self.accumulation.flushes:
            return False
        state = engine.state
        return (
            engine.progress.epoch_iteration + 1 == state.epoch_length
            or state.iteration == state.max_iters
        )

    # ------------------------------------------------------------------ parts of a step

    def _differentiate(
        self, added: Tensor, group: Sequence[Optimization], how: Mapping[str, Any]
    ) -> None:
        """Compute the gradients of what is added to the window."""
        if self.alone and self.placement is not None:
            self.placement.backward(added, **how)
        else:
            how = how if self.alone else {"inputs": trainable(group), **how}
            added.backward(**how)  # type: ignore[no-untyped-call]

    def _prepare(self) -> None:
        """Make of the window's gradients those that the optimizer steps with."""
        announce = self._announce
        if self.placement is not None:
            self.placement.reduce(self.parameters)
        if self.scaler is not None:
            self._unscale(self.scaler)
        if self.window.size > 1 or self.window.weighted:
            self._divide()
        if announce.gradients_ready.calls:
            announce(announce.gradients_ready, optimization=self)
        self._bound()
        if announce.optimizer_step_started.calls:
            announce(announce.optimizer_step_started, optimization=self)

    def _bound(self) -> None:
        """Bound the gradients, if they are to be."""
        if self.clip is not None:
            self._clip(self.clip)

    def _advance(self) -> str | None:
        """All of a step but its end; returns why the optimizer did not step, if it did not."""
        self._prepare()
        if self.scaler is not None:
            return self._step_scaled(self.scaler)
        if self.window.vetoed:
            return "veto"
        if self.placement is not None:
            return self.placement.step(self.optimizer)
        self.optimizer.step()
        return None

    def _unscale(self, scaler: GradScaler) -> None:
        if all(one.grad is None for one in self.parameters):
            raise ValueError(
                f"no parameter of {self.name!r} has got a gradient, so there is nothing to step "
                f"with; the loss depends on none of them."
            )
        scaler.unscale_(self.optimizer)

    def _divide(self) -> None:
        """Divide the sums by what the window holds."""
        window = self.window
        if self.placement is not None and window.weighted:
            window.weight = self.placement.mean(window.weight)
        total = window.total
        if isinstance(total, Tensor) or total not in (0, 1):
            gradients = [one.grad for one in self.parameters if one.grad is not None]
            if self.placement is not None:
                self.placement.divide(gradients, total)
            elif gradients:
                torch._foreach_div_(gradients, total)

    def _clip(self, clip: Clip) -> None:
        announce = self._announce
        if announce.clipping_started.calls:
            announce(announce.clipping_started, optimization=self)
        self.norm = clip(self.parameters)
        if announce.clipping_completed.calls:
            announce(announce.clipping_completed, optimization=self, norm=self.norm)

    def _step_scaled(self, scaler: GradScaler) -> str | None:
        if self.window.vetoed:
            scaler.update()
            return "veto"
        if getattr(self.optimizer, "_step_supports_amp_scaling", False):
            return self._step_fused(scaler)
        stepped: list[bool] = []  # the scaler reads whether to step, and tells nobody
        with self.optimizer.register_step_post_hook(lambda *_: stepped.append(True)):
            scaler.step(self.optimizer)
        scaler.update()
        return None if stepped else "overflow"

    def _step_fused(self, scaler: GradScaler) -> str | None:
        """Step with an optimizer that is told on its device whether to; so it has to be asked."""
        before = scaler.get_scale()
        scaler.step(self.optimizer)
        scaler.update()
        return "overflow" if scaler.get_scale() < before or not before else None  # it falls then

    def _drop(self, error: BaseException) -> None:
        """Let go of a window that an error has left half done."""
        error.add_note(f"{self.name!r} lets go of its open window: {self.window.held} held")
        self.optimizer.zero_grad()
        self.window.begin(self.window.size)
        if self.scaler is not None:  # a new one, which has not unscaled anything
            state = self.scaler.state_dict()
            del self.scaler
            self._load_scaler(state)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The optimizer, the scaler, and what an open window holds, its gradients included.

        A window that holds nothing is saved, too, if the loss of another optimizer has left
        gradients in it, which go into the next step.
        """
        open_window = None
        if self.window.held or self._has_left_overs():
            keep = torch.clone if self.placement is None else self.placement.kept
            gradients = [None if p.grad is None else keep(p.grad) for p in self.parameters]
            open_window = {**self.window.state_dict(), "gradients": gradients}
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "window": open_window,
        }

    def _has_left_overs(self) -> bool:
        """Whether there are gradients beside those of its own window; zeros are none."""
        if self.alone:  # or a window would hold them
            return False
        left = [one.grad for one in self.parameters if one.grad is not None]
        zeroed = self._own_zero_grad and self.placement is None  # which may ask other processes
        return any(one.is_sparse or bool(one.any()) for one in left) if zeroed else bool(left)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave.

        Raises:
            StateError: if it belongs to another kind of optimization; nothing is loaded then.
        """
        if state.keys() != _KEYS:
            raise StateError(
                f"the state of {self.name!r} has optimizer, scaler and window, not {sorted(state)}."
            )
        self.check_state(state)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None:
            self._load_scaler(state["scaler"])
        self.optimizer.zero_grad()
        self.window.begin(self.accumulation.size_in(1))
        if state["window"] is not None:
            self._load_window(dict(state["window"]))

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of another kind of optimization; a checkpoint asks before it loads.

        Raises:
            StateError: saying what was saved and what is there.
        """
        if not state.keys() >= _KEYS:  # what a class of the user's own saves, it checks itself
            return
        if (state["scaler"] is None) != (self.scaler is None):
            was = "without" if state["scaler"] is None else "with"
            raise StateError(
                f"the state of {self.name!r} was saved {was} a scaler, but its precision is "
                f"{self.precision.kind!r}; go on with the precision that the run was begun with."
            )
        check_saved(self.optimizer, state["optimizer"], self.name)

    def _load_scaler(self, state: Mapping[str, Any]) -> None:
        if self.scaler is not None:
            self.scaler.load_state_dict(dict(state))
            # its scale is made when it is used first, and an open window may be stepped before
            self.scaler.scale(torch.zeros((), device=self.parameters[0].device))

    def _load_window(self, window: dict[str, Any]) -> None:
        gradients, parameters = window.pop("gradients"), self.parameters
        if len(gradients) != len(parameters):
            raise StateError(
                f"the state of {self.name!r} has gradients of {len(gradients)} parameters, "
                f"but the optimizer has {len(parameters)}."
            )
        for one, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                one.grad = None
            elif self.placement is None:
                one.grad = gradient.to(one.device, one.dtype, copy=True)
            else:
                one.grad = self.placement.taken(gradient, one)
        self.window.load_state_dict(window)
        weight = self.window.weight
        if isinstance(weight, Tensor):
            self.window.weight = weight.to(parameters[0].device)
