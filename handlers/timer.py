"""Timer: how fast a run is, what it waits for, and how long it will take."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from ..engine.engine import Engine
from ..engine.events import Events
from ..engine.handler import Handler
from ..engine.nested import samples_in
from ..engine.priority import Priority
from ..engine.process_memory import peak_memory

__all__ = ["Timer"]

_BEHIND_EVALUATION = 44  # and ahead of who reads the scalars
_WINDOWS = 10  # that tell the recent speed


@dataclass
class _Evaluations:
    """What evaluations on one event have taken in this run.

    Attributes:
        events: how often it has fired, with an evaluation or without.
        seconds: in all.
    """

    events: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        return self.seconds / max(self.events, 1)


class Timer(Handler):
    """Measures iterations, and tells the scalar stream of them at each log point.

    What it tells, by name, is of the window since the log point before:

    - ``time``: seconds an iteration took, from one to the next; ``data_time``: seconds of it in
      which its batch was fetched;
    - ``samples/s`` where batches hold more than one sample, with each batch taken to be as large
      as the first of the window;
    - ``time/…``: seconds in all in blocks of :meth:`measure`.

    Besides, ``eta`` is the seconds until the run's end, where that is known, at the speed of the
    last ten windows; and ``memory`` is a peak in MiB, of what :attr:`memory_of` says.

    An evaluation is no part of an iteration: what runs on ITERATION_COMPLETED and EPOCH_COMPLETED
    up to priority ABOVE_NORMAL, as evaluations do, is left out of ``time``. ``eta`` counts it in
    as often as it is still to come: for each end of an epoch at what it took at those of this run
    so far, on average, and for each iteration likewise. What has not come yet in this run is not
    foreseen: before the first evaluation ``eta`` is of iterations alone. A run that goes on begins
    a new window.

    Nothing waits for a device. As a log point does, when it reads the scalars, a window is as long
    as its work on a device.

    Args:
        samples: tells how many samples a batch has; by default the length of its first tensor.

    Attributes:
        memory_of: what ``memory`` is the peak of: ``"accelerator"`` for what was allocated on the
            current one, if it is used; else ``"process"`` for all that the process held.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> timer = Timer()
        >>> def step(engine, batch):
        ...     with timer.measure("double"):
        ...         return batch * 2
        >>> trainer = Engine(step, name="train")
        >>> timer = trainer.attach(timer)
        >>> state = trainer.run(torch.ones(5, 8))
        >>> gauges = timer.gauges(trainer)
        >>> sorted(gauges), gauges["eta"]  # doctest: +NORMALIZE_WHITESPACE
        (['data_time', 'eta', 'memory', 'samples/s', 'time', 'time/double'], 0.0)
    """

    for_one_engine = True

    def __init__(self, *, samples: Callable[[Any], int] = samples_in) -> None:
        self.samples = samples
        self.memory_of = "process"
        self._blocks: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._recent: deque[tuple[int, float]] = deque(maxlen=_WINDOWS)
        self._in_epochs, self._at_ends = _Evaluations(), _Evaluations()
        self._ended = 0  # the last epoch whose end has been evaluated
        self._mark = 0.0  # when what is measured now began
        self._begin_window(0)

    def on_register(self, engine: Engine) -> None:
        """Look at the clock around the fetch of a batch and around evaluations."""
        add, first, last = engine.add_event_handler, Priority.HIGHEST, Priority.LOWEST
        add(Events.GET_BATCH_STARTED, self._fetch, priority=last)
        add(Events.GET_BATCH_COMPLETED, self._fetched, priority=first)
        add(Events.ITERATION_COMPLETED, self._stepped, priority=first)
        add(Events.EPOCH_COMPLETED, self._begin_evaluation, priority=first)
        for event, on in (Events.ITERATION_COMPLETED, False), (Events.EPOCH_COMPLETED, True):
            add(event, self._end_evaluation, on, priority=_BEHIND_EVALUATION)
        self._begin_run(engine)

    def opened(self, engine: Engine) -> None:
        """Forget the time before this run, and between runs."""
        self._begin_run(engine)

    def gauges(self, engine: Engine) -> dict[str, float]:
        """What is told at a log point, by name.

        It ends the window; where that held no iteration, the one before is told once more.
        """
        iteration = engine.state.iteration
        done, taken = iteration - self._from, perf_counter() - self._since - self._away
        if done > 0:
            self._recent.append((done, taken))
            self._told = self._measured(done, taken)
            self._begin_window(iteration)
        gauges = dict(self._told)
        if (eta := self._eta(engine)) is not None:
            gauges["eta"] = eta
        if (memory := self._memory()) is not None:
            gauges["memory"] = memory
        return gauges

    @contextmanager
    def measure(self, name: str, *, synchronize: bool = False) -> Generator[None, None, None]:
        """Measure a block of code, whose seconds are told as ``time/`` and the name.

        Args:
            name: what the block is called; all blocks of one name are added up.
            synchronize: whether to wait for the accelerator before and behind, so that its work is
                measured, too. The run is slower for that.

        Example:
            >>> timer = Timer()
            >>> with timer.measure("augment"):
            ...     pass
        """
        if synchronize:
            _synchronize()
        begun = perf_counter()
        try:
            yield
        finally:
            if synchronize:
                _synchronize()
            self._blocks[name] = self._blocks.get(name, 0.0) + perf_counter() - begun

    # ------------------------------------------------------------------ the run

    def _begin_run(self, engine: Engine) -> None:
        self._recent.clear()
        self._told = {}
        self._in_epochs, self._at_ends = _Evaluations(), _Evaluations()
        self._ended, self._mark = 0, 0.0
        self._begin_window(engine.state.iteration)

    def _begin_window(self, iteration: int) -> None:
        self._from, self._since = iteration, perf_counter()
        self._away = self._fetching = 0.0
        self._size = 0
        self._blocks = dict.fromkeys(self._blocks, 0.0)

    def _fetch(self, engine: Engine) -> None:
        self._mark = perf_counter()

    def _fetched(self, engine: Engine) -> None:
        if self._mark:  # else the run goes on with a batch that was in hand
            self._fetching += perf_counter() - self._mark

    def _stepped(self, engine: Engine) -> None:
        if not self._size:
            self._size = self.samples(engine.state.batch)
        self._mark = perf_counter()

    def _begin_evaluation(self, engine: Engine) -> None:
        self._mark = perf_counter()

    def _end_evaluation(self, engine: Engine, epoch_ends: bool) -> None:
        if epoch_ends:
            self._ended = engine.state.epoch
        if self._mark:  # else the run goes on in the midst of the event
            seconds = perf_counter() - self._mark
            evaluations = self._at_ends if epoch_ends else self._in_epochs
            evaluations.events += 1
            evaluations.seconds += seconds
            self._away += seconds

    # ------------------------------------------------------------------ figures

    def _measured(self, done: int, taken: float) -> dict[str, float]:
        found = {"time": taken / done}
        if self._fetching:
            found["data_time"] = self._fetching / done
        if taken > 0 and self._size > 1:
            found["samples/s"] = done * self._size / taken
        found.update({f"time/{name}": seconds for name, seconds in self._blocks.items()})
        return found

    def _eta(self, engine: Engine) -> float | None:
        left = _left(engine, has_ended=self._ended == engine.state.epoch)
        if left is None or not self._recent:
            return None
        iterations, ends = left
        done, seconds = map(sum, zip(*self._recent, strict=True))
        each = seconds / done + self._in_epochs.mean
        return float(iterations * each + ends * self._at_ends.mean)

    def _memory(self) -> float | None:
        peak = _accelerator_peak()
        self.memory_of = "process" if peak is None else "accelerator"
        return peak_memory() if peak is None else peak


def _left(engine: Engine, *, has_ended: bool) -> tuple[float, float] | None:
    """How many iterations and ends of epochs are still to come.

    ``None`` where that is not known, or without end. Ends of epochs of unknown length count none.

    Args:
        engine: the engine.
        has_ended: whether the end of the epoch at hand has come already.
    """
    state, progress = engine.state, engine.progress
    length = state.epoch_length
    at_hand = state.iteration - progress.iteration  # begun, and not yet counted in the epoch
    done = length if has_ended and length is not None else progress.epoch_iteration + at_hand
    if state.max_iters is not None:
        left = state.max_iters - state.iteration
    elif state.max_epochs is None or length is None:
        return None
    else:
        left = (state.max_epochs - state.epoch + 1) * length - done
    if not math.isfinite(left):
        return None
    left = max(left, 0)
    ends = (done + left) // length - has_ended if length else 0
    return left, max(ends, 0)


def _accelerator_peak() -> float | None:
    """MiB allocated at most on the accelerator; ``None`` without one that has been used."""
    module = torch.get_device_module()
    peak = getattr(module, "max_memory_allocated", None)
    ready = getattr(module, "is_initialized", None)
    if peak is None or ready is None or not ready() or not (most := peak()):
        return None
    return float(most / 2**20)


def _synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
