"""Handlers of pytorch-ignite that save, average, stop and keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite import handlers as H
from ignite.engine import Events
from ignite.handlers.checkpoint import BaseSaveHandler, CheckpointEvents
from ignite.handlers.ema_handler import EMAWarmUp

from tests.handlers.ignite.training import BATCHES, Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


def _states(folder: Path) -> dict[str, Any]:
    """What the files hold, less what only our engine writes."""
    found = {one.name: torch.load(one, weights_only=True) for one in sorted(folder.iterdir())}
    for state in found.values():
        state["trainer"].pop("footplate", None)
    return {name: {k: dict(v) for k, v in state.items()} for name, state in found.items()}


@trying(PROBES, "Checkpoint", "DiskSaver", "checkpoint.CheckpointEvents")
def checkpoint(world: World, folder: Path) -> Any:
    """The two best of four epochs, with the events of saving."""
    one, saved = Training(world), []
    what = {"model": one.model, "optimizer": one.optimizer, "trainer": one.trainer}
    handler = H.Checkpoint(
        what,
        H.DiskSaver(folder / "saved", create_dir=True),
        n_saved=2,
        score_name="loss",
        score_function=lambda engine: -engine.state.output,
        global_step_transform=H.global_step_from_engine(one.trainer),
    )
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    one.trainer.run(BATCHES, max_epochs=1)
    count = lambda engine: saved.append(engine.state.epoch)  # noqa: E731
    one.trainer.add_event_handler(CheckpointEvents.SAVED_CHECKPOINT, count)
    one.trainer.run(BATCHES, max_epochs=4)
    return _states(folder / "saved"), saved, handler.last_checkpoint.name


@trying(PROBES, "ModelCheckpoint")
def model_checkpoint(world: World, folder: Path) -> Any:
    """The last two of four saves, and a resumed run from the last."""
    one = Training(world)
    what = {"model": one.model, "optimizer": one.optimizer, "trainer": one.trainer}
    handler = H.ModelCheckpoint(folder / "saved", "run", n_saved=2, create_dir=True)
    one.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), handler, what)
    one.trainer.run(BATCHES, max_epochs=4)
    other = Training(world)
    what = {"model": other.model, "optimizer": other.optimizer, "trainer": other.trainer}
    saved = torch.load(folder / "saved" / "run_checkpoint_9.pt", weights_only=True)
    H.Checkpoint.load_objects(what, saved)
    # a save within ITERATION_COMPLETED tells of an epoch whose end is still to come
    state = other.trainer.run(BATCHES, max_epochs=4)
    same = [torch.equal(a, b) for a, b in zip(*_weights(one, other), strict=True)]
    return _states(folder / "saved"), (state.epoch, state.iteration, all(same))


def _weights(*trainings: Training) -> list[list[torch.Tensor]]:
    return [list(one.model.state_dict().values()) for one in trainings]


@trying(PROBES, "checkpoint.BaseSaveHandler")
def own_save_handler(world: World, folder: Path) -> Any:
    """A place of one's own to save to."""

    class Kept(BaseSaveHandler):
        def __init__(self) -> None:
            self.files: dict[str, Any] = {}

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            self.files[filename] = sorted(checkpoint)

        def remove(self, filename: str) -> None:
            del self.files[filename]

    one, kept = Training(world), Kept()
    handler = H.Checkpoint({"model": one.model, "optimizer": one.optimizer}, kept, n_saved=1)
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    one.trainer.run(BATCHES, max_epochs=3)
    return kept.files


@trying(PROBES, "EarlyStopping")
def early_stopping(world: World, folder: Path) -> Any:
    """Three evaluations without improvement end the run; the counts are saved."""
    one = Training(world)
    scores = iter([1, 3, 2, 2, 4, 1, 1, 1, 1])
    handler = H.EarlyStopping(3, lambda engine: next(scores), world.given(one.trainer))
    one.evaluator.add_event_handler(Events.COMPLETED, handler)
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: one.evaluator.run(BATCHES))
    state = one.trainer.run(BATCHES, max_epochs=20)
    return state.epoch, dict(handler.state_dict())


@trying(PROBES, "EMAHandler", "ema_handler.EMAWarmUp")
def averaged(world: World, folder: Path) -> Any:
    """Averaged weights, with a momentum that warms up."""
    one = Training(world)
    handler = H.EMAHandler(one.model, momentum=0.3, momentum_warmup=0.1, warmup_iters=4)
    handler.attach(one.trainer)
    momenta = []
    note = lambda engine: momenta.append(engine.state.ema_momentum)  # noqa: E731
    one.trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    one.trainer.run(BATCHES, max_epochs=3)
    return momenta, dict(handler.ema_model.state_dict()), EMAWarmUp(0.1, 4, 0.3)(2)


@trying(PROBES, "EpochOutputStore")
def stored(world: World, folder: Path) -> Any:
    """The outputs of an epoch."""
    one, seen = Training(world), []
    H.EpochOutputStore().attach(one.trainer, "losses")
    keep = lambda engine: seen.append(list(engine.state.losses))  # noqa: E731
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, keep)
    one.trainer.run(BATCHES, max_epochs=2)
    return seen


@trying(PROBES, "TerminateOnNan")
def not_a_number(world: World, folder: Path) -> Any:
    """A run whose output is no number ends there."""
    engine = world.engine(lambda engine, batch: batch)
    handler = H.TerminateOnNan()
    handler.logger.handlers.clear()  # which print
    engine.add_event_handler(Events.ITERATION_COMPLETED, handler)
    state = engine.run([1.0, torch.ones(2), {"a": [float("nan")]}, 2.0], max_epochs=3)
    return state.epoch, state.iteration


@trying(PROBES, "TimeLimit")
def time_limit(world: World, folder: Path) -> Any:
    """A run whose time is over ends."""
    engine, handler = world.engine(lambda engine, batch: batch), H.TimeLimit(60)
    engine.add_event_handler(Events.ITERATION_COMPLETED, handler)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(once=4), lambda: setattr(handler, "start_time", 0.0)
    )
    state = engine.run(BATCHES, max_epochs=3)
    return state.epoch, state.iteration
