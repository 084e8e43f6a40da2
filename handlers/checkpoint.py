"""Checkpoints: when to save a run, what of it, and how to go on from there."""

from __future__ import annotations

import logging
import math
import time
import uuid
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from ..engine import random
from ..engine.beginning import is_spent
from ..engine.checkpoints.alone import Alone
from ..engine.checkpoints.background import BackgroundSave, HostCopy
from ..engine.checkpoints.contents import Contents
from ..engine.checkpoints.differing import warn_of_differences
from ..engine.checkpoints.finding import find
from ..engine.checkpoints.manifest import Manifest
from ..engine.checkpoints.ranking import Ranking
from ..engine.checkpoints.remote import store_at
from ..engine.checkpoints.share import Share
from ..engine.checkpoints.standing import ends, is_safe
from ..engine.checkpoints.store import Store
from ..engine.checkpoints.together import processes
from ..engine.checkpoints.when import When
from ..engine.engine import Engine
from ..engine.errors import StateError
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler, key_of
from ..engine.hyper_parameters import hyper_parameters
from ..engine.placement.agreement import agreed, agreement_of
from ..engine.placement.placement import Placement
from ..engine.placement.ranks import world_size
from ..engine.priority import Priority
from ..engine.state import Next, Reason
from ..engine.stream.scalars import scalars_of
from ..engine.whole import whole

__all__ = ["Checkpoint"]

_logger = logging.getLogger("footplate.checkpoint")
_PATIENCE = 10.0  # seconds

Which = Literal[True, "last", "best"] | str | Path
"""The one that was saved last, the best one, or the path or name of one."""


