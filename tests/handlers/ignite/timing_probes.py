"""Handlers of pytorch-ignite that look at the clock, draw, and tell how far a run is."""

from __future__ import annotations

import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any

from ignite import handlers as H
from ignite.engine import Events

from tests.handlers.ignite.training import BATCHES, Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


@trying(PROBES, "Timer")
def timer(world: World, folder: Path) -> Any:
    """How often it was stepped in each epoch, and that time passes meanwhile."""
    one, seen = Training(world), []
    watch = H.Timer(average=True)
    watch.attach(
        one.trainer,
        start=Events.EPOCH_STARTED,
        resume=Events.ITERATION_STARTED,
        pause=Events.ITERATION_COMPLETED,
        step=Events.ITERATION_COMPLETED,
    )
    look = lambda: seen.append((watch.step_count, watch.value() > 0))  # noqa: E731
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, look)
    one.trainer.run(BATCHES, max_epochs=2)
    return seen


@trying(PROBES, "ProgressBar")
def bar(world: World, folder: Path) -> Any:
    """The last picture of the bar in each epoch."""
    one, out = Training(world), io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tqdm, which looks for a notebook
        progress = H.ProgressBar(persist=True, file=out, ascii=True, ncols=60, mininterval=0.0)
    progress.attach(
        world.given(one.trainer),
        output_transform=lambda loss: {"loss": loss},
        state_attributes=["alpha"],
    )
    one.trainer.state.alpha = 1
    one.trainer.run(BATCHES, max_epochs=2)
    drawn = re.sub(r"\[\d\d:\d\d<\d\d:\d\d\]|\s+", " ", out.getvalue().replace("\r", "\n"))
    return re.findall(r"Epoch \[\d/\d\].*?(?=Epoch|$)", drawn)


@trying(PROBES, "FBResearchLogger")
def lines(world: World, folder: Path) -> Any:
    """The lines that it writes, less the times in them."""
    one, out = Training(world), io.StringIO()
    logger = logging.Logger("lines", logging.INFO)
    logger.addHandler(logging.StreamHandler(out))
    H.FBResearchLogger(logger, show_output=True).attach(
        one.trainer, "Train", every=2, optimizer=one.optimizer
    )
    one.trainer.run(BATCHES, max_epochs=2)
    return re.sub(r"\d+:\d\d:\d\d|\d+\.\d{4} s", "T", out.getvalue()).splitlines()


def _idle(engine: Any) -> None:
    """A handler to be timed."""


@trying(PROBES, "BasicTimeProfiler")
def basic_profiler(world: World, folder: Path) -> Any:
    """How often each event, the data and the step were timed; twice, as it cleans up behind a run.

    What handlers of STARTED take is not among it.
    """
    one, profiler = Training(world), H.BasicTimeProfiler()
    profiler.attach(world.given(one.trainer))
    for event in (Events.EPOCH_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        one.trainer.add_event_handler(event, _idle)
    found = []
    for _ in range(2):
        one.trainer.run(BATCHES, max_epochs=2)
        timed = {
            event.name: int((times > 0).sum())
            for event, times in profiler.event_handlers_times.items()
            if event != Events.STARTED
        }
        parts = [int((t > 0).sum()) for t in (profiler.processing_times, profiler.dataflow_times)]
        names = {
            one.name: names
            for one, names in profiler.event_handlers_names.items()
            if one != Events.STARTED
        }
        found.append((timed, parts, names, sorted(profiler.get_results())))
    profiler.write_results(str(folder / "times.csv"))
    return found, len((folder / "times.csv").read_text().splitlines())


@trying(PROBES, "HandlersTimeProfiler")
def handlers_profiler(world: World, folder: Path) -> Any:
    """How often each handler was timed; filtered ones not, as theirs are only if they take long."""
    one, profiler = Training(world), H.HandlersTimeProfiler()
    for event in (Events.EPOCH_STARTED, Events.ITERATION_COMPLETED, Events.COMPLETED):
        one.trainer.add_event_handler(event, _idle)
    profiler.attach(world.given(one.trainer))
    one.trainer.run(BATCHES, max_epochs=2)
    counted = sorted(
        (getattr(event, "name", event), name, len(times))
        for event, by_name in profiler.event_handlers_times.items()
        for name, times in by_name.items()
        if event != Events.STARTED
    )
    rows = sorted(row[:2] for row in profiler.get_results() if row[1] != "STARTED")
    kept = one.trainer.has_event_handler(_idle, Events.ITERATION_COMPLETED)
    return counted, rows, len(profiler.processing_times), len(profiler.dataflow_times), kept


@trying(PROBES, "global_step_from_engine")
def global_step(world: World, folder: Path) -> Any:
    """The trainer's count, asked for by the evaluator; the epoch for events that nobody counts."""
    one, seen = Training(world), []
    one.trainer.register_events("own")
    ways = [
        H.global_step_from_engine(one.trainer),
        H.global_step_from_engine(one.trainer, Events.ITERATION_COMPLETED(every=2)),
        H.global_step_from_engine(one.trainer, "own"),
        H.global_step_from_engine(one.trainer, "own", fallback_attr="iteration"),
    ]
    one.evaluator.add_event_handler(
        Events.COMPLETED,
        lambda engine: seen.append([way(engine, Events.EPOCH_COMPLETED) for way in ways]),
    )
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: one.evaluator.run(BATCHES))
    one.trainer.run(BATCHES, max_epochs=2)
    return seen
