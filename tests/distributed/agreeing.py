"""What processes agree on while they train, called in each of them."""

from __future__ import annotations

import signal
import time
from typing import Any

from footplate import Engine, Events, Signalled
from footplate.engine.errors import HandlerError
from footplate.engine.placement.agreement import Agreement, agreed, agreement_of, anywhere
from footplate.engine.placement.ranks import rank
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.limits import MaxTime
from footplate.handlers.non_finite import NonFiniteError, StopOnNonFinite
from footplate.handlers.scalars import Scalars


def wanted_by_one(batches: int, by: int) -> dict[str, Any]:
    """One process wants to end, from an iteration on; where does each end?"""
    trainer = Engine(lambda engine, batch: None, name="train")

    @trainer.on(Events.SAFE_POINT)
    def ask(engine: Engine) -> None:
        if agreed(engine, "tired", rank() == by and engine.state.iteration >= 5):
            engine.terminate()

    state = trainer.run(range(batches), max_epochs=3)
    return {"iteration": state.iteration, "reason": str(state.reason)}


def withdrawn() -> list[int]:
    """What is no longer wanted when processes talk is not granted."""
    trainer, granted = Engine(lambda engine, batch: time.sleep(0.01), name="train"), []
    agreement_of(trainer)

    @trainer.on(Events.SAFE_POINT)
    def ask(engine: Engine) -> None:  # they talk behind 1, 3, 7, 15
        iteration = engine.state.iteration
        wanted = rank() == 1 and iteration in (4, 5, 10, 14)
        if agreed(engine, "once", wanted):
            granted.append(iteration)

    trainer.run(range(20))
    return granted


def several_topics() -> list[Any]:
    """Two askers on two processes are served by one exchange."""
    trainer, granted = Engine(lambda engine, batch: None, name="train"), []
    agreement = agreement_of(trainer)

    @trainer.on(Events.SAFE_POINT)
    def ask(engine: Engine) -> None:
        for number, topic in enumerate(("first", "second")):
            if agreed(engine, topic, rank() == number and engine.state.iteration == 2):
                granted.append([topic, engine.state.iteration])

    trainer.run(range(3))
    return [granted, agreement.meetings]


def signalled_in_the_last_iteration() -> dict[str, Any]:
    """A signal that one process gets in the last iteration of all stops both."""
    trainer, saved = Engine(lambda engine, batch: None, name="train"), []
    agreement_of(trainer)
    trainer.stop_on(signal.SIGTERM)

    @trainer.on(Events.ITERATION_COMPLETED(once=50))
    def send() -> None:
        if rank() == 1:
            signal.raise_signal(signal.SIGTERM)

    @trainer.on(Events.SAFE_POINT)
    def save(engine: Engine) -> None:
        if engine.state.reason == "signalled":
            saved.append(engine.state.iteration)

    try:
        trainer.run(range(50))
    except Signalled as stop:
        return {"signum": stop.signum, "saved": saved, "iteration": trainer.state.iteration}
    return {}


def of_two_minds() -> str:
    """One process has fewer batches than the other, and nobody compared their lengths."""
    trainer = Engine(lambda engine, batch: time.sleep(0.005), name="train")
    agreement_of(trainer)
    try:
        trainer.run(range(20 if rank() else 9), max_epochs=2)
    except RuntimeError as error:
        return str(error)
    return ""


def time_is_up_on_one() -> list[int]:
    """The time of one process is up before the run, which goes on from a state."""
    trainer = Engine(lambda engine, batch: time.sleep(0.01), name="train")
    limit = trainer.attach(MaxTime(0.2 if rank() else 1000))
    first = trainer.run(range(1000)).iteration
    again = Engine(lambda engine, batch: None, name="train")
    limit = again.attach(MaxTime(0.2 if rank() else 1000))
    again.load_state_dict(trainer.state_dict())
    return [first, again.run(range(1000), max_epochs=3).iteration, limit.left == 0]


def early() -> list[int]:
    """Early stopping by a loss whose share differs by process, but whose mean does not."""
    losses = iter([4.0, 3.0, 2.0, 2.5, 2.5, 2.5, 2.5])
    trainer = Engine(lambda engine, batch: {"loss": next(losses) + rank()}, name="train")
    trainer.attach(Scalars())
    trainer.attach(EarlyStopping("loss_epoch", patience=2, mode="min"))
    return [trainer.run([0], max_epochs=7).epoch]


def not_finite_on_one() -> str:
    """The loss of one process is NaN; both end, by an error of the same kind."""
    values = [1.0, float("nan") if rank() else 1.0, 1.0, 1.0]
    trainer = Engine(lambda engine, batch: {"loss": values[batch]}, name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    trainer.attach(StopOnNonFinite())
    try:
        trainer.run(range(4))
    except NonFiniteError as error:
        return str(error)
    return ""


def refused() -> str:
    """An engine that evaluates agrees on nothing."""
    try:
        Engine(lambda engine, batch: None, name="val").attach(MaxTime(5))
    except HandlerError as error:
        return str(error)
    return ""


def any_of_them() -> list[bool]:
    """Whether one wants, all, and none."""
    return [anywhere(rank() == 1), anywhere(True), anywhere(False)]


def meetings_in(iterations: int) -> int:
    """How often processes talk in so many iterations that do nothing."""
    trainer = Engine(lambda engine, batch: None, name="train")
    agreement_of(trainer)
    trainer.run(range(iterations))
    return trainer.handlers["agreement"].meetings  # type: ignore[attr-defined,no-any-return]


def meetings_of(seconds: float, iterations: int) -> list[int]:
    """At which iterations processes talk whose seconds an iteration differ."""
    met: list[int] = []

    class Noted(Agreement):
        def _meet(self, engine: Engine) -> None:
            met.append(engine.state.iteration)
            super()._meet(engine)

    trainer = Engine(lambda engine, batch: time.sleep(seconds * (1 + rank())), name="train")
    trainer.attach(Noted(seconds=0.1))
    trainer.run(range(iterations))
    return met
