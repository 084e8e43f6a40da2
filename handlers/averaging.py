"""Averaged weights: an exponential moving average, and stochastic weight averaging."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from operator import is_
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ..engine.data import move
from ..engine.engine import Engine
from ..engine.errors import DataError, StateError, nearest
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.random import preserved
from ..engine.state import Next
from ..engine.step.compiling import own_name, uncompiled
from ..engine.step.events import StepEvents
from ..engine.store import lend, take_back, write_weights
from ..engine.whole import whole

__all__ = ["EMA", "SWA", "Averaging"]


class Averaging(Handler, ABC):
    """Base of what averages the weights of a model while it is trained.

    The first update takes the weights as they are, the later ones average; before it, the average
    is the model itself. Averages of half-precision weights are kept in float32, as small steps
    towards them would be rounded away. Integers are copied. Tied weights count once. The average
    is saved with the engine. When a second run of the engine starts anew, it is begun anew, too.

    Args:
        model: the model that is trained.
        buffers: whether the buffers that belong to its state, such as running statistics, are a
            ``"copy"`` of the model's at the last update, or an ``"average"``, too.

    Attributes:
        model: the model, without what ``torch.compile`` may have wrapped around it.
        averaged: the average by name; empty before the first update.
        updates: how many times weights were taken in.
    """

    priority = Priority.HIGH  # before evaluation
    for_one_engine = True

    def __init__(self, model: nn.Module, *, buffers: Literal["copy", "average"] = "copy") -> None:
        if next(model.parameters(), None) is None:
            raise ValueError(f"a {type(model).__name__} has no parameters to average.")
        if buffers not in ("copy", "average"):
            raise ValueError(f"buffers is 'copy' or 'average', given {buffers!r}.")
        self.model = uncompiled(model)
        self.buffers = buffers
        self.averaged: dict[str, Tensor] = {}
        self.updates = 0
        self._tensors = _Tensors(self.model)
        self._of_a_run = False  # whether the average was there when a run began
        self._trained: list[tuple[Tensor, Tensor]] | None = None  # what to put back, and where
        self._over = True  # whether the use of the average is, even if not all is put back

    @abstractmethod
    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        """Take the current tensors into the averages, in place."""

    def on_register(self, engine: Engine) -> None:
        """Refuse an engine that would train the average."""
        if self in _used_by(engine):
            raise _own_trainer(engine)

    def opened(self, engine: Engine) -> None:
        """Forget the average of an earlier run, if this one starts anew."""
        self._refuse_while_applied()
        anew = engine.progress.next is Next.STARTED and engine.state.iteration == 0
        if anew and self._of_a_run:
            self._forget()
        self._of_a_run = True

    def _forget(self) -> None:
        self.averaged, self.updates = {}, 0

    # ------------------------------------------------------------------ averaging

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's weights in now. An engine does so on its events.

        Raises:
            RuntimeError: while the average stands in the model.
            StateError: if the model has got or lost parameters since the first update.
        """
        self._refuse_while_applied()
        live = self._tensors.by_name()
        if self.averaged:
            _check_names(self.averaged, live)
            self._take_in(live)
        else:
            self.averaged = {name: _wide(value).clone() for name, value in live.items()}
        self.updates += 1

    def _take_in(self, live: Mapping[str, Tensor]) -> None:
        copied = self._tensors.buffers if self.buffers == "copy" else ()
        averaged, current = [], []
        for name, value in live.items():
            own = self.averaged[name]
            if own.device != value.device:  # the model has moved
                own = self.averaged[name] = own.to(value.device)
            if name in copied or not (own.is_floating_point() or own.is_complex()):
                own.copy_(value)
            else:
                averaged.append(own)
                current.append(value if own.dtype == value.dtype else value.to(own.dtype))
        self._average(averaged, current)

    def update_batch_norm(
        self, data: Iterable[Any], forward: Callable[[nn.Module, Any], object] | None = None
    ) -> None:
        """Compute the running statistics of batch norm anew, for the averaged weights.

        Those that were averaged or copied belong to other weights; so Izmailov et al. make a pass
        over the training data at the end. It is a pass in training mode that takes the mean over
        all batches, as ``torch.optim.swa_utils.update_bn`` does. The model keeps the statistics
        that it has, and random number generators stay as they are.

        Args:
            data: batches: of tuples and lists the first entry is the model's input, anything else
                is the input itself.
            forward: calls the model, given the model and a batch on its device, where that is
                not what it takes: ``lambda model, batch: model(**batch)``.

        Raises:
            RuntimeError: if nothing has been averaged yet.
            DataError: if the data give no batch; nothing is changed then.
        """
        if not self.averaged:
            raise RuntimeError("there is no average yet; call this after the first update.")
        with self.applied(), _modes_kept(self.model), preserved():
            _estimate(self.model, data, forward or _call)
            live = self._tensors.by_name()
            _copy((self.averaged[name], live[name]) for name in self._tensors.buffers)

    # ------------------------------------------------------------------ using the average

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model has the averaged weights; behind it its own, whatever happens.

        They are copied into the same tensors, so an optimizer keeps its parameters. As long as
        it lasts, the weights proper need memory of their own, and no checkpoint of the model is
        written. If an interrupt, such as a second Ctrl-C, cuts their way back, see
        :meth:`restore`.

        Raises:
            RuntimeError: if the average stands in the model already.
        """
        self._refuse_while_applied()
        live = self._tensors.by_name()
        if self.averaged:
            _check_names(self.averaged, live)
        pairs = [(live[name], value) for name, value in self.averaged.items()]
        trained = [(one, one.detach().clone()) for one, _ in pairs]
        try:
            self._over, self._trained = False, trained
            lend((one for one, _ in pairs), self)
            _copy(pairs)
            yield
        finally:
            if self._trained is trained:
                self._over = True
                self.restore()

    def restore(self) -> None:
        """Put the trained weights back, where the average stands in the model.

        :meth:`applied` ends with it. An interrupt in the midst of that leaves some of each in the
        model; but the trained weights are kept until all of them are back. Whatever uses the
        average next, and the next run of the engine, puts them back first. One who trains on or
        saves by hand calls this; at any other time it does nothing.
        """
        if self._trained is not None:
            _copy(self._trained)
            take_back((one for one, _ in self._trained), self)
            self._trained = None

    def evaluate_with(self, evaluator: Engine) -> None:
        """Let each run of an evaluator use the averaged weights.

        They are put into the model in OPENED, and its own are put back in CLOSED, which fires on
        errors and stops, too. ``evaluator.detach(evaluator.handlers["averaged_weights"])`` ends
        it.

        Raises:
            ValueError: for the engine that trains the model, and for one that uses an average
                already.
        """
        if evaluator is self._owner():
            raise _own_trainer(evaluator)
        if _used_by(evaluator):
            raise ValueError(f"{evaluator!r} uses averaged weights already; make another one.")
        evaluator.attach(_AveragedWeights(self))

    def model_state_dict(self) -> dict[str, Tensor]:
        """The averaged weights as a state dict of the model, in its types; copies."""
        with self._applied_anyway():
            state = self.model.state_dict()
            return {own_name(name): value.clone() for name, value in state.items()}

    def save(self, path: str | Path) -> None:
        """Write the averaged weights as safetensors, shared tensors once.

        The file has the model's own names and types, so that whatever reads the model's weights
        reads these. It appears whole or not at all.
        """
        beside = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
        try:
            with self._applied_anyway():
                write_weights(self.model, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many updates are in it.

        Raises:
            RuntimeError: while the average stands in the model, whose weights would be saved
                beside it.
        """
        self._refuse_while_applied()
        return {"updates": self.updates, "averaged": dict(self.averaged)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the average.

        Raises:
            StateError: if its names or shapes are not the model's; nothing is changed then.
            RuntimeError: while the average stands in the model.
        """
        self._refuse_while_applied()
        live, given = self._tensors.by_name(), state["averaged"]
        if given:
            _check_names(given, live)
        for name, value in given.items():
            if value.shape != live[name].shape:
                raise StateError(
                    f"the average of {name!r} has shape {tuple(value.shape)}, the model's is "
                    f"{tuple(live[name].shape)}."
                )
        self.averaged = {
            name: value.to(live[name].device, _wide(live[name]).dtype, copy=True)
            for name, value in given.items()
        }
        self.updates = state["updates"]
        self._of_a_run = False

    # ------------------------------------------------------------------ parts

    def _applied_anyway(self) -> AbstractContextManager[None]:
        if self._over:
            self.restore()
        return self.applied() if self._trained is None else nullcontext()

    def _refuse_while_applied(self) -> None:
        if self._over:
            self.restore()
        if self._trained is not None:
            raise RuntimeError(
                "the averaged weights stand in the model; leave applied(), or let the evaluator's "
                "run end, before they are applied, updated, saved or loaded, or the model is "
                "trained. If neither goes on, call restore()."
            )


class EMA(Averaging):
    """An exponential moving average of the weights, updated when an optimizer has stepped.

    ``average = decay * average + (1 - decay) * weights``. It is updated on OPTIMIZER_STEPPED if
    the engine fires that, so that steps left out and batches that are accumulated don't count,
    else on ITERATION_COMPLETED.

    Args:
        model: the model that is trained.
        decay: how much of the average stays, from 0 to less than 1.
        warm_up: whether the decay begins lower, by TensorFlow's rule: the lesser of ``decay`` and
            ``(1 + n) / (10 + n)`` behind ``n`` updates.
        every: how many steps there are from one update to the next.
        buffers: whether running statistics and other buffers are a ``"copy"`` or an
            ``"average"``.
        optimization: of several optimizations, the one whose steps count, by name; all by
            default.

    Raises:
        ValueError: for a decay outside of that range, and for ``every`` less than 1.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> def step(engine, batch):
        ...     with torch.no_grad():
        ...         model.weight += 1.0
        >>> trainer = Engine(step, name="train")
        >>> ema = trainer.attach(EMA(model, decay=0.5))
        >>> state = trainer.run(range(3))
        >>> with ema.applied():
        ...     model.weight.item()
        2.25
        >>> model.weight.item()
        3.0
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.999,
        *,
        warm_up: bool = False,
        every: int = 1,
        buffers: Literal["copy", "average"] = "copy",
        optimization: str | None = None,
    ) -> None:
        super().__init__(model, buffers=buffers)
        if not 0 <= decay < 1:
            raise ValueError(f"decay is at least 0 and less than 1, given {decay!r}.")
        self.decay = decay
        self.warm_up = warm_up
        self.every = whole("every", every)
        self.optimization = optimization
        self.steps = 0

    @property
    def current_decay(self) -> float:
        """The decay of the next update."""
        rising = (1 + self.updates) / (10 + self.updates)
        return min(self.decay, rising) if self.warm_up else self.decay

    def on_register(self, engine: Engine) -> None:
        """Update on optimizer steps where they are told, else on iterations."""
        super().on_register(engine)
        wanted = self.optimization
        if wanted is not None and wanted not in engine.handlers:
            raise ValueError(
                f"{engine!r} has no optimization named {wanted!r} yet; attach it first."
                f"{nearest(wanted, engine.handlers)}"
            )
        if engine.has_registered_events(StepEvents.OPTIMIZER_STEPPED):
            event, handler = StepEvents.OPTIMIZER_STEPPED, self._stepped
            engine.add_event_handler(event, handler, priority=self.priority)
        else:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._step, priority=self.priority)

    def _forget(self) -> None:
        super()._forget()
        self.steps = 0

    def _stepped(self, optimization: Any) -> None:
        if self.optimization in (None, optimization.name):
            self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.update()

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        average = get_ema_multi_avg_fn(self.current_decay)  # type: ignore[no-untyped-call]
        average(averaged, current, None)

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many steps and updates are in it; see :class:`Averaging`."""
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the average; see :class:`Averaging`."""
        super().load_state_dict(state)
        self.steps = state["steps"]


