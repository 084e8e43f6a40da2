"""Run record: what a run leaves in its folder for those who look at it later."""

from __future__ import annotations

import json
import os
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.data.sample import PredictionSample
from ..engine.engine import Engine
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.hyper_parameters import hyper_parameters
from ..engine.outermost import outermost
from ..engine.placement.environment import versions
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from ..engine.state import Next, Reason
from ..engine.stream.journal import Journal, set_aside
from ..engine.stream.scalars import METRICS_COMPUTED, number_of, scalars_of

__all__ = ["RunRecord"]

_BRIEF = 0.002  # seconds; what is over sooner is no phase
_LARGEST = 1000  # classes of a matrix
_FILES = ("run.json", "phases.jsonl", "tables.json", "tables.jsonl", "predictions.json")
_BEFORE_EVALUATION, _BEHIND_EVALUATION = Priority.ABOVE_NORMAL - 1, Priority.ABOVE_NORMAL + 1


class RunRecord(Handler):
    """Notes what a run is, when it did what, and what it measured besides numbers.

    Into the folder go

    - ``run.json``: name, event plan, configuration, versions, and of each session, a run from its
      begin or from where it went on, when it began and how it ended;
    - ``phases.jsonl``: how long each epoch, each evaluation and each wait for a checkpoint took;
    - ``tables.json``: the last metrics that are matrices or vectors, as a confusion matrix of
      pytorch-ignite;
    - ``predictions.json``: samples of what was predicted last.

    It is attached to the trainer, and to evaluators and testers besides: of these it notes each
    run, and a sample of their predictions where their output is a pair ``(y_pred, y)``. That is
    held on its device until the pass is over.

    A run that goes on adds to the files, and drops what it will write again; so does one of an
    engine of another name, as a tester's. One that starts anew sets them aside. The record is
    about the engine that others run within, or that runs the most epochs and iterations. Of
    several processes the first alone writes.

    Args:
        folder: the run's folder; made if need be.
        name: what the run is called; by default the folder's name.
        config: what it is made with: a mapping, an instance of a data class or a namespace.
        classes: names of the classes, by number; by default those that the data set of an
            evaluator tells, ``state.dataset_meta["classes"]``.
        predictions: how many samples of a pass to look at; 0 for none.

    Raises:
        TypeError: for a configuration with values that JSON does not take, and for classes that
            are one string.
        ValueError: for a negative number of samples.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> folder = Path(tempfile.mkdtemp())
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> record = trainer.attach(RunRecord(folder, name="first", config={"lr": 0.1}))
        >>> state = trainer.run([0, 1], max_epochs=3)
        >>> told = json.loads((folder / "run.json").read_text())
        >>> told["name"], told["config"], told["epoch"], told["sessions"][0]["reason"]
        ('first', {'lr': 0.1}, 3, 'completed')
        >>> [line["what"] for line in Journal.read(folder / "phases.jsonl")]
        ['train', 'train', 'train']
    """

    priority = Priority.VERY_LOW  # of CLOSED: behind what others still have to say

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        config: object = None,
        classes: Sequence[Any] | None = None,
        predictions: int = 256,
    ) -> None:
        if isinstance(classes, str):
            raise TypeError(f"classes= is a list of names, given the string {classes!r}.")
        if predictions < 0:
            raise ValueError(f"predictions= is a number of samples from 0, given {predictions!r}.")
        self.folder = Path(folder)
        self.title = name
        self.config = None if config is None else hyper_parameters(config)
        self.classes = None if classes is None else [str(one) for one in classes]
        self.predictions = predictions
        self._record: dict[str, Any] = {}
        self._phases: Journal | None = None
        self._tables: list[dict[str, Any]] = []
        self._unwritten = False  # tables
        self._samples: dict[str, PredictionSample] = {}
        self._told: dict[str, Any] = {}  # of predictions, by engine
        self._open: dict[int, float] = {}  # when the engines that run began, by identity
        self._epoch: float | None = None  # when the epoch of the outermost engine began
        self._within = 0.0  # seconds of what lies within it
        self._mark = 0.0
        self._evaluations = self._before = 0  # nested runs so far, and at the mark

    def on_register(self, engine: Engine) -> None:
        """Look at the clock around epochs, evaluations and safe points."""
        engine.register_events(METRICS_COMPUTED, behind=Events.ITERATION_COMPLETED)
        add, first, last = engine.add_event_handler, Priority.HIGHEST, Priority.LOWEST
        add(METRICS_COMPUTED, self._measured)
        add(Events.SAFE_POINT, self._write_tables)
        add(Events.EXCEPTION_RAISED, self._failed)
        add(Events.EPOCH_STARTED, self._begin_epoch, priority=first)
        add(Events.EPOCH_COMPLETED, self._end_epoch, priority=first)
        add(Events.EPOCH_COMPLETED, self._look_at_clock, priority=_BEFORE_EVALUATION)
        add(Events.EPOCH_COMPLETED, self._evaluated, priority=_BEHIND_EVALUATION)
        add(Events.SAFE_POINT, self._look_at_clock, priority=first)
        add(Events.SAFE_POINT, self._saved, priority=last)
        if self.predictions:
            add(Events.EPOCH_STARTED, self._forget_samples)
            add(Events.ITERATION_COMPLETED, self._sample)

    # ------------------------------------------------------------------ the run

    def opened(self, engine: Engine) -> None:
        """Begin a session with an outermost engine; note when a nested one begins."""
        if not is_first():
            return
        if not self._open:
            self._begin(engine)
        elif outermost(engine) is not engine:
            self._tell_of(outermost(engine), evaluates=True)
        self._open[id(engine)] = time.time()
        if engine.progress.next in (Next.ITERATION, Next.ITERATION_COMPLETED):
            self._begin_epoch(engine)

    def closed(self, engine: Engine) -> None:
        """Note how the run ended, and what was predicted in it."""
        began = self._open.pop(id(engine), None)
        if began is None:
            return
        self._tell_predictions(engine)
        if self._open:
            self._evaluations += 1
            self._note(engine, began, what=engine.name or "evaluation")
            return
        if self._epoch is not None:  # it was cut
            self._end_epoch(engine)
        session = self._record["sessions"][-1]
        session.update(ended=time.time(), reason=str(engine.state.reason), **_end(engine))
        self._tell_of(engine)
        results = self._record.setdefault("results", {})
        results[engine.name or "engine"] = scalars_of(engine.state.metrics)
        self._write("run.json", self._record)
        self._write_tables()
        if self._phases is not None:
            self._phases.close()
        self._phases = None

    def _begin(self, engine: Engine) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        name, state = engine.name or "engine", engine.state
        goes_on = state.iteration > 0
        self._record = self._record or _read(self.folder / "run.json")
        if not goes_on and self._record.get("engine") in (None, name):
            for file in _FILES:
                set_aside(self.folder / file)
            self._record, self._told, self._tables = {}, {}, []
        self._told = self._told or _read(self.folder / "predictions.json")
        self._tables = self._tables or _tables(_read(self.folder / "tables.json"))
        begun = {"engine": name, "began": time.time(), "iteration": state.iteration}
        where = {"process": os.getpid(), "host": socket.gethostname()}
        self._record.setdefault("name", self.title or self.folder.resolve().name)
        self._record.setdefault("engine", name)
        if self._record["engine"] == name:
            self._record.update(_limits(engine))
        if self.config is not None:
            self._record["config"] = self.config
        if self.classes is not None:
            self._record["classes"] = self.classes
        self._record["versions"] = versions()
        plans = self._record.setdefault("plan", {})
        plans[name] = engine.describe().as_dicts()
        self._record.setdefault("sessions", []).append({**begun, **where})
        self._write("run.json", self._record)

        def keep(line: Mapping[str, Any]) -> bool:
            return line.get("run") != name or int(line.get("step", 0)) <= state.iteration

        self._phases = Journal(self.folder / "phases.jsonl", keep=keep if goes_on else None)
        if goes_on:
            self._tables = [one for one in self._tables if keep(one)]
        self._epoch, self._within = None, 0.0

    def _tell_of(self, engine: Engine, *, evaluates: bool = False) -> None:
        """Note where an engine stands, if it is the one that the record is about.

        That is one that others run within, or else the one of the most epochs and iterations.
        """
        record, name, state = self._record, engine.name or "engine", engine.state
        known = [record.get("evaluates", False), record.get("epoch"), record.get("iteration")]
        stands = [evaluates, state.epoch, state.iteration]
        if record["engine"] != name and stands <= [one or 0 for one in known]:
            return
        is_new = record["engine"] != name or evaluates > known[0]
        evaluates = evaluates or (record["engine"] == name and known[0])
        record.update(engine=name, iteration=state.iteration, epoch=state.epoch, **_limits(engine))
        record["evaluates"] = evaluates
        if is_new:
            self._write("run.json", record)

    def _failed(self, engine: Engine, exception: BaseException) -> None:
        """Keep what was raised; that of a nested engine comes by once more."""
        if self._record and outermost(engine) is engine:
            told = "".join(traceback.format_exception(exception))
            said = f"{type(exception).__name__}: {exception}"
            self._record["sessions"][-1].update(error=said, traceback=told)

    # ------------------------------------------------------------------ phases

    def _begin_epoch(self, engine: Engine) -> None:
        if outermost(engine) is engine:
            self._epoch, self._within = time.time(), 0.0

    def _end_epoch(self, engine: Engine) -> None:
        if outermost(engine) is engine and self._epoch is not None:
            began, self._epoch = self._epoch, None
            own = max(time.time() - began - self._within, 0.0)
            self._note(engine, began, what=engine.name or "engine", own=own)

    def _look_at_clock(self, engine: Engine) -> None:
        if outermost(engine) is engine:
            self._mark, self._before = time.time(), self._evaluations

    def _evaluated(self, engine: Engine) -> None:
        """Note an evaluation by an engine that this is not attached to."""
        brief = time.time() - self._mark < _BRIEF
        if outermost(engine) is engine and not brief and self._before == self._evaluations:
            self._note(engine, self._mark, what="evaluation")

    def _saved(self, engine: Engine) -> None:
        if outermost(engine) is engine and time.time() - self._mark >= _BRIEF:
            self._note(engine, self._mark, what="saving")

    def _note(self, engine: Engine, began: float, *, what: str, own: float | None = None) -> None:
        seconds = time.time() - began
        if own is None:
            self._within += seconds
        if self._phases is not None:
            run = outermost(engine)
            line: dict[str, Any] = {
                "run": run.name or "engine",
                "what": what,
                "epoch": run.state.epoch,
                "step": run.state.iteration,
                "began": began,
                "seconds": seconds,
            }
            self._phases.append(line if own is None else {**line, "own": own})

    # ------------------------------------------------------------------ what was measured

    def _measured(self, engine: Engine, metrics: Mapping[str, Any], on: str) -> None:
        """Keep matrices and vectors in place of those before.

        What a nested engine has measured is dropped when the outer one hands it on by its name.
        """
        if self._phases is None or on != "epoch":
            return
        run = outermost(engine)
        for name, value in metrics.items():
            if (table := _table(value)) is not None:
                place = {"run": run.name or "engine", "engine": engine.name, "name": name}
                when = {"epoch": run.state.epoch, "step": run.state.iteration}
                told = {**place, **when, **table}
                self._tables = [one for one in self._tables if not _replaces(told, one)]
                self._tables.append(told)
                self._unwritten = True

    def _write_tables(self) -> None:
        if self._unwritten and self._phases is not None:
            self._write("tables.json", {"tables": self._tables})
            self._unwritten = False

    def _forget_samples(self, engine: Engine) -> None:
        """The samples are those of the last pass."""
        if (sample := self._samples.get(engine.name or "engine")) is not None:
            sample.clear()

    def _sample(self, engine: Engine) -> None:
        if id(engine) in self._open and engine.state.stage != "sanity_check":
            key = engine.name or "engine"
            sample = self._samples.get(key)
            if sample is None:
                sample = self._samples[key] = PredictionSample(self.predictions)
            sample.add(engine.state.batch, engine.state.output)

    def _tell_predictions(self, engine: Engine) -> None:
        sample = self._samples.pop(engine.name or "engine", None)
        told = None if sample is None else sample.told()
        if told is None:
            return
        state, name = outermost(engine).state, engine.name or "engine"
        session = len(self._record["sessions"])
        when = {"session": session, "epoch": state.epoch, "step": state.iteration}
        now = {"engine": name, **when}
        self._told = {
            key: one
            for key, one in self._told.items()
            if one.get("engine", key) != name or now.items() <= one.items()
        }
        passes = sum(one.get("engine") == name for one in self._told.values())
        self._told[f"{name} {passes + 1}" if passes else name] = {**now, **told}
        self._write("predictions.json", self._told)
        meta = getattr(engine.state, "dataset_meta", None)
        names = meta.get("classes") if isinstance(meta, Mapping) else None
        if names is not None and "classes" not in self._record:
            self._record["classes"] = [str(one) for one in names]

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a file that is there as a whole, or as it was."""
        path = self.folder / name
        beside = path.with_name(f".{name}.{os.getpid()}.part")
        beside.write_text(json.dumps(value), encoding="utf-8")
        beside.replace(path)


def _limits(engine: Engine) -> dict[str, float | None]:
    """Where the run ends, where that is known."""
    limits = {name: getattr(engine.state, name) for name in ("max_epochs", "max_iters")}
    return {name: value if isinstance(value, int) else None for name, value in limits.items()}


def _end(engine: Engine) -> dict[str, Any]:
    """Of a run that was terminated: why, by a handler that says so."""
    if engine.state.reason != Reason.TERMINATED:
        return {}
    told = (getattr(one, "reason", None) for one in engine.handlers.values())
    why = next((one for one in told if isinstance(one, str)), None)
    return {} if why is None else {"why": why}


def _read(path: Path) -> dict[str, Any]:
    """What a file of an earlier session says; nothing if it is not there or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tables(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = told.get("tables")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _replaces(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a table is a later one of the same name, or hands that of a nested engine on."""
    if new["engine"] == old.get("engine"):
        return bool(new["name"] == old.get("name"))
    same = all(new.get(key) == old.get(key) for key in ("run", "step", "value", "shape"))
    return same and str(new["name"]).endswith(f"_{old.get('name')}")


def _table(value: Any) -> dict[str, Any] | None:
    """A matrix or a vector as lists of numbers, of a large one its shape; ``None`` for others."""
    if not hasattr(value, "ndim") or not hasattr(value, "tolist"):
        is_list = isinstance(value, (list, tuple)) and len(value) > 1
        numbers = is_list and all(isinstance(number_of(one), (int, float)) for one in value)
        return {"value": [number_of(one) for one in value]} if numbers else None
    if value.ndim not in (1, 2) or min(value.shape) < 2:
        return None
    is_large = max(value.shape) > _LARGEST
    return {"shape": list(value.shape)} if is_large else {"value": value.tolist()}
