"""A run as its folder tells of it; whatever is there, of a run that was killed or still goes on."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...engine.stream.journal import Journal
from .series import Scalars, read_scalars
from .trace import Trace, read_trace

__all__ = ["Checkpoint", "Run", "Session", "Shown", "read_run"]

T = TypeVar("T")

_EARLY = "stopped early"
_ENDED = {
    "completed": "completed",
    "terminated": "terminated",
    "interrupted": "interrupted",
    "signalled": "stopped by a signal",
    "error": "failed",
}
_IN_ORDER = {*_ENDED.values(), _EARLY} - {"failed"}
_HUGE = 1e12  # seconds, which no clock shows
_QUIET = 600  # seconds without a word, after which a run on another machine is taken for dead


@dataclass
class Session:
    """A run from its begin, or from where it went on, to where it stopped.

    Attributes:
        engine: the engine that was run.
        began, ended: in seconds since 1970; of one that was killed, when it was last heard of.
        status: how it ended, ``"running"`` or ``"killed"``.
        iteration: where it began.
        why: why it was stopped early.
        error: what was raised, with its traceback.
    """

    engine: str
    began: float
    ended: float
    status: str
    iteration: int = 0
    why: str | None = None
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a checkpoint without reading it.

    Attributes:
        name: its folder's.
        manifest: what it says of itself.
        bytes: the size of its files.
        written: when, in seconds since 1970.
    """

    name: str
    manifest: dict[str, Any]
    bytes: int
    written: float


@dataclass(frozen=True)
class Shown:
    """Something that was shown: an image, a text, a table.

    Attributes:
        kind: ``"image"``, ``"figure"``, ``"histogram"``, ``"text"`` or ``"table"``.
        name: what it was shown as.
        step, epoch: when.
        file: where it lies.
    """

    kind: str
    name: str
    step: int
    epoch: int
    file: Path


@dataclass
class Run:
    """All that a run's folder tells.

    Attributes:
        folder: the folder.
        record: what ``run.json`` says.
        sessions: from the first to the last.
        scalars: over time.
        phases: spans of time, as ``phases.jsonl`` has them.
        tables: matrices and vectors, the last of each name; of large ones the shape.
        predictions: samples of what was predicted, by engine.
        shown: pictures and the like, in order.
        checkpoints: in the order of their iterations.
        config, environment: plain values by name.
        trace: where the time went.
        remarks: what could not be read.
        read_at: when all this was read.
    """

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    scalars: Scalars = field(default_factory=Scalars)
    phases: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    predictions: dict[str, Any] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    trace: Trace | None = None
    remarks: list[str] = field(default_factory=list)
    read_at: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """What the run is called."""
        return str(self.record.get("name") or self.folder.resolve().name)

    @property
    def engine(self) -> str:
        """The name of the engine that the run is about: the one that was run first."""
        logged = next(iter(self.scalars.series), ("train", ""))[0]
        return str(self.record.get("engine") or logged)

    @property
    def status(self) -> str | None:
        """How the run stands; ``None`` if nobody noted it."""
        if not self.sessions:
            return None
        last, own = self.sessions[-1], self._last_of_its_own()
        in_order = last.status in _IN_ORDER
        return own.status if own and in_order else last.status

    @property
    def why(self) -> str | None:
        """Why it was stopped early, if that is how it stands and a handler told."""
        own = self._last_of_its_own()
        return own.why if own and own.status == self.status else None

    def _last_of_its_own(self) -> Session | None:
        """The last session of the engine that the run is about."""
        own = (one for one in reversed(self.sessions) if one.engine == self.engine)
        return next(own, None)

    @property
    def seconds(self) -> float | None:
        """How long it has run, without the time between its sessions."""
        if self.sessions:
            return sum(one.ended - one.began for one in self.sessions)
        times = self.scalars.times
        return times[-1] - times[0] if len(times) > 1 else None

    @property
    def compared_by(self) -> str | None:
        """What its checkpoints are compared by, as ``"max val_accuracy"``."""
        told = [one.manifest.get("compared_by") for one in self.checkpoints]
        return next((one for one in reversed(told) if isinstance(one, str)), None)


def read_run(folder: Path) -> Run:
    """Read a run's folder. What is not there is left out, what is broken is remarked on."""
    run = Run(folder)
    run.record = _mapping(run, "run.json")
    run.scalars = read_scalars(folder / "scalars.jsonl")
    if run.scalars.torn:
        run.remarks.append(f"scalars.jsonl has {run.scalars.torn} lines that could not be read.")
    run.phases = [one for one in _lines(run, "phases.jsonl") if _is_span(one)]
    told = _mapping(run, "tables.json").get("tables")  # once they were lines, all of them
    lines = told if isinstance(told, list) else _lines(run, "tables.jsonl")
    run.tables = _tables([one for one in lines if isinstance(one, dict)])
    run.predictions = _mapping(run, "predictions.json")
    run.shown = _tried(run, "media", lambda _: _shown(run)) or []
    run.checkpoints = _tried(run, "checkpoints", lambda _: _checkpoints(run)) or []
    run.sessions = _tried(run, "run.json", lambda _: _sessions(run)) or []
    run.environment = _mapping(run, "environment.json") or _mapping_in(run.record, "versions")
    run.config = _config(run)
    if (folder / "trace.json").is_file():
        run.trace = _tried(run, "trace.json", read_trace)
    return run