class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs.

    By Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
    (2018). It goes with a learning rate that stays high, as ``torch.optim.swa_utils.SWALR`` gives
    it, and a model with batch norm needs :meth:`~Averaging.update_batch_norm` in the end.

    Args:
        model: the model that is trained.
        start: the first epoch whose end counts.
        every: how many epochs there are from one that counts to the next.
        buffers: whether running statistics and other buffers are a ``"copy"`` or an
            ``"average"``.

    Raises:
        ValueError: for ``start`` or ``every`` less than 1.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> def step(engine, batch):
        ...     with torch.no_grad():
        ...         model.weight += 1.0
        >>> trainer = Engine(step, name="train")
        >>> swa = trainer.attach(SWA(model, start=2, every=2))
        >>> state = trainer.run([0], max_epochs=7)
        >>> swa.updates, swa.model_state_dict()["weight"].item()
        (3, 4.0)
    """

    def __init__(
        self,
        model: nn.Module,
        start: int,
        *,
        every: int = 1,
        buffers: Literal["copy", "average"] = "copy",
    ) -> None:
        super().__init__(model, buffers=buffers)
        self.start = whole("start", start)
        self._taken_at: int | None = None
        self.every = whole("every", every)

    def _forget(self) -> None:
        super()._forget()
        self._taken_at = None

    def epoch_completed(self, engine: Engine) -> None:
        """Take the weights in if this epoch counts."""
        since = engine.state.epoch - self.start
        again = self._taken_at == engine.state.iteration  # an error has the event fire again
        if since >= 0 and since % self.every == 0 and not again:
            self.update()
            self._taken_at = engine.state.iteration

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        average = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
        average(averaged, current, self.updates)


class _AveragedWeights(Handler):
    """Puts an average into the model for each run of an evaluator."""

    name = "averaged_weights"

    def __init__(self, averaging: Averaging) -> None:
        self.averaging = averaging
        self._applied = ExitStack()

    def on_register(self, engine: Engine) -> None:
        """Come before and behind everything else of a run."""
        engine.add_event_handler(Events.OPENED, self._put_in, priority=Priority.HIGHEST)
        engine.add_event_handler(Events.CLOSED, self._put_back, priority=Priority.LOWEST)

    def _put_in(self) -> None:
        self._put_back()  # of a run that an interrupt kept from its CLOSED
        self._applied.enter_context(self.averaging.applied())

    def _put_back(self) -> None:
        self._applied.close()


class _Tensors:
    """Parameters and buffers of a model's state, each once, by their own names.

    To walk a model by its names takes longer than to average it; so that is done again only when
    one of its modules has got another tensor or module.

    Attributes:
        buffers: the names of those that are buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers: set[str] = set()
        self._model = model
        self._modules: list[nn.Module] = []
        self._members: list[Any] = []
        self._by_name: dict[str, Tensor] = {}

    def by_name(self) -> dict[str, Tensor]:
        """The tensors that the model has now."""
        members = _members_of(self._modules)
        if not members or not _are(members, self._members):
            self._modules = list(self._model.modules())
            self._members = _members_of(self._modules)
            self._look()
        return self._by_name

    def _look(self) -> None:
        saved, named = self._model.state_dict().keys(), self._model.named_buffers()
        parameters = {own_name(name): one for name, one in self._model.named_parameters()}
        buffers = {own_name(name): one for name, one in named if name in saved}
        self._by_name, self.buffers = {**parameters, **buffers}, set(buffers)


