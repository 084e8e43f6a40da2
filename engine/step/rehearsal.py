"""Rehearsals: the step of a trainer called at will, and everything put back behind it."""

from __future__ import annotations

import collections
import copy
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..engine import Engine
from ..errors import DataError
from ..handler import Handler
from ..limited import Overfitted
from ..placement.ranks import world_size
from ..random import preserved
from ..samplers import parts_of
from ..state import Progress
from .accumulation import Window
from .contracts import Contract
from .optimization import Optimization
from .training import TrainingStep

__all__ = ["Rehearsal", "attributes_of", "cycled", "rehearsal", "states_of"]

_OWNERS = (nn.Module, Optimizer, Handler, Contract)
_REFILL: dict[type[Any], str] = {
    dict: "update",
    list: "extend",
    set: "update",
    collections.deque: "extend",
}
_MOST = 64  # a container of a loader that is longer holds data


@contextmanager
def rehearsal(trainer: Engine, model: nn.Module | None = None) -> Generator[Rehearsal, None, None]:
    """Have the step of a trainer called at will within a ``with`` block, and undo all of it.

    Put back, bit for bit and in place, even if the block raises: the parameters, buffers, modes,
    gradients and other attributes of the model; the optimizers with their parameter groups,
    scalers and open windows, an optimizer that has not stepped yet without any state; the
    attributes of a step that is a handler; the engine's state, counts and progress; and the
    random number generators of Python, numpy and torch, also those that the model or the data
    have for themselves. Until then gradients are empty, the engine is silenced, and a copy of all
    that lies in the host's memory.

    It can't put back: what a step writes into variables of its own, files or other engines; the
    batches of one-shot data; random numbers drawn by worker processes that the data share with
    others. And none of it is for several processes that train together: each would see losses
    and memory of its own.

    Args:
        trainer: an engine that is not running, with a :class:`.TrainingStep` or optimizations.
        model: what is trained, if that is no :class:`.TrainingStep`'s.

    Raises:
        TypeError: for what is no engine, and if the model is missing.
        ValueError: if no :class:`.Optimization` is attached.
        RuntimeError: if the trainer is running, or in several processes.
    """
    rehearsing = Rehearsal(trainer, model)
    attributes = dict(vars(trainer))
    with trainer.silenced(), preserved():
        try:
            rehearsing.begin()
            yield rehearsing
        finally:
            rehearsing.restore()
            vars(trainer).update(attributes)


