"""Runs of the child: killed, resumed, and killed again, until one comes to its end."""

from __future__ import annotations

import functools
import itertools
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.phases import Kill, read

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "plain": (),
    "fp16": ("--precision=fp16",),
    "background": ("--background",),
    "workers": ("--workers=2",),
    "persistent": ("--workers=2", "--persistent"),
    "listening": ("--listen",),
}
STRATA = ["fetch", "step", "backward", "validation", "epoch_end", "save", "prune"]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_STATUS = {"error": 1, "SIGTERM": 143, "SIGUSR1": 138, "SIGINT": 130, "SIGKILL": -9, "bell": -9}
_LONGEST = 120  # seconds
_ROUNDS = 50  # of four runs; more would not help
_SOON = {"epoch_end": 1, "save": 60, "prune": 30}  # times that a phase is entered, at most


@dataclass
class Life:
    """A run from its beginning to its end, through all that befell it.

    Attributes:
        folder: where it was led.
        deaths: the phases that its processes ended in, but for the last one.
        reached: the last iterations that these had completed.
        result: what it left.
        output: what its processes printed.
    """

    folder: Path
    deaths: list[str] = field(default_factory=list)
    reached: list[int] = field(default_factory=list)
    result: str = ""
    output: str = ""

    @property
    def resumed(self):
        """The iterations behind which its processes went on, but for the first one."""
        return [int(number) for number in re.findall(r"resumed at iteration (\d+)", self.output)]


class Lane:
    """Runs one child after the other, each forked from a warm process.

    Args:
        child: the child's module, and what it warms up with.
    """

    def __init__(self, child=("tests.crash.child",)):
        command = [sys.executable, "-m", "tests.crash.server", *child]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen(command, **_surroundings(), **pipes)

    def close(self):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def __call__(self, arguments, output, delay=0.0):
        """Run a child; kill it so many seconds behind its bell. Returns its exit status."""
        self._server.stdin.write(json.dumps([arguments, str(output)]).encode() + b"\n")
        self._server.stdin.flush()
        process, told = self._told()["process"], self._told()
        if "bell" in told:
            time.sleep(delay)
            with suppress(ProcessLookupError):  # it has come to its end
                os.kill(process, signal.SIGKILL)
            told = self._told()
        return told["status"]

    def _told(self):
        return json.loads(self._server.stdout.readline())


class Lanes:
    """Leads several lives at a time."""

    def __init__(self, number=2, **options):
        self._free = queue.SimpleQueue()
        self._lanes = [Lane(**options) for _ in range(number)]
        for lane in self._lanes:
            self._free.put(lane)
        self._pool = ThreadPoolExecutor(number)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._pool.shutdown(cancel_futures=True)
        for lane in self._lanes:
            lane.close()

    def lead(self, *arguments, run=None, **options):
        """Begin to :func:`live`; a future."""
        return self.submit(lambda lane: live(run or lane, *arguments, **options))

    def submit(self, work):
        """Begin ``work(lane)`` as soon as a lane is free; a future."""
        return self._pool.submit(self._with_lane, work)

    def _with_lane(self, work):
        lane = self._free.get()
        try:
            return work(lane)
        finally:
            self._free.put(lane)


def afresh(arguments, output, delay=0.0):
    """Run a child as a user does, in a process that begins with nothing."""
    command = [sys.executable, "-m", "tests.crash.child", *arguments]
    with output.open("a") as file:
        options = {"stdout": file, "stderr": file, "timeout": _LONGEST}
        return subprocess.run(command, check=False, **_surroundings(), **options).returncode


def live(run, folder, setting, kills=(), delay=lambda: 0.0):
    """Lead a run to its end, whatever befalls it.

    Args:
        run: a lane, or :func:`afresh`.
        folder: the run's, new.
        setting: the name of what it is run with.
        kills: what befalls the first process, the second, …; the one behind them comes to its
            end.
        delay: draws how many seconds behind a bell the kill comes.

    Raises:
        AssertionError: if a process ends in another way than it should.
    """
    life, output, pending = Life(folder), folder.with_suffix(".out"), iter(kills)
    while True:
        kill = next(pending, None)
        arguments = [str(folder), *SETTINGS[setting]]
        arguments += ["--resume"] if life.deaths else []
        arguments += [f"--kill={kill}"] if kill else []
        status = run(arguments, output, delay())
        life.output = output.read_text()
        if status == 0:
            life.result = (folder / "result.json").read_text()
            return life
        expected = _STATUS[kill.how] if kill else 0
        assert status == expected, f"{status} in place of {expected} for {kill}: {life.output}"
        life.deaths.append(read(folder / "board"))
        journal = folder / "journal"
        life.reached.append(journal.read_text().count("samples") if journal.exists() else 0)


def at_random(lanes, folder, references, *, kills, least, seed):
    """Kill runs from outside at random moments, until enough have died in each phase.

    A kill is aimed at a phase, when this is entered for a random time, and comes a random time
    behind that; what counts is the phase that the process was in when it died.

    Args:
        lanes: where they run.
        folder: for their folders.
        references: the results of runs that nothing befell, by setting; these take turns.
        kills: how many, at least.
        least: how many in each phase, at least.
        seed: for what is random.

    Returns:
        how many died in each phase, and the folders of the runs that did not come to the same.
    """
    draw, deaths, differing = random.Random(seed), Counter(), []
    settings = itertools.cycle(references)
    for number in range(_ROUNDS):
        lacking = [phase for phase in STRATA if deaths[phase] < least]
        if deaths.total() >= kills and not lacking:
            break
        aims, begun = _aims(draw, STRATA if deaths.total() < kills else lacking), []
        for each, setting in zip(range(4), settings, strict=False):
            place, own = folder / f"{number}-{each}", random.Random(draw.random())
            led = lanes.lead(place, setting, aims[each::4], delay=functools.partial(_delay, own))
            begun.append((place, setting, led))
        for place, setting, led in begun:
            deaths.update(led.result().deaths)
            if led.result().result != references[setting]:
                differing.append(place)
    return deaths, differing


def _aims(draw, phases):
    """Twenty kills, spread over the phases, each to come soon."""
    chosen = list(itertools.islice(itertools.cycle(phases), 20))
    draw.shuffle(chosen)
    return [Kill(one, draw.randint(1, _SOON.get(one, 8)), "bell") for one in chosen]


def _delay(draw):
    return draw.choice([0, draw.uniform(0, 0.003)])


def _surroundings():
    return {"cwd": ROOT, "env": {**os.environ, **_ONE_THREAD}}
