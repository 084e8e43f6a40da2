"""Averages of weights: taking them in, using them in the place of the trained ones, saving them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..checkpoints.loans import lend, take_back
from ..checkpoints.tensor_file import write_weights
from ..engine import Engine
from ..errors import StateError, nearest
from ..events import Events
from ..handler import Handler
from ..priority import Priority
from ..random import preserved
from ..state import Next
from .batch_norm import estimate, modes_kept
from .compiling import own_name, uncompiled
from .hidden import refuse_hidden_weights
from .model_tensors import ModelTensors

__all__ = ["Averaging"]


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

    Example:
        >>> class Mean(Averaging):
        ...     def _average(self, averaged, current):
        ...         for mean, new in zip(averaged, current):
        ...             mean.lerp_(new, 1 / (self.updates + 1))
        >>> model = nn.Linear(1, 1, bias=False)
        >>> mean = Mean(model)
        >>> for value in 1.0, 2.0, 6.0:
        ...     _ = nn.init.constant_(model.weight, value)
        ...     mean.update()
        >>> mean.averaged, mean.updates
        ({'weight': tensor([[3.]])}, 3)
    """

    priority = Priority.HIGH  # before evaluation
    for_one_engine = True
    replicated = True

    def __init__(self, model: nn.Module, *, buffers: Literal["copy", "average"] = "copy") -> None:
        if next(model.parameters(), None) is None:
            raise ValueError(f"a {type(model).__name__} has no parameters to average.")
        if buffers not in ("copy", "average"):
            raise ValueError(f"buffers is 'copy' or 'average', given {buffers!r}.")
        self.model = uncompiled(model)
        self.buffers = buffers
        self.averaged: dict[str, Tensor] = {}
        self.updates = 0
        self._tensors = ModelTensors(self.model)
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
        """Forget the average of an earlier run, if this one starts anew.

        Raises:
            ValueError: if the weights are not at hand to be averaged.
        """
        refuse_hidden_weights(self.model, type(self).__name__)
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
        that it has, and random number generators stay as they are. Where there are several
        processes, all of them call this, each with data of its own; the mean is over all of them.
        A model in shards has to be called equally often in each.

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
        with self.applied(), modes_kept(self.model), preserved():
            estimate(self.model, data, forward)
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


def _check_names(averaged: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> None:
    if averaged.keys() == live.keys():
        return
    missing, unexpected = sorted(live.keys() - averaged), sorted(averaged.keys() - live)
    raise StateError(
        f"the average does not fit the model: it lacks {missing or 'nothing'} and has "
        f"{unexpected or 'nothing'} besides."
        f"{nearest(unexpected[0], missing) if unexpected else ''}"
    )