class Checkpoint(Handler):
    """Saves a run at safe points, and resumes it to the bit.

    What is saved: the weights, whatever else is given, the engine with all of its handlers and its
    place in the data, and the random number generators. An event only marks a save as due; it
    happens at the next SAFE_POINT, when every handler of the iteration and the epoch is done. A
    checkpoint is a directory that appears whole or not at all, and older ones are taken away only
    then.

    Args:
        where: the directory that the checkpoints go to, a URL of fsspec, or a store.
        model: whose weights are saved.
        others: what else is saved, by name: an optimizer that no handler has, another engine, …;
            each has ``state_dict()`` and ``load_state_dict()``. Schedules and other class handlers
            are saved with the engine.
        placement: how several processes train the model; one that has a state, as DeepSpeed's, is
            saved, too.
        when: when a save is due: events, or a :class:`~footplate.engine.checkpoints.when.When`.
        last: how many of the latest checkpoints to keep.
        best: how many of the best to keep besides, by ``metric``. One that is among these is saved
            where it is measured, whether a save is due or not; of equals, the earlier is better.
        metric: the entry of ``engine.state.metrics`` to compare by.
        mode: whether ``"max"`` or ``"min"`` of it is better; by default its name tells, as
            ``"val_loss"`` does, and if it does not, ``"max"``.
        background: whether training goes on while a checkpoint is written; it waits for a copy
            only. One save is under way at a time. Its errors are raised at the next safe point,
            or when the run ends.
        config: the run's hyper-parameters: a mapping, a dataclass instance, …; they stand in the
            manifest of each checkpoint.

    Attributes:
        store: where the checkpoints are.
        ranking: by what the best of them are told.
        contents: what is saved.
        run: the identity of the run; a run that is resumed keeps it.

    Raises:
        ValueError: for ``best`` without ``metric`` or the other way round, and for numbers out of
            range.
        TypeError: for others that have no state, and for hyper-parameters that are not plain.

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
        where: str | Path | Store,
        model: torch.nn.Module,
        others: Mapping[str, Any] | None = None,
        when: Event | EventList | When = Events.EPOCH_COMPLETED,
        *,
        placement: Placement | None = None,
        last: int = 1,
        best: int = 0,
        metric: str | None = None,
        mode: Literal["max", "min"] | None = None,
        background: bool = False,
        config: object = None,
    ) -> None:
        self.last = whole("last", last)
        self.ranking = Ranking(best, metric, mode)
        self.store = store_at(where) if isinstance(where, (str, Path)) else where
        self.contents = Contents(model, others, placement)
        self.when = when if isinstance(when, When) else When(when)
        self.background = background
        self._looks = background or best > 0 or self.when.minutes is not None  # at all safe points
        self.config = {} if config is None else hyper_parameters(config)
        self.run = uuid.uuid4().hex
        self._due = False
        self._score: float | None = None  # of the save that is due
        self._since = math.inf  # seconds, when the last save was
        self._failed = False  # whether a save did, so that none is tried for the error
        self._spoiled = False  # whether an error came amid an iteration, so that none is exact
        self._stood = -1  # the number of the checkpoint that this run goes on from
        self._written: set[Path] = set()
        self._host, self._writing = HostCopy(), BackgroundSave()
        self._processes = Alone()

    @property
    def model(self) -> torch.nn.Module:
        """Whose weights are saved."""
        return self.contents.model

    # ------------------------------------------------------------------ when

    def on_register(self, engine: Engine) -> None:
        """Mark a save as due when asked for; have signals stop the run at a safe point."""
        if self.when.events is not None:
            engine.add_event_handler(self.when.events, self._mark, priority=self.priority)
        engine.stop_on(*self.when.signals)
        if self.when.minutes is not None and world_size() > 1:
            agreement_of(engine)

    def opened(self, engine: Engine) -> None:
        """Refuse now what could not be saved later; begin to count the minutes."""
        together = self._joined()
        with together.as_one():
            self.contents.check(engine)
            self._score, self._failed = None, False
            if not together.rank and callable(prepare := getattr(self.store, "prepare", None)):
                prepare()
            together.forget_errors(self.store, self.run)
        self._since = time.monotonic()

    def started(self, engine: Engine) -> None:
        """Take a run that starts anew as a good one."""
        if engine.state.iteration == 0:
            self._spoiled = False

    def safe_point(self, engine: Engine) -> None:
        """Save if that is due, or if a signal is about to stop the run."""
        state = engine.state
        asked = self._due or self._looks or state.reason is not None or engine.should_terminate
        if asked or engine.progress.next is not Next.ITERATION or is_spent(state):
            self._decide(engine)

    def _decide(self, engine: Engine) -> None:
        self._writing.check()
        ranking = self.ranking
        alike = self._due or ranking.is_measured(engine)  # in all processes, as no score need be
        if ranking.metric is not None and alike:
            own = ranking.measured(engine) if self._score is None else self._score
            self._score = self._processes.agreed(lambda: own)
        among_best = self._score is not None and ranking.admits(self._score)
        if self._due or among_best or self._must_save(engine):
            self._save(engine)
        self._score = None

    def exception_raised(self, engine: Engine, exception: BaseException) -> None:
        """Leave a checkpoint for inspection."""
        self._spoiled = True
        self._writing.wait(self._patience)
        trained = engine.state.iteration > 0 and isinstance(exception, Exception)
        if not (self.when.on_error and trained) or self._failed:
            return
        if self._processes.is_to_tell(self.store, self.run):
            share = self._processes.share_of_error(self.contents, engine)
            error = f"{type(exception).__name__}: {exception}"
            manifest = replace(self._manifest(engine), exact=False, error=error)
            self._write(Alone(), share, manifest, self._processes.name_of_error(manifest))

    def closed(self, engine: Engine) -> None:
        """Wait for what is being written."""
        failed = engine.state.reason == Reason.ERROR
        self._writing.wait(self._patience if failed else None)
        self._writing.check()

    def compare_by(self, metric: str, mode: Literal["max", "min"], best: int = 1) -> None:
        """Keep the best by a metric whose name is known only now, and none was given before.

        All processes call it alike, before a run or at SAFE_POINT.

        Args:
            metric: the entry of ``engine.state.metrics`` to compare by.
            mode: whether ``"max"`` or ``"min"`` of it is better.
            best: how many of the best checkpoints to keep.
        """
        self.ranking, self._looks = Ranking(best, metric, mode), True
        self.ranking.take(self._joined().agreed(self._scores))

    # ------------------------------------------------------------------ saving

    def request(self) -> None:
        """Have a save made at the next safe point. Any handler may call it."""
        self._due = True

    def save(
        self,
        engine: Engine,
        *,
        name: str | None = None,
        meta: Mapping[str, Any] | None = None,
        without: Collection[str] = (),
    ) -> Path:
        """Save now. Call it where nothing is under way: before a run, after it, at SAFE_POINT.

        Elsewhere the checkpoint is not exact, and no run goes on from it by itself; see
        :meth:`request`.

        Args:
            engine: the engine that this is attached to.
            name: of the checkpoint's directory; by default the iteration.
            meta: what to note in the manifest besides.
            without: what to leave out: ``"engine"``, ``"random"``, keys of others and handlers;
                such a checkpoint is not exact, and no run goes on from it by itself.

        Returns:
            the checkpoint's directory.

        Raises:
            OSError: if the disk does not take it; what was there before still is.
            RuntimeError: while averaged weights stand in the model; nothing is written then.
        """
        self._writing.wait()
        together = self._joined()
        share = together.share(self.contents, engine, without)
        manifest = replace(
            self._manifest(engine),
            meta=dict(meta or {}),
            left_out=tuple(without),
            kept=name is not None,
        )
        if without or not is_safe(engine):
            manifest = replace(manifest, exact=False)
        path = self._write(together, share, manifest, name)
        if manifest.exact and name is None:
            self._note(manifest)
        return path

    def save_weights(self, engine: Engine, **options: Any) -> Path:
        """Save the weights alone; see :meth:`save` for the options."""
        return self.save(engine, without=self.contents.names(engine), **options)

    # ------------------------------------------------------------------ going on

    def resume(
        self,
        engine: Engine,
        which: Which = "last",
        *,
        within: str | Path | None = None,
        without: Collection[str] = (),
        digests: bool = True,
    ) -> Path | None:
        """Go on from a checkpoint: the next ``run()`` continues where it was taken.

        Call it when everything is attached. Checkpoints that are not as they were written are
        passed over with a warning, and those that are not exact in silence, unless they are asked
        for by name. What differs from the machine that wrote it is warned about.

        Args:
            engine: the engine that this is attached to.
            which: ``True`` or ``"last"``: the one that was saved last; ``"best"``: the best of the
                same run; or a path: of a checkpoint, or of a directory with the checkpoints of one
                run or several somewhere below, of which the last is taken; or a name here.
            within: a folder with the checkpoints of several runs somewhere below, such as those of
                an experiment, where to look for it in place of the own directory.
            without: what to leave as it is: ``"random"``, keys of others and handlers, those that
                were saved and are no longer there among them.
            digests: whether all files are read to compare their digests, and not their sizes only.

        Returns:
            the checkpoint's directory; ``None`` if there is none, and then nothing was changed.

        Raises:
            StateError: if the checkpoint does not fit what is there, or one that was named is not
                there or broken; and if there are some, but none is whole.
        """
        self._writing.wait()
        together = self._joined()
        place = self.store if within is None else Path(within)
        found = together.agreed(lambda: self._found(place, which, digests=digests))
        if found is None:
            self.contents.check_names(engine, without)
            return None
        path, manifest = found
        with together.as_one():
            together.load(self.contents, engine, self.store, path, without=without)
        if not together.rank:
            _logger.info(
                "the run goes on from %s; its checkpoints go to %s", path, self.store.directory
            )
            warn_of_differences(path, manifest, together.world_size, level=2)
        self.run, self._stood, self._spoiled = manifest.run, manifest.number, not manifest.exact
        self.ranking.take(together.agreed(self._scores))
        return path

    def load_weights(self, which: Which = "best") -> Manifest:
        """Load the weights of a checkpoint of this run into the model, and nothing else.

        Returns:
            what the checkpoint says of itself.

        Raises:
            StateError: if there is no such checkpoint.
        """
        self._writing.wait()
        self._writing.check()
        together = self._joined()
        found = together.agreed(lambda: self._found(self.store, which, run=self.run, digests=True))
        if found is None:
            raise StateError(
                f"this run has no {which} checkpoint in {self.store.directory}. Another's are its "
                f"own once it goes on from one by resume(); its weights alone are in "
                f"load_checkpoint(find({str(self.store.directory)!r}, {str(which)!r})).weights."
            )
        path, manifest = found
        with together.as_one(), self.contents.loading():
            self.store.load_weights(path, self.model)
        return manifest

    # ------------------------------------------------------------------ parts of these

    def _joined(self) -> Alone:
        """The processes of the run; a point that all of them reach."""
        before, self._processes = self._processes, processes(self._processes)
        if self._processes is not before:
            self.run = self._processes.agreed(lambda: self.run)
        return self._processes

    @property
    def _patience(self) -> float | None:
        """Seconds to wait behind an error for a save in which others may be missing."""
        return None if self._processes.world_size == 1 else _PATIENCE

    def _found(
        self, place: Store | Path, which: Which, **options: Any
    ) -> tuple[Path, Manifest] | None:
        path = find(place, which, **options)
        return None if path is None else (path, self.store.manifest(path))

    def _scores(self) -> list[float]:
        """The scores of the run's checkpoints."""
        return self.ranking.scores(self.store, self.run)

    def _mark(self, engine: Engine) -> None:
        self._due = True
        self._score = self.ranking.by_hand(engine)

    def _must_save(self, engine: Engine) -> bool:
        when, state = self.when, engine.state
        late = when.minutes is not None and agreed(
            engine, f"{key_of(self)} is late", self._is_late()
        )
        return state.reason == Reason.SIGNALLED or late or (when.at_end and ends(engine))

    def _is_late(self) -> bool:
        return time.monotonic() - self._since >= 60 * (self.when.minutes or 0.0)

    def _save(self, engine: Engine) -> None:
        together = self._processes
        if not self.background:
            share = together.share(self.contents, engine)
            manifest = self._manifest(engine)
            self._write(together, share, manifest)
            self._note(manifest)
            return
        self._writing.wait()  # it may read the copy
        self._writing.check()
        share = together.share(self.contents, engine).copied(self._host)
        manifest = self._manifest(engine)
        write = partial(self._write, together, share, manifest)
        self._writing.start(write, daemon=together.world_size > 1)  # one that hangs, hangs for all
        self._note(manifest)

    def _note(self, manifest: Manifest) -> None:
        """Take a save as made, or as good as made."""
        self._due, self._since = False, time.monotonic()
        if manifest.score is not None:
            self.ranking.note(manifest.score)

    def _manifest(self, engine: Engine) -> Manifest:
        state = engine.state
        return Manifest(
            run=self.run,
            iteration=state.iteration,
            epoch=state.epoch,
            metrics=scalars_of(state.metrics),
            score=self._score,
            compared_by=self.ranking.compared_by,
            exact=not self._spoiled,
            seed=random.current_seed() if state.seed is None else state.seed,
            config=self.config,
        )

    def _write(
        self, together: Alone, share: Share, manifest: Manifest, name: str | None = None
    ) -> Path:
        """Write a checkpoint, and then take away those that it makes needless."""
        try:
            path = together.save(self.store, share, manifest, name)
        except BaseException:
            self._failed = True
            raise
        self._written.add(path)
        if self._processes.rank:
            return path
        spare = self._others()
        if not manifest.exact:  # it takes no place of those that a run can go on from
            spare += [path for path, one in self.store if one.exact]
        try:
            self.store.prune(self.run, last=self.last, best=self.ranking.best, spare=spare)
        except OSError as error:  # the next save tries again
            warnings.warn(f"older checkpoints stay: {error}.", RuntimeWarning, stacklevel=2)
        return path

    def _others(self) -> list[Path]:
        """What another process has saved of this run since this one began or went on."""
        return [
            path
            for path, one in self.store
            if one.run == self.run and one.number > self._stood and path not in self._written
        ]
