"""Checkpoints: when to save a run, what of it, and how to go on from there."""

from __future__ import annotations

import math
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from ..engine import random
from ..engine.engine import Engine
from ..engine.errors import StateError, nearest
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.scalars import scalars_of
from ..engine.checkpoints.store import CheckpointStore, Manifest
from ..engine.whole import whole

__all__ = ["Checkpoint"]


class Checkpoint(Handler):
    """Saves a run at safe points, and resumes it.

    What is saved: the weights, whatever else is given, the engine with all of its handlers, and
    the random number generators. An event only marks a save as due; it happens at the next
    SAFE_POINT, when every handler of the iteration and the epoch is done. A checkpoint is a
    directory that appears whole or not at all, and older ones are taken away only then.

    Args:
        directory: where the checkpoints go.
        model: whose weights are saved.
        others: what else is saved, by name: optimizer, scaler, …; each has ``state_dict()`` and
            ``load_state_dict()``. Schedules and other class handlers are saved with the engine.
        when: when a save is due.
        last: how many of the latest checkpoints to keep.
        best: how many of the best to keep besides, by ``metric``.
        metric: the entry of ``engine.state.metrics`` to compare by.
        mode: whether ``"max"`` or ``"min"`` of it is better.
        signals: signals of the operating system on which to save and stop, besides Ctrl-C.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Engine
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> def made() -> tuple[Engine, Checkpoint]:
        ...     trainer = Engine(lambda engine, batch: optimizer.step(), name="train")
        ...     return trainer, trainer.attach(Checkpoint(folder, model, {"optimizer": optimizer}))
        >>> folder = tempfile.mkdtemp()
        >>> trainer, checkpoint = made()
        >>> state = trainer.run([1, 2], max_epochs=3)
        >>> trainer, checkpoint = made()
        >>> checkpoint.resume(trainer).name
        '00000006'
        >>> trainer.run([1, 2], max_epochs=5).iteration
        10
    """

    priority = Priority.VERY_LOW
    for_one_engine = True

    def __init__(
        self,
        directory: str | Path,
        model: torch.nn.Module,
        others: Mapping[str, Any] | None = None,
        when: Event | EventList = Events.EPOCH_COMPLETED,
        *,
        last: int = 1,
        best: int = 0,
        metric: str | None = None,
        mode: Literal["max", "min"] = "max",
        signals: tuple[int, ...] = (signal.SIGTERM,),
    ) -> None:
        last, best = whole("last", last), whole("best", best, least=0)
        if (best > 0) != (metric is not None):
            raise ValueError(f"best={best} with metric={metric!r}: give both, or neither.")
        if mode not in ("max", "min"):
            raise ValueError(f"mode is 'max' or 'min', given {mode!r}.")
        for key, other in (others or {}).items():
            if not hasattr(other, "state_dict") or not hasattr(other, "load_state_dict"):
                raise TypeError(f"{key!r} is a {type(other).__name__}, which has no state_dict().")
        self.store = CheckpointStore(directory)
        self.model = model
        self.others = dict(others or {})
        self.when = when
        self.last = last
        self.best = best
        self.metric = metric
        self.sign = 1.0 if mode == "max" else -1.0
        self.signals = signals
        self.run = uuid.uuid4().hex
        self._due = False
        self._score: float | None = None  # of the save that is due

    def on_register(self, engine: Engine) -> None:
        """Mark a save as due when asked for; have signals stop the run at a safe point."""
        engine.add_event_handler(self.when, self._mark, priority=self.priority)
        engine.stop_on(*self.signals)

    def safe_point(self, engine: Engine) -> None:
        """Save if that is due, or if a signal is about to stop the run."""
        if self._due or engine.state.reason == "signalled":
            self.save(engine)

    def save(self, engine: Engine) -> Path:
        """Save now. Call it where nothing is under way: before a run, after it, at SAFE_POINT.

        Returns:
            the checkpoint's directory.

        Raises:
            RuntimeError: while averaged weights stand in the model; nothing is written then.
        """
        state = {
            "engine": engine.state_dict(),
            "others": {key: other.state_dict() for key, other in self.others.items()},
            "random": random.capture(),
        }
        manifest = Manifest(
            run=self.run,
            iteration=engine.state.iteration,
            epoch=engine.state.epoch,
            metrics=scalars_of(engine.state.metrics),
            score=self._score,
        )
        path = self.store.save(self.model, state, manifest)
        self._due, self._score = False, None
        self.store.prune(self.run, last=self.last, best=self.best)
        return path

    def resume(
        self, engine: Engine, which: Literal["last", "best"] | str | Path = "last"
    ) -> Path | None:
        """Go on from a checkpoint: the next ``run()`` continues where it was taken.

        Call it when everything is attached. Checkpoints that are not whole are passed over.

        Args:
            engine: the engine that this is attached to.
            which: the one that was saved last, the best of the same run, or the path or name of
                one.

        Returns:
            the checkpoint's directory; ``None`` if there is none, and then nothing was changed.

        Raises:
            StateError: if the checkpoint does not fit what is there.
        """
        path = self._find(which, runs=None)
        if path is None:
            return None
        manifest, state = self.store.manifest(path), self.store.load_state(path)
        given, saved = sorted(self.others), sorted(state["others"])
        if given != saved:
            raise StateError(f"{path} holds {saved} besides model and engine, not {given}.")
        self.store.load_weights(path, self.model)
        engine.load_state_dict(state["engine"])
        for key, other in self.others.items():
            other.load_state_dict(state["others"][key])
        engine.state.metrics.update(manifest.metrics)
        engine.source.preserving = random.preserved
        random.restore(state["random"])
        self.run = manifest.run
        return path

    def load_weights(self, which: Literal["last", "best"] | str | Path = "best") -> Manifest:
        """Load the weights of a checkpoint of this run into the model, and nothing else.

        Returns:
            what the checkpoint says of itself.

        Raises:
            StateError: if there is no such checkpoint.
        """
        path = self._find(which, runs=self.run)
        if path is None:
            raise StateError(f"this run has no {which} checkpoint in {self.store.directory}.")
        self.store.load_weights(path, self.model)
        return self.store.manifest(path)

    def _find(self, which: str | Path, runs: str | None) -> Path | None:
        """The last checkpoint, the best one of its run, or the one of a name."""
        if which not in ("last", "best"):
            return Path(which) if Path(which).exists() else self.store.directory / which
        found = [pair for pair in self.store if runs in (None, pair[1].run)]
        if not found or which == "last":
            return found[-1][0] if found else None
        run = found[-1][1].run
        scored = [(m.score, path) for path, m in found if m.run == run and m.score is not None]
        return max(scored, key=lambda pair: pair[0])[1] if scored else None

    def _mark(self, engine: Engine) -> None:
        self._due = True
        if self.metric is None:
            return
        metrics = scalars_of(engine.state.metrics)
        if not metrics:  # before the first evaluation
            return
        if self.metric not in metrics:
            raise KeyError(
                f"the best checkpoint goes by metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics))}.{nearest(self.metric, metrics)}"
            )
        score = self.sign * metrics[self.metric]
        self._score = None if math.isnan(score) else score
