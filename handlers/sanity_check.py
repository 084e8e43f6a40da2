"""Sanity check: run an evaluation over a few batches before training, to find its errors early."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import nn

from ..engine.amount import Amount, Given
from ..engine.engine import Engine
from ..engine.errors import StateError
from ..engine.evaluating import empty_share
from ..engine.handler import Handler
from ..engine.limited import limited
from ..engine.priority import Priority
from ..engine.random import preserved
from ..engine.step.rehearsal import attributes_of, states_of

__all__ = ["SanityCheck"]


class SanityCheck(Handler):
    """Runs an evaluator over its first batches when a run starts anew, and leaves no trace.

    Whatever it raises reaches the caller of ``run()``, hours earlier than it would have. Put back
    are: the evaluator's state, counts and place in the data; its class handlers' attributes and
    states; the metrics of the engine that this is attached to; the attributes of loaders, samplers
    and data sets; the random number generators, those in the data included; and the model's mode,
    if it is given.

    Class handlers of the evaluator with a priority behind NORMAL, which report, stop and save,
    stand aside. What others write, and functions, stays; they may look at
    ``engine.state.stage``, which is ``"sanity_check"`` meanwhile.

    Args:
        evaluator: the engine to run.
        data: what it will run over.
        batches: how many batches to take, or which fraction of them.
        model: a model whose mode, to train or to evaluate, is put back in all of its modules. It
            is not needed if the training step sets the mode itself.

    Raises:
        TypeError: for data that can be iterated over only once, or not at all.
        ValueError: for no batches at all, or what is no amount.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> evaluator = Engine(lambda engine, batch: print(engine.state.stage, batch), name="val")
        >>> check = trainer.attach(SanityCheck(evaluator, range(10, 100)))
        >>> state = trainer.run([0])
        sanity_check 10
        sanity_check 11
        >>> evaluator.state.iteration, evaluator.state.stage
        (0, 'val')
    """

    priority = Priority.LOW

    def __init__(
        self,
        evaluator: Engine,
        data: Any,
        batches: Given | Amount = 2,
        *,
        model: nn.Module | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.data = data
        self.batches = limited(data, batches)
        self.model = model

    def on_register(self, engine: Engine) -> None:
        """Make sure that these are two engines."""
        if engine is self.evaluator:
            raise ValueError(f"{engine!r} can't check itself; attach this to the trainer.")

    def started(self, engine: Engine) -> None:
        """Evaluate the first batches, unless the run goes on from an end that it had reached."""
        if engine.state.iteration:
            return
        with ExitStack() as stack:
            for kept in (
                _metrics_kept(engine),
                _engine_kept(self.evaluator),
                _handlers_kept(self.evaluator),
                _reports_aside(self.evaluator),
                preserved(),
                _data_kept(self.data),
                _mode_kept(self.model),
            ):
                stack.enter_context(kept)
            self.evaluator.run(self.batches, epoch_length=empty_share(self.batches))


@contextmanager
def _metrics_kept(engine: Engine) -> Generator[None, None, None]:
    metrics = engine.state.metrics
    before = dict(metrics)
    try:
        yield
    finally:
        metrics.clear()
        metrics.update(before)


@contextmanager
def _engine_kept(engine: Engine) -> Generator[None, None, None]:
    """Lend the engine another state, with which it starts a new run."""
    before = engine.state, engine.progress, engine.source, engine.last_event_name
    state = copy.copy(engine.state)
    state.metrics, state.times = {}, dict(state.times)
    state.max_epochs = state.max_iters = None
    state.stage = "sanity_check"
    engine.state = state
    try:
        yield
    finally:
        engine.state, engine.progress, engine.source, engine.last_event_name = before


@contextmanager
def _handlers_kept(engine: Engine) -> Generator[None, None, None]:
    handlers = list(engine.handlers.values())
    undo = [one for handler in handlers for one in attributes_of(handler)]
    before = [
        (handler, copy.deepcopy(handler.state_dict()))
        for handler in handlers
        if hasattr(handler, "state_dict") and hasattr(handler, "load_state_dict")
    ]
    try:
        yield
    finally:
        for put_back in reversed(undo):
            put_back()
        for handler, state in before:
            with suppress(StateError):  # it can't be saved; what it gathers is back already
                handler.load_state_dict(state)


@contextmanager
def _reports_aside(engine: Engine) -> Generator[None, None, None]:
    """Take away what class handlers behind NORMAL have connected, and connect it again."""
    aside = [one for one in engine.handlers.values() if Priority.of(one.priority) > Priority.NORMAL]
    taken = [
        (channel, one)
        for channel in engine.channels.values()
        for one in channel.subscriptions
        if any(getattr(one.receiver, "__self__", None) is handler for handler in aside)
    ]
    for _, one in taken:
        one.remove()
    try:
        yield
    finally:
        for channel, one in taken:
            channel.add(one)  # at its old place: that is written on it


@contextmanager
def _data_kept(data: Any) -> Generator[None, None, None]:
    """Put back what a pass leaves behind in loaders, samplers and data sets."""
    undo = states_of(data)
    try:
        yield
    finally:
        while undo:
            undo.pop()()


@contextmanager
def _mode_kept(model: nn.Module | None) -> Generator[None, None, None]:
    before = [] if model is None else [(one, one.training) for one in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