def _members_of(modules: Iterable[nn.Module]) -> list[Any]:
    """What the modules hold directly: tensors, other modules, and nothing where there is none."""
    return [
        one
        for module in modules
        for own in (module._modules, module._parameters, module._buffers)
        for one in own.values()
    ]


def _are(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _used_by(engine: Engine) -> list[Averaging]:
    """The averages that an engine puts into their models."""
    found = engine.handlers.values()
    return [one.averaging for one in found if isinstance(one, _AveragedWeights)]


def _own_trainer(engine: Engine) -> ValueError:
    return ValueError(
        f"{engine!r} trains the model, and would train its average; let the engine that evaluates "
        f"use it."
    )


def _wide(value: Tensor) -> Tensor:
    """A tensor in a type that is wide enough to average in."""
    value = value.detach()
    if not (value.is_floating_point() or value.is_complex()):
        return value
    return value.to(torch.promote_types(value.dtype, torch.float32))


@torch.no_grad()
def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Copy the second tensor of each pair into the first."""
    for place, value in pairs:
        place.copy_(value)


@torch.no_grad()
def _estimate(
    model: nn.Module, data: Iterable[Any], forward: Callable[[nn.Module, Any], object]
) -> None:
    """Set the statistics of batch norm to the means over all batches."""
    norms = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all, in place of a moving one
    model.train()
    device, count = next(model.parameters()).device, 0
    for count, batch in enumerate(data, 1):  # noqa: B007 - looked at behind the loop
        forward(model, move(batch, device))
    if not count:
        raise DataError(
            "the data gave no batch to compute statistics from; give at least one, and a new "
            "iterator where the old one is at its end."
        )


def _call(model: nn.Module, batch: Any) -> object:
    return model(batch[0] if isinstance(batch, (list, tuple)) else batch)


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Put back what the pass for batch norm changes besides statistics, even if it fails."""
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(one, one.momentum) for one in model.modules() if isinstance(one, _BatchNorm)]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for one, momentum in momenta:
            one.momentum = momentum


def _check_names(averaged: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> None:
    if averaged.keys() == live.keys():
        return
    missing, unexpected = sorted(live.keys() - averaged), sorted(averaged.keys() - live)
    raise StateError(
        f"the average does not fit the model: it lacks {missing or 'nothing'} and has "
        f"{unexpected or 'nothing'} besides."
        f"{nearest(unexpected[0], missing) if unexpected else ''}"
    )