class Rehearsal:
    """The step of a trainer, and a memory of what it changes; made by :func:`rehearsal`.

    Attributes:
        trainer: the trainer.
        optimizations: those that are attached to it, by name.
    """

    def __init__(self, trainer: Engine, model: nn.Module | None) -> None:
        if not isinstance(trainer, Engine):
            raise TypeError(f"a search takes the trainer, an Engine, given {trainer!r:.80}.")
        if trainer.watch is not None:
            raise RuntimeError(f"{trainer!r} is running; search before run() or behind it.")
        if (count := world_size()) > 1:
            raise RuntimeError(
                f"a search is for one process, and there are {count}, of which each would see "
                f"losses and memory of its own; search alone, and give what was found to the run."
            )
        everyone = trainer.handlers.values()
        self.trainer = trainer
        self.optimizations = {one.name: one for one in everyone if isinstance(one, Optimization)}
        if not self.optimizations:
            raise ValueError(
                f"{trainer!r} has no Optimization: its step is a plain function. Make the engine "
                f"of a training_step(…), or attach the Optimization that the step uses."
            )
        if model is None and not any(isinstance(one, TrainingStep) for one in everyone):
            raise TypeError(
                f"the step of {trainer!r} is no TrainingStep, so it does not say what it trains; "
                f"give the model as model=…."
            )
        self._moving: list[Any] = [model, *filter(callable, everyone)]
        self._seen: dict[int, Any] = {}
        self._undo: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Keep all that moves in mind, and lend the engine another state."""
        trainer, state = self.trainer, copy.copy(self.trainer.state)
        for one in self.optimizations.values():
            self._keep(one, getattr(one.clip, "__dict__", None))
            one.window = Window()
            if vars(one).get("scaler") is not None:
                vars(one)["scaler"] = copy.deepcopy(one.scaler)
        self._keep(*self._moving)
        of_data = ("dataloader", "batch", "output")
        self._keep(*(value for name, value in vars(state).items() if name not in of_data))
        state.iteration, state.epoch = 0, max(1, state.epoch)
        state.epoch_length = state.max_epochs = state.max_iters = None  # no window ends early
        trainer.state, trainer.progress = state, Progress()
        trainer.bind_state()

    def process(self, batch: Any) -> Any:
        """Have the step called as in the next iteration; returns what it reports."""
        self.trainer.state.iteration += 1
        return self.trainer.process(batch)

    def report_losses(self) -> None:
        """Have training steps report losses, whatever they make of them otherwise."""
        for one in self.trainer.handlers.values():
            if isinstance(one, TrainingStep):
                one._output = None

    def keep_data(self, data: Any) -> None:
        """Keep in mind how loaders and samplers stand; the data they hold are not looked at."""
        self._undo += states_of(data)

    def restore(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()

    def _keep(self, *given: Any) -> None:
        """Keep objects in mind, and all containers, tensors and generators that they lead to."""
        waiting = list(given)
        while waiting:
            one = waiting.pop()
            if id(one) in self._seen:
                continue
            kind = next((kind for kind in _REFILL if isinstance(one, kind)), None)
            if isinstance(one, Tensor):
                self._keep_tensor(one)
            elif kind is not None:
                self._undo.append(_content(one, kind))
                waiting += one.values() if isinstance(one, dict) else one
            elif isinstance(one, tuple):
                waiting += one
                continue
            elif isinstance(one, _OWNERS):
                waiting.append(vars(one))
            elif set_state := _generator(one):
                self._undo.append(set_state)
            else:
                continue
            self._seen[id(one)] = one

    def _keep_tensor(self, one: Tensor) -> None:
        data, is_leaf, wanted = one.data, one.is_leaf, one.requires_grad
        gradient = one.grad if is_leaf else None
        memory = _once(data)
        before = memory.to("cpu", copy=True)

        def undo() -> None:
            memory.copy_(before)
            if is_leaf:
                one.data = data
                one.requires_grad_(wanted)
                one.grad = gradient

        self._undo.append(undo)
        if gradient is not None:
            one.grad = None


def cycled(data: Any) -> Iterator[Any]:
    """The batches of data, again and again.

    Raises:
        DataError: if there are none, or if one-shot data come to their end.
    """
    count = 0
    while True:
        before = count
        for batch in data:
            count += 1
            yield batch
        if count == before:
            raise DataError("the data gave no batch; give at least one.")
        if hasattr(data, "__next__"):
            raise DataError(
                f"the data are a one-shot iterator that ended behind batch {count}, and the search "
                f"needs more; give data that can be iterated over again, such as a DataLoader."
            )


def _once(tensor: Tensor) -> Tensor:
    """A view in which each place in memory has one element, also if the tensor was expanded."""
    if tensor.layout is not torch.strided:
        return tensor
    return tensor[tuple(slice(None) if step else slice(1) for step in tensor.stride())]


def states_of(data: Any) -> list[Callable[[], object]]:
    """What puts loaders, samplers and data sets back as they stand, called from the last on.

    Worker processes that wait for their next pass are left alone: until then there are others.
    The data themselves are not looked at.
    """
    undo: list[Callable[[], object]] = []
    for one in _parts_of(data):
        undo += attributes_of(one, most=_MOST)
        if vars(one).get("persistent_workers"):
            one._iterator = None
    return undo


def attributes_of(one: Any, most: int | None = None) -> Iterator[Callable[[], object]]:
    """What sets an object's attributes to their present values, in place.

    Containers and random number generators among the values are put back, too.

    Args:
        one: the object.
        most: how long a container may be to be looked at; any length by default.
    """
    yield _content(vars(one), dict)
    for value in vars(one).values():
        kind = next((kind for kind in _REFILL if isinstance(value, kind)), None)
        if kind is not None and (most is None or len(value) <= most):
            yield _content(value, kind)
        elif set_state := _generator(value):
            yield set_state


def _content(one: Any, kind: type[Any]) -> Callable[[], object]:
    before = kind(one)

    def refill() -> None:
        one.clear()
        getattr(one, _REFILL[kind])(before)

    return refill


def _parts_of(data: Any) -> Iterator[Any]:
    """Parts of data that have attributes; those of what was limited once for all, too."""
    for one in parts_of(data):
        if hasattr(one, "__dict__"):
            yield one
        if isinstance(one, Overfitted):
            yield from _parts_of(one.data)


def _generator(one: Any) -> Callable[[], object] | None:
    """What sets a random number generator to its present state; ``None`` for anything else."""
    if isinstance(one, torch.Generator):
        torch_state = one.get_state()
        return lambda: one.set_state(torch_state)
    if isinstance(one, random.Random):
        python_state = one.getstate()
        return lambda: one.setstate(python_state)
    if isinstance(one, np.random.RandomState):
        legacy_state = one.get_state()
        return lambda: one.set_state(legacy_state)
    if isinstance(one, np.random.Generator):
        numpy_state = one.bit_generator.state
        return lambda: setattr(one.bit_generator, "state", numpy_state)
    return None