# ---------------------------------------------------------------------- the parts


def _config(run: Run) -> dict[str, Any]:
    saved = [one.manifest for one in reversed(run.checkpoints)]
    return (
        _mapping_in(run.record, "config")
        or _mapping(run, "config.json")
        or _mapping(run, "options.json")
        or next((found for one in saved if (found := _mapping_in(one, "config"))), {})
    )


def _tables(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last table of each name; of one that an evaluation handed on, that which it became."""
    last = {(str(one.get("engine")), str(one.get("name"))): one for one in lines}
    values = [
        (json.dumps(one.get("step")), str(one.get("name")), json.dumps(one.get("value")))
        for one in last.values()
    ]
    handed_on = {
        (step, name, value)
        for step, name, value in values
        if any(s == step and v == value and n.endswith(f"_{name}") for s, n, v in values)
    }
    return [o for o, key in zip(last.values(), values, strict=True) if key not in handed_on]


def _shown(run: Run) -> list[Shown]:
    media = run.folder / "media"
    found = []
    for one in _lines(run, "media/media.jsonl"):
        file = media / str(one.get("file", ""))
        inside = file.resolve().is_relative_to(media.resolve())  # a line may be anybody's
        if inside and file.is_file():
            step, epoch = _whole(one.get("step")), _whole(one.get("epoch"))
            found.append(Shown(str(one.get("kind")), str(one.get("name")), step, epoch, file))
    return found


def _checkpoints(run: Run) -> list[Checkpoint]:
    found = []
    for path in sorted((run.folder / "checkpoints").glob("*/manifest.json")):
        manifest = _mapping(run, str(path.relative_to(run.folder)))
        if manifest:
            files = [one.stat() for one in path.parent.iterdir() if one.is_file()]
            size, written = sum(one.st_size for one in files), path.stat().st_mtime
            found.append(Checkpoint(path.parent.name, manifest, size, written))
    return sorted(found, key=lambda one: (_whole(one.manifest.get("iteration")), one.written))


def _sessions(run: Run) -> list[Session]:
    given = run.record.get("sessions")
    told = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    told = [one for one in told if _is_finite(one.get("began"))]
    signs = sorted(
        [*run.scalars.times, *(float(one["began"]) + float(one["seconds"]) for one in run.phases)]
    )
    found = []
    for number, one in enumerate(told):
        began, reason = float(one["began"]), str(one.get("reason"))
        until = float(told[number + 1]["began"]) if number + 1 < len(told) else run.read_at
        heard = max([began, *(sign for sign in signs if began <= sign <= until)])
        status, ended, why = _ENDED.get(reason, reason), one.get("ended"), one.get("why")
        if reason == "terminated" and why:
            status = _EARLY
        if not _is_finite(ended):
            goes_on = number + 1 == len(told) and _is_alive(one, heard, run.read_at)
            status, ended = ("running", run.read_at) if goes_on else ("killed", heard)
        error, traceback = one.get("error"), one.get("traceback")
        found.append(
            Session(
                engine=str(one.get("engine")),
                began=began,
                ended=float(ended or began),
                status=status,
                iteration=_whole(one.get("iteration")),
                why=str(why) if status == _EARLY else None,
                error=None if error is None else str(error),
                traceback=None if traceback is None else str(traceback),
            )
        )
    return found


def _is_alive(session: Mapping[str, Any], heard: float, now: float) -> bool:
    """Whether the process of a session is there; of another machine's, whether it was heard of."""
    process = session.get("process")
    if session.get("host") != socket.gethostname() or os.name != "posix":
        return now - heard < _QUIET
    if not isinstance(process, int) or not 1 <= process < 2**31:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has died, and only its parent does not know yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


# ---------------------------------------------------------------------- reading what may be broken


def _tried(run: Run, name: str, read: Callable[[Path], T]) -> T | None:
    try:
        return read(run.folder / name)
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a file holds, the others are shown
        run.remarks.append(f"{name} could not be read: {error}.")
        return None


def _mapping(run: Run, name: str) -> dict[str, Any]:
    def read(path: Path) -> dict[str, Any]:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__} in place of names and values")
        return found

    return _tried(run, name, read) or {}


def _lines(run: Run, name: str) -> list[dict[str, Any]]:
    return _tried(run, name, Journal.read) or []


def _mapping_in(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _is_span(one: Mapping[str, Any]) -> bool:
    return all(_is_finite(one.get(key)) for key in ("began", "seconds"))


def _is_finite(value: Any) -> bool:
    """Whether a value is a number, and one that a float holds."""
    return isinstance(value, (int, float)) and -_HUGE < value < _HUGE


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
