"""Profiler: what torch's own profiler sees of a few iterations."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function
from torch.profiler import supported_activities as supported

from ..engine.engine import Engine
from ..engine.errors import nearest
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.placement.ranks import rank
from ..engine.priority import Priority
from ..engine.whole import whole

__all__ = ["Profiler"]

_logger = logging.getLogger("footplate.profiler")
_ROWS = 100  # of the table


class Profiler(Handler):
    """Runs :class:`torch.profiler.profile` over some iterations, in cycles.

    Of the iterations of a run ``skip_first`` are left out. Then come cycles: ``wait`` iterations
    are left out, ``warmup`` are recorded and thrown away, and ``active`` are recorded. Outside of
    a cycle's warm-up and recording nothing is paid for. Each iteration is a range named like
    ``"train: epoch 1, iteration 17"``, from ITERATION_STARTED to the handlers of
    ITERATION_COMPLETED.

    At the end of a cycle, or of a run that ends within one, whatever ended it, two files are
    written, named after the last iteration recorded: ``iteration-17.json`` for
    ``chrome://tracing`` and https://ui.perfetto.dev, and ``iteration-17.txt``, a table by
    operator. Of several processes each but the first adds its rank to the names. A run that goes
    on counts its own iterations.

    Args:
        folder: where to write; it is made.
        skip_first: iterations left out at the beginning of a run.
        wait: iterations left out at the beginning of each cycle.
        warmup: iterations that the profiler itself needs to warm up.
        active: iterations recorded in a cycle.
        repeat: how many cycles there are; 0 for as many as the run has room for.
        activities: what to look at: ``"cpu"``, ``"cuda"``, ``"xpu"`` or members of
            ``torch.profiler.ProfilerActivity``; by default all that this torch and machine offer.
        record_shapes: whether the shapes of inputs are recorded.
        profile_memory: whether allocations are.
        with_stack: whether it is recorded where in the source an operator was called.

    Raises:
        ValueError: for a schedule that makes no sense, or activities that there are not.
        RuntimeError: when a cycle begins while another profiler records.

    Attributes:
        written: the traces that were written in this run.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: torch.ones(2) * batch, name="train")
        >>> folder = tempfile.mkdtemp()
        >>> profiler = trainer.attach(Profiler(folder, wait=1, active=2))
        >>> state = trainer.run(range(10))
        >>> [path.name for path in profiler.written]
        ['iteration-4.json']
    """

    priority = Priority.LOWEST
    for_one_engine = True
    _recording: profile | None = None  # the one in this process: torch bears no second

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        skip_first: int = 0,
        wait: int = 0,
        warmup: int = 1,
        active: int = 3,
        repeat: int = 1,
        activities: Iterable[str | ProfilerActivity] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.skip_first = whole("skip_first", skip_first, least=0)
        self.wait = whole("wait", wait, least=0)
        self.warmup = whole("warmup", warmup, least=0)
        self.active = whole("active", active)
        self.repeat = whole("repeat", repeat, least=0)
        self.activities = _activities(activities)
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.written: list[Path] = []
        self._profile: profile | None = None  # of the cycle under way
        self._range: record_function | None = None
        self._seen = 0  # iterations of this run
        self._stepped = 0  # and of the cycle
        self._last = 0  # the last iteration that the cycle recorded

    def on_register(self, engine: Engine) -> None:
        """Follow the iterations; what else is done in one lies within its range."""
        first = Priority.HIGHEST
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin, priority=first)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Count the iterations of this run, and begin a cycle if it is due at once."""
        self._seen, self.written = 0, []
        self._begin_cycle_if_due()

    def on_unregister(self, engine: Engine) -> None:
        """End the cycle under way."""
        self.stop()

    def closed(self, engine: Engine) -> None:
        """End the cycle under way, and say so if there was none to be written."""
        self.stop()
        first = self.skip_first + self.wait + self.warmup + 1
        if self._seen < first:
            _logger.warning(
                f"{engine!r} ended behind {self._seen} iterations, but the first that the "
                f"profiler records is number {first}; nothing was written."
            )

    def stop(self) -> None:
        """End the cycle under way, and write what it recorded; does nothing without one.

        It is called for you when the run ends, and when the profiler is detached.
        """
        self._end_range()
        made, self._profile = self._profile, None
        if made is not None:
            Profiler._recording = None
            made.stop()

    # ------------------------------------------------------------------ the schedule

    def _begin_cycle_if_due(self) -> None:
        cycle, place = divmod(self._seen - self.skip_first, self.wait + self.warmup + self.active)
        if place != self.wait or cycle < 0 or 0 < self.repeat <= cycle:
            return
        self._check_alone()
        self.folder.mkdir(parents=True, exist_ok=True)
        # one for each cycle: torch's own schedule is paid for in the iterations that it waits, too
        made = profile(
            activities=self.activities,
            schedule=self._action,
            on_trace_ready=self._write,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
        )
        self._stepped = self._last = 0
        made.start()
        self._profile = Profiler._recording = made

    def _action(self, step: int) -> ProfilerAction:
        if step < self.warmup:
            return ProfilerAction.WARMUP
        last = self.warmup + self.active - 1
        return ProfilerAction.RECORD if step < last else ProfilerAction.RECORD_AND_SAVE

    def _begin(self, engine: Engine) -> None:
        if self._profile is None:
            return
        state = engine.state
        if self._stepped >= self.warmup:
            self._last = state.iteration
        name = f"{engine.name or 'engine'}: epoch {state.epoch}, iteration {state.iteration}"
        self._range = record_function(name)
        self._range.__enter__()  # type: ignore[no-untyped-call]

    def _end(self, engine: Engine) -> None:
        self._end_range()
        self._seen += 1
        self._stepped += 1
        if self._profile is not None and self._stepped < self.warmup + self.active:
            self._profile.step()
        else:
            self.stop()
            self._begin_cycle_if_due()

    def _end_range(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None

    def _check_alone(self) -> None:
        records = torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
        if records or Profiler._recording is not None:
            raise RuntimeError(
                "a cycle of this profiler begins while another profiler records, and torch bears "
                "but one at a time; detach one of them, or keep their cycles apart by skip_first= "
                "and wait=."
            )

    # ------------------------------------------------------------------ files

    def _write(self, made: profile) -> None:
        if not self._last:  # the run ended between two iterations, before the first
            return
        of_rank = f"-rank-{rank()}" if rank() else ""
        path = self.folder / f"iteration-{self._last}{of_rank}.json"
        made.export_chrome_trace(str(path))
        averages = made.key_averages(group_by_input_shape=self.record_shapes)
        on_device = self.activities != {ProfilerActivity.CPU}
        sort_by = "self_device_time_total" if on_device else "self_cpu_time_total"
        table = averages.table(sort_by=sort_by, row_limit=_ROWS)
        path.with_suffix(".txt").write_text(table, encoding="utf-8")
        self.written.append(path)


def _activities(given: Iterable[str | ProfilerActivity] | None) -> set[ProfilerActivity]:
    """The activities meant; those that torch supports here by default."""
    there = {one.name.lower(): one for one in supported()}  # type: ignore[no-untyped-call]
    if given is None:
        return set(there.values())
    if isinstance(given, str):
        raise ValueError(f"activities= takes several; write activities=[{given!r}].")
    names = [getattr(one, "name", str(one)).lower() for one in given]
    if unknown := [name for name in names if name not in there]:
        raise ValueError(
            f"this torch can't look at {unknown[0]!r} on this machine, but at "
            f"{', '.join(map(repr, sorted(there)))}.{nearest(unknown[0], there)}"
        )
    if not names:
        raise ValueError(f"activities= is empty; give some of {', '.join(map(repr, there))}.")
    return {there[name] for name in names}
