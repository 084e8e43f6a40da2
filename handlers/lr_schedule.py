"""Schedules: learning rates and other values of optimizers, moved by epoch, iteration or step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..engine.data.charts import chart
from ..engine.engine import Engine
from ..engine.errors import EventError, StateError, nearest
from ..engine.events import Event, EventList, Events, as_events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.state import Next, Status
from ..engine.step.events import StepEvents
from ..engine.step.optimization import Optimization
from ..engine.step.schedule_plan import Curve, planned
from ..engine.step.schedulers import Beginning, Bound, begin, by_name, check, check_metric, move

if TYPE_CHECKING:
    from ignite.handlers.param_scheduler import ParamGroupScheduler, ParamScheduler

    Scheduler: TypeAlias = LRScheduler | ParamScheduler | ParamGroupScheduler
    Schedulers: TypeAlias = Scheduler | Sequence[Scheduler]

__all__ = ["LRSchedule"]

_EVENTS = {
    "epoch": Events.EPOCH_COMPLETED,
    "iteration": Events.ITERATION_COMPLETED,
    "step": StepEvents.OPTIMIZER_STEPPED,
}


class LRSchedule(Handler):
    """Moves schedulers of torch or pytorch-ignite, by epochs, iterations or optimizer steps.

    A step that was left out, by an overflow in fp16 or a veto, moves nothing: a scheduler stays
    where it is behind an epoch or iteration in which steps of its optimizer were left out and
    none was made. It runs behind what logs on the same event, which so sees the value that was
    used. An epoch or iteration that is done again after an error moves it once.

    Schedulers of torch begin when they are made. Those of pytorch-ignite set their first value
    when a run begins, anew in each new run; unit for unit they give the values that they give
    there on ITERATION_STARTED or EPOCH_STARTED. The values themselves are saved with the
    optimizer, and where the schedulers stand with this handler.

    Args:
        scheduler: a scheduler bound to its optimizer: one of ``torch.optim.lr_scheduler``, or a
            parameter scheduler of ``ignite.handlers``. Or several in a list, moved in its order;
            or a dict of these, by names that tell optimizers apart in plans and in the state.
        unit: what one move is: ``"epoch"``, ``"iteration"``, or ``"step"``, a step that the
            scheduler's own optimizer has made.
        metric: the entry of ``engine.state.metrics`` that ``ReduceLROnPlateau`` looks at.
        when: the event on which it does, in place of the unit's; for a metric that is not
            measured each time.

    Attributes:
        schedulers: lists of schedulers by name; by an empty one if they have none.
        begun: whether pytorch-ignite's first values were set.

    Raises:
        ValueError: for an unknown unit, a metric where no scheduler takes one, no scheduler at
            all, or one that is given twice or sets a value that its optimizer does not have.
        TypeError: for what is no scheduler.
        EventError: when attached, for unit ``"step"`` where no steps are announced.
        KeyError: when it looks and the metric is not there.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> trainer = Engine(lambda engine, batch: optimizer.step())
        >>> halving = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        >>> schedule = trainer.attach(LRSchedule(halving))
        >>> schedule.planned(4)
        {'lr': [1.0, 0.5, 0.25, 0.125]}
        >>> state = trainer.run([0, 1], max_epochs=3)
        >>> optimizer.param_groups[0]["lr"]
        0.125
    """

    priority = Priority.LOW
    for_one_engine = True
    replicated = True

    def __init__(
        self,
        scheduler: Schedulers | Mapping[str, Schedulers],
        unit: Literal["epoch", "iteration", "step"] = "epoch",
        *,
        metric: str | None = None,
        when: Event | EventList | None = None,
    ) -> None:
        if unit not in _EVENTS:
            raise ValueError(
                f"unit is 'epoch', 'iteration' or 'step', given {unit!r}."
                f"{nearest(str(unit), _EVENTS)}"
            )
        self.schedulers = by_name(scheduler)
        everyone = [one for several in self.schedulers.values() for one in several]
        check(everyone)
        check_metric(everyone, unit, metric, when)
        self.unit = unit
        self.metric = metric
        self.event = _EVENTS[unit] if when is None else as_events(when)
        self.begun = False
        self._bound = [Bound(one) for one in everyone]
        self._beginning = Beginning(everyone)

    # ------------------------------------------------------------------ within an engine

    def on_register(self, engine: Engine) -> None:
        """Move on the unit's event."""
        if self.unit != "step":
            engine.add_event_handler(self.event, self._unit_done, priority=self.priority)
        elif engine.has_registered_events(self.event):
            engine.add_event_handler(self.event, self._step_made, priority=self.priority)
        else:
            raise EventError(
                f"unit 'step' needs {self.event}, which {engine!r} does not fire: its step is a "
                f"plain function. Attach an Optimization before the schedule, make the engine of "
                f"a TrainingStep, or choose unit 'iteration' or 'epoch'."
            )
        if engine.state.status == Status.RUNNING:
            self.opened(engine)

    def opened(self, engine: Engine) -> None:
        """Listen to the optimizers' steps; set first values, anew if a new run begins."""
        if self.unit == "step":
            self._check_driven(engine)
        announced = engine.has_registered_events(StepEvents.OPTIMIZER_STEPPED)
        listening = engine.has_event_handler(self._note_made, StepEvents.OPTIMIZER_STEPPED)
        if announced and not listening and self.unit != "step":
            engine.add_event_handler(StepEvents.OPTIMIZER_STEPPED, self._note_made)
            engine.add_event_handler(StepEvents.OPTIMIZER_STEP_SKIPPED, self._note_left_out)
        if engine.progress.next is Next.STARTED and engine.state.iteration == 0:
            if self.begun:
                self._beginning.restore()
            self.begun = False
            for one in self._bound:
                one.stepped = one.left_out = one.moved = 0
        if not self.begun:
            begin([one.scheduler for one in self._bound], engine)
            self.begun = True

    def _check_driven(self, engine: Engine) -> None:
        """Refuse a scheduler that would never move: nothing announces its optimizer's steps."""
        driven = [one for one in engine.handlers.values() if isinstance(one, Optimization)]
        for one in self._bound if driven else ():  # else a step of one's own fires the events
            if all(one.optimizer is not other.optimizer for other in driven):
                names = ", ".join(repr(other.name) for other in driven)
                raise ValueError(
                    f"{type(one.scheduler).__name__} is bound to an optimizer that no Optimization "
                    f"of {engine!r} drives ({names}), so it would never move by unit 'step'."
                )

    def _unit_done(self, engine: Engine) -> None:
        now = getattr(engine.state, self.unit)
        for one in self._bound:
            again = one.moved == engine.state.iteration  # what failed behind it is done again
            if not again and (one.left_out != now or one.stepped == now):
                self._move(one.scheduler, engine)
                one.moved = engine.state.iteration

    def _step_made(self, engine: Engine, optimization: Any) -> None:
        for one in self._bound_to(optimization.optimizer):
            self._move(one.scheduler, engine)

    def _note_made(self, engine: Engine, optimization: Any) -> None:
        for one in self._bound_to(optimization.optimizer):
            one.stepped = getattr(engine.state, self.unit)

    def _note_left_out(self, engine: Engine, optimization: Any) -> None:
        for one in self._bound_to(optimization.optimizer):
            one.left_out = getattr(engine.state, self.unit)

    def _bound_to(self, optimizer: object) -> list[Bound]:
        return [one for one in self._bound if one.optimizer is optimizer]

    def _move(self, scheduler: Any, engine: Engine) -> None:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(self._measured(engine))
        else:
            move(scheduler, engine)

    def _measured(self, engine: Engine) -> Any:
        metrics = engine.state.metrics
        if self.metric not in metrics:
            raise KeyError(
                f"the schedule needs metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics)) or 'none'}.{nearest(str(self.metric), metrics)}"
            )
        return metrics[self.metric]

    # ------------------------------------------------------------------ what is to come

    def planned(self, steps: int) -> dict[str, list[float]]:
        """The values of the optimizers in the next moves, found without training.

        Copies of the schedulers are moved, so schedulers, optimizers and random number generators
        stay as they are.

        Args:
            steps: how many values, in the schedule's unit; the first is the one in force.

        Returns:
            for each value that is scheduled or changes, its numbers. The key is the value's name,
            ``"lr"`` say. Where there are several optimizers, theirs stands before it, or a
            number; where there are several parameter groups, a number behind it:
            ``"generator/lr/0"``.

        Raises:
            ValueError: for ``ReduceLROnPlateau``, and for less than one step.
        """
        return {curve.key: curve.values for curve in self._curves(steps)}

    def plot(self, path: str | Path, steps: int) -> None:
        """Draw the next moves, one panel for each scheduled value; see :meth:`planned`.

        Args:
            path: where the PNG goes; its folder is made if need be.
            steps: how many values, in the schedule's unit.

        Raises:
            ValueError: for ``ReduceLROnPlateau``, and for less than one step.
        """
        curves = self._curves(steps)
        names = list(dict.fromkeys(curve.name for curve in curves))
        with chart(path, len(names)) as axes:
            for axis, name in zip(axes, names, strict=True):
                shown = [curve for curve in curves if curve.name == name]
                for curve in shown:
                    label = curve.key if len(shown) > 1 else None
                    axis.plot(range(1, steps + 1), curve.values, label=label)
                axis.set_title(name, loc="left", fontsize=10)
            axes[-1].set_xlabel("optimizer step" if self.unit == "step" else self.unit)

    def _curves(self, steps: int) -> list[Curve]:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps is a whole number from 1 on, given {steps!r}.")
        everyone = [one.scheduler for one in self._bound]
        if any(isinstance(one, ReduceLROnPlateau) for one in everyone):
            raise ValueError(
                "ReduceLROnPlateau can't be planned: it depends on a metric. Give it a schedule "
                "of its own, beside the one to be planned."
            )
        return planned(self.schedulers, steps, begun=self.begun)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Where each scheduler stands, and when its optimizer's steps were made and left out."""
        bound = iter(self._bound)
        return {
            "schedulers": {
                name: [next(bound).state_dict() for _ in several]
                for name, several in self.schedulers.items()
            },
            "begun": self.begun,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set where each scheduler stands.

        Raises:
            StateError: if the state is that of other schedulers.
        """
        saved = {name: len(several) for name, several in state["schedulers"].items()}
        here = {name: len(several) for name, several in self.schedulers.items()}
        if saved != here:
            raise StateError(
                f"the state has schedulers by name and number {saved}, and this schedule {here}; "
                f"make it of the same ones."
            )
        states = [one for name in self.schedulers for one in state["schedulers"][name]]
        for one, its_own in zip(self._bound, states, strict=True):
            one.check(its_own)
        for one, its_own in zip(self._bound, states, strict=True):
            one.load_state_dict(its_own)
        self.begun = state["begun"]
