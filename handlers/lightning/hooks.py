"""Hooks: those of a LightningModule and of callbacks, at the events that they are named after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ...engine.emitter import Handle
from ...engine.events import Event, Events
from ...engine.handler import Handler
from ...engine.outermost import outermost
from ...engine.priority import Priority
from ...engine.state import Next, Status
from ...engine.step.guests import descends_from
from ...engine.step.lightning.calling import PACKAGES, call_module, tell, within
from ...engine.step.lightning.overridden import overridden

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...engine.step.lightning.trainer import LightningTrainer

__all__ = ["LightningHooks"]

_EARLY = Priority.VERY_HIGH
_LATE = Priority.NORMAL
_CHECK = Priority.LOW  # where a sanity check stands among the handlers of STARTED
_OVER, _KNOWN = 42, 44  # behind validation, before and behind the values of the epoch, at 43
_MONITORING = ("EarlyStopping", "Checkpoint")
_WORDS = {"val": "validation"}

Arguments = Callable[[Any, "Engine"], tuple[Any, ...]]


def _nothing(trainer: Any, engine: Engine) -> tuple[Any, ...]:
    return ()


def _batch(trainer: Any, engine: Engine) -> tuple[Any, ...]:
    """The batch, its number, and that of its loader, where there are several."""
    which = trainer.dataloader_idx
    return engine.state.batch, trainer.batch_idx, *(() if which is None else (which,))


def _done(trainer: Any, engine: Engine) -> tuple[Any, ...]:
    """What the step has returned, and the batch."""
    return engine.state.output, *_batch(trainer, engine)


class _Point(NamedTuple):
    """A hook, the event that it is, its place there, and what it is called with."""

    hook: str
    event: Event
    priority: int
    arguments: Arguments = _nothing


def _points(role: str) -> Iterator[_Point]:
    """The hooks of an engine that are called as they are."""
    word = _WORDS.get(role, role)
    behind_check = Priority.LOWEST if role == "train" else _EARLY
    yield _Point(f"on_{word}_start", Events.STARTED, behind_check)
    yield _Point(f"on_{word}_epoch_start", Events.EPOCH_STARTED, _EARLY)
    yield _Point(f"on_{word}_end", Events.COMPLETED, _LATE)
    if role != "train":
        yield _Point(f"on_{word}_batch_start", Events.ITERATION_STARTED, _EARLY, _batch)
        yield _Point(f"on_{word}_batch_end", Events.ITERATION_COMPLETED, _EARLY, _done)
        yield _Point(f"on_{word}_epoch_end", Events.EPOCH_COMPLETED, _LATE)
        yield _Point(f"on_{word}_model_train", Events.CLOSED, _EARLY)


def _monitors(callback: Any) -> bool:
    """Whether it is of a kind that looks at what others log."""
    return any(descends_from(callback, name, *PACKAGES) for name in _MONITORING)


class LightningHooks(Handler):
    """Calls the hooks of a module and of callbacks, callbacks first, as Lightning's trainer does.

    A hook that nobody has overridden is not connected. Those within a step are its contract's to
    call: see :mod:`footplate.engine.step.lightning`.

    Args:
        trainer: what the hooks are given as their trainer; it has the module and the callbacks.
    """

    for_one_engine = True

    def __init__(self, trainer: LightningTrainer) -> None:
        self.trainer = trainer
        self._handles: list[Handle] = []

    def on_register(self, engine: Engine) -> None:
        """Connect what is overridden."""
        self.renew(engine)

    def on_unregister(self, engine: Engine) -> None:
        """Take it away."""
        while self._handles:
            self._handles.pop().remove()

    def renew(self, engine: Engine) -> None:
        """Connect anew, as there are other callbacks now."""
        self.on_unregister(engine)
        connections = [
            (one.hook, one.event, one.priority, self._told(one))
            for one in _points(engine.name or "")
        ]
        if engine.name == "train":
            connections += self._of_training()
        for hook, event, priority, call in connections:
            if self._heard(hook):
                self._connect(engine, event, priority, call)
        self._connect(engine, Events.EXCEPTION_RAISED, _EARLY, self._failed)
        if any(key.startswith("sanity_check") for key in engine.handlers):
            self._connect(engine, Events.STARTED, _CHECK - 1, self._check_begins)
            self._connect(engine, Events.STARTED, _CHECK + 1, self._check_is_over)

    def _of_training(self) -> list[tuple[str, Event, int, Callable[..., None]]]:
        """The hooks of training that are called with a thought."""
        return [
            ("on_fit_start", Events.OPENED, _EARLY, self._fit_begins),
            ("on_train_start", Events.OPENED, Priority.LOWEST, self._training_goes_on),
            ("on_train_batch_start", Events.ITERATION_STARTED, _EARLY, self._batch_begins),
            ("on_train_batch_end", Events.ITERATION_COMPLETED, _EARLY, self._batch_is_done),
            ("on_train_epoch_end", Events.EPOCH_COMPLETED, _OVER, self._epoch_is_over),
            ("on_train_epoch_end", Events.EPOCH_COMPLETED, _KNOWN, self._epoch_is_known),
            ("on_train_epoch_end", Events.TERMINATE, _OVER, self._part_is_over),
            ("on_train_epoch_end", Events.TERMINATE, _KNOWN, self._part_is_known),
            ("on_fit_end", Events.CLOSED, Priority.VERY_LOW, self._fit_is_over),
        ]

    def _heard(self, hook: str) -> bool:
        """Whether anybody has overridden it."""
        everyone = (self.trainer.lightning_module, *self.trainer.callbacks)
        return any(overridden(one, hook) for one in everyone)

    def _connect(
        self, engine: Engine, event: Event, priority: int, call: Callable[..., None]
    ) -> None:
        self._handles.append(engine.add_event_handler(event, call, priority=priority))

    def _told(self, point: _Point) -> Callable[..., None]:
        trainer, hook, arguments = self.trainer, point.hook, point.arguments

        def call(engine: Engine) -> None:
            tell(trainer, hook, *arguments(trainer, engine))

        return call

    # ------------------------------------------------------------------ training

    def _fit_begins(self, engine: Engine) -> None:
        """What a run goes on with is there already, and stays; in Lightning it is loaded later."""
        goes_on = engine.progress.next is not Next.STARTED
        optimizers = self.trainer.optimizers if goes_on else []
        groups = [(one, one.param_groups, list(one.param_groups)) for one in optimizers]
        tell(self.trainer, "on_fit_start")
        for one, held, kept in groups:
            held[:] = kept
            one.param_groups = held

    def _training_goes_on(self, engine: Engine) -> None:
        """A run that goes on does not start, but its training does."""
        if engine.progress.next is not Next.STARTED:
            tell(self.trainer, "on_train_start")

    def _batch_begins(self, engine: Engine) -> None:
        """A module that answers -1 leaves out the rest of the epoch, and this batch with it."""
        answer = tell(self.trainer, "on_train_batch_start", *_batch(self.trainer, engine)[:2])
        self.trainer.passes_over = answer == -1

    def _batch_is_done(self, engine: Engine) -> None:
        if not self.trainer.passes_over:
            outputs, batch, number, *_ = _done(self.trainer, engine)
            tell(self.trainer, "on_train_batch_end", self._shares(outputs), batch, number)

    def _shares(self, outputs: Any) -> Any:
        """What a step has returned, its loss as the share of it in a window, as in Lightning."""
        window = self.trainer.accumulate_grad_batches
        if window > 1 and isinstance(outputs, dict) and outputs.get("loss") is not None:
            return {**outputs, "loss": outputs["loss"] / window}
        return {} if outputs is None else outputs

    def _epoch_is_over(self, engine: Engine) -> None:
        """First those that may log, the module with them; then those that look at what they log."""
        self._tell_some("on_train_epoch_end", monitoring=False)
        call_module(self.trainer.lightning_module, "on_train_epoch_end")

    def _epoch_is_known(self, engine: Engine) -> None:
        self._tell_some("on_train_epoch_end", monitoring=True)

    def _part_is_over(self, engine: Engine) -> None:
        """An epoch that a limit of steps or of time has cut ends, too."""
        if self.trainer.within_epoch:
            self._epoch_is_over(engine)

    def _part_is_known(self, engine: Engine) -> None:
        if self.trainer.within_epoch:
            self._epoch_is_known(engine)

    def _tell_some(self, hook: str, *, monitoring: bool) -> None:
        module = self.trainer.lightning_module
        with within(module, hook):
            for one in self.trainer.callbacks:
                if _monitors(one) is monitoring:
                    getattr(one, hook)(self.trainer, module)

    def _fit_is_over(self, engine: Engine) -> None:
        if engine.state.status is Status.FINISHED:
            tell(self.trainer, "on_fit_end")

    # ------------------------------------------------------------------ around training

    def _check_begins(self, engine: Engine) -> None:
        if not engine.state.iteration:
            self.trainer.sanity_checking = True
            tell(self.trainer, "on_sanity_check_start")

    def _check_is_over(self, engine: Engine) -> None:
        if self.trainer.sanity_checking:
            tell(self.trainer, "on_sanity_check_end")
            self.trainer.sanity_checking = False

    def _failed(self, engine: Engine, exception: BaseException) -> None:
        """Tell the callbacks, and then the data; once, though engines may be nested."""
        if outermost(engine) is not engine:
            return
        trainer, data = self.trainer, self.trainer.datamodule
        for one in trainer.callbacks:
            one.on_exception(trainer, trainer.lightning_module, exception)
        if data is not None and overridden(data, "on_exception"):
            data.on_exception(exception)
        trainer.sanity_checking = False
