"""Engines: what trains, validates, tests and predicts, and the loops that run them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ...engine.bus import Bus
from ...engine.engine import Engine
from ...engine.events import Event, EventList, Events
from ...engine.limited import limited
from ...engine.placement.ranks import world_size
from ...engine.step.averages import Averaging
from ...engine.step.contracts import StepMethods
from ...engine.step.evaluation import EvaluationStep, evaluation_step, prediction_step
from ...engine.step.guests import GUESTS
from ...engine.step.training import training_step
from ...handlers.evaluation import Evaluation
from ...handlers.limits import MaxSteps, MaxTime
from ...handlers.metrics import Metrics
from ...handlers.reload_data import ReloadData
from ...handlers.sanity_check import SanityCheck
from ...handlers.stop_together import StopTogether
from .evaluators import metrics_of
from .folders import handler_state
from .loaders import by_name
from .loops import (
    BaseLoop,
    EpochBasedTrainLoop,
    EvaluationLoop,
    IterBasedTrainLoop,
    TestLoop,
    TrainLoop,
    ValLoop,
    loop_as_engine,
)
from .options import EvalCfg
from .places import Places
from .validation import validation_events

__all__ = ["Engines"]

_CHECK = "sanity_check"


class Engines(Places):
    """The engines of a runner, each made when it is first needed."""

    bus: Bus
    engines: list[Engine]
    _received: dict[str, int]  # how many handlers each engine has had to begin with
    _loaded: Path | None
    _told: BaseException | None

    @cached_property
    def trainer(self) -> Engine:
        """The engine that trains, with its evaluation, limits and hooks."""
        options = self.settings.train
        engine = options.engine or Engine(self._training_step(), bus=self.bus, name="train")
        self._validate_in(engine)
        if options.max_time is not None:
            engine.attach(MaxTime(options.max_time, minimum=self.minimum))
        if options.max_steps is not None:
            engine.attach(MaxSteps(options.max_steps))
        if options.reload_every is not None:
            engine.attach(ReloadData(self._reloaded, options.reload_every))
        joined = self._joined(engine, "train")
        if world_size() > 1:
            self._run_together(joined)
        return joined

    def _run_together(self, trainer: Engine) -> None:
        """Have the processes stop as one, and say what they would not train as one."""
        if not any(isinstance(one, StopTogether) for one in trainer.handlers.values()):
            trainer.attach(StopTogether())
        options = self.settings.train
        own = "step" if options.step is not None else "engine"
        if (options.step or options.engine) is not None:
            warnings.warn(
                f"train_cfg.{own} is one of your own, so that it has to exchange gradients with "
                f"the other {world_size() - 1} processes, else each trains a model of its own; "
                f"make its step by training_step(…, placement=…), or leave it out.",
                RuntimeWarning,
                stacklevel=2,
            )

    @cached_property
    def validator(self) -> Engine:
        """The engine that validates."""
        return self._evaluator("val", self.settings.val, self.val_metrics)

    @cached_property
    def tester(self) -> Engine:
        """The engine that tests."""
        return self._evaluator("test", self.settings.test, self.test_metrics)

    @cached_property
    def predictor(self) -> Engine:
        """The engine that predicts."""
        return self._evaluator("predict", self.settings.predict, {})

    def _training_step(self) -> Any:
        options = self.settings.train
        return options.step or training_step(
            self.model,
            self.optim_wrapper,
            options.loss,
            contract=options.contract or self.guest.contract(),
            turns=options.turns,
            weigh=options.weigh,
            placement=self.placement,
        )

    def _evaluator(self, name: str, options: EvalCfg, metrics: Mapping[str, Any]) -> Engine:
        engine = options.engine or Engine(
            options.step or self._evaluation_step(name, options), bus=self.bus, name=name
        )
        if metrics:
            engine.attach(Metrics(metrics))
        if options.averaged is not None:
            self.average(options.averaged).evaluate_with(engine)
        return self._joined(engine, name)

    def _evaluation_step(self, name: str, options: EvalCfg) -> EvaluationStep:
        told: dict[str, Any] = {
            "contract": options.contract or self._of_training() or self.guest.contract(),
            "precision": options.kind,
            "placement": self.placement,
        }
        if name == "predict":
            return prediction_step(self.model, **told)
        return evaluation_step(self.model, options.loss, **told)

    def _of_training(self) -> str | None:
        """The contract that training names, if it is of another system, and so for all calls."""
        named = self.settings.train.contract
        return named if any(named == guest.name for guest in GUESTS) else None

    def _joined(self, engine: Engine, role: str) -> Engine:
        """Take an engine among the runner's, with what of the hooks is meant for it."""
        if engine.name != role:
            raise ValueError(
                f"the engine that is given in the place of the runner's is named {engine.name!r}; "
                f"hooks go by the name: make it with Engine(…, name={role!r})."
            )
        self.engines.append(engine)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._note_error)
        for handler in self.guest.handlers(engine):
            engine.attach(handler)
        self._hooks.attach_to(engine)
        self._received[role] = _receivers(engine)
        return engine

    def _note_error(self, engine: Engine, exception: BaseException) -> None:
        """Know which error an engine has told the hooks of."""
        self._told = exception

    # ------------------------------------------------------------------ evaluation

    @cached_property
    def val_metrics(self) -> dict[str, Any]:
        """The metrics of validation by name."""
        return metrics_of(self.given["val_evaluator"], self.objects, "val_evaluator")

    @cached_property
    def test_metrics(self) -> dict[str, Any]:
        """The metrics of the test by name."""
        return metrics_of(self.given["test_evaluator"], self.objects, "test_evaluator")

    def average(self, name: str) -> Averaging:
        """The handler of this name, which averages weights; the run trains it, or has loaded it.

        Raises:
            ValueError: if there is none.
        """
        found = self._hooks.handler(name)
        if not isinstance(found, Averaging):
            raise ValueError(
                f"averaged={name!r} names no hook that averages weights; give one: "
                f"custom_hooks=[dict(type='EMA')], which is averaged='ema'."
            )
        return found

    def load_average(self, options: EvalCfg) -> None:
        """Give an average that is to be evaluated the state that it has in the checkpoint.

        Raises:
            StateError: if weights were loaded, but no average of them.
        """
        name = options.averaged
        if name is not None and self._loaded is not None and not self.average(name).updates:
            self.average(name).load_state_dict(handler_state(self._loaded, name))

    def check_measured(self, name: str, call: str) -> None:
        """Refuse an evaluation in which nobody would measure anything.

        Args:
            name: the evaluation's: ``"val"`` or ``"test"``.
            call: what was called.

        Raises:
            ValueError: saying which argument is missing.
        """
        given, has_data = self.given[f"{name}_evaluator"] is not None, self.has_loader(name)
        needs, data = self.called(f"{name}_evaluator"), self.called(f"{name}_dataloader")
        if given and not has_data:
            told = f"{call}() was given {needs}, but no {data} for it"
            raise ValueError(f"{told}; give both, or none.")
        if has_data and not given and self._measures_nothing(name):
            raise ValueError(
                f"{call}() has data in {data}, but nothing to measure there; give "
                f"Runner(…, {needs}=…)."
            )

    def _measures_nothing(self, name: str) -> bool:
        """Whether metrics can come from nowhere: no handler, no hook, no model that logs."""
        options: EvalCfg = getattr(self.settings, name)
        loop = self.val_loop if name == "val" else self.test_loop
        own = options.step or options.engine or not isinstance(loop, EvaluationLoop)
        if self.guest.measures:
            return False
        if own or self.given["custom_hooks"] or StepMethods.fits(self.model, options.loss):
            return False
        engine = self.validator if name == "val" else self.tester
        return _receivers(engine) == self._received[name]

    # ------------------------------------------------------------------ validation

    @property
    def validation_events(self) -> Event | EventList:
        """The events of the train engine on which it is validated."""
        return validation_events(self.settings.train)

    @property
    def validates(self) -> bool:
        """Whether there is something to validate training on."""
        return self.has_loader("val")

    def _validate_in(self, trainer: Engine) -> None:
        """Have training validated, where there are data for it."""
        options = self.settings.train
        if not self.validates:
            return
        if self._module is not None:
            self.train_dataloader  # noqa: B018 - so that the module is set up for both at once
        own = not isinstance(self.val_loop, EvaluationLoop)
        evaluator = (
            loop_as_engine(lambda: self.val_loop, self, "val")  # type: ignore[arg-type]
            if own
            else self.validator
        )
        if options.workflow is None:
            data = [None] if own else self.val_data
            prefix = "" if self.guest.names_metrics else "val"
            trainer.attach(Evaluation(evaluator, data, self.validation_events, prefix=prefix))
        if options.sanity_check and not own:
            for name, data in (by_name(self.val_data) or {"": self.val_data}).items():
                check = SanityCheck(evaluator, data, options.sanity_check, model=self.model)
                check.name = f"{_CHECK}_{name}".rstrip("_")
                trainer.attach(check)

    def renew_validation(self) -> None:
        """Have training validated on the data that a data module has made anew."""
        for handler in self.trainer.handlers.values():
            if isinstance(handler, Evaluation) and handler.evaluator is vars(self).get("validator"):
                handler.data = self.val_data
            if isinstance(handler, SanityCheck):
                data = by_name(self.val_data) or {"": self.val_data}
                name = str(handler.name).removeprefix(_CHECK).removeprefix("_")
                handler.data = data[name]
                handler.batches = limited(data[name], self.settings.train.sanity_check)

    # ------------------------------------------------------------------ loops

    def needs_trainer(self, loop: BaseLoop) -> bool:
        """Whether ``train()`` needs the train engine: a loop of the user's may do without it.

        It has it as soon as it asks for it; and what a run goes on with, the engine has to take.
        """
        own = not isinstance(loop, TrainLoop)
        return not own or "trainer" in vars(self) or self.to_resume is not None

    @cached_property
    def train_loop(self) -> BaseLoop:
        """What ``train()`` runs."""
        by_epoch = self.settings.train.by_epoch
        default = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
        return self.build_loop("train_cfg", default, self.train_dataloader)

    @cached_property
    def val_loop(self) -> BaseLoop:
        """What ``val()`` runs."""
        evaluator = self.given["val_evaluator"]
        return self.build_loop("val_cfg", ValLoop, self.val_dataloader, evaluator)

    @cached_property
    def test_loop(self) -> BaseLoop:
        """What ``test()`` runs."""
        evaluator = self.given["test_evaluator"]
        return self.build_loop("test_cfg", TestLoop, self.test_dataloader, evaluator)


def _receivers(engine: Engine) -> int:
    """How many handlers an engine has, of whatever event."""
    return sum(len(channel.subscriptions) for channel in engine.channels.values())
