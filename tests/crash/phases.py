"""What a run does at the moment, for whoever kills it; and the blow, where it kills itself.

A phase is written to memory that the file system keeps, so it is still there when the process is
not. In a store every call of the operating system counts as a moment of its own.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass

from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.handler import Handler

PHASES = [
    "nothing",
    "begin",
    "fetch",
    "step",
    "backward",  # a batch's gradients are there, and the optimizer has not stepped with them
    "handlers",  # of ITERATION_COMPLETED
    "validation",
    "epoch_end",
    "save",
    "prune",
    "end",
]
_CALLS = ["open", "write", "fsync", "mkdir", "rename", "unlink", "rmdir"]


@dataclass
class Kill:
    """What befalls a run: how, in which phase, and when this is entered for the how-manieth time.

    Attributes:
        how: the name of a signal; ``"error"``, which the phase's handler raises; or ``"bell"``,
            which is told to the one who waits for it with a weapon of his own.
    """

    phase: str
    number: int
    how: str

    @classmethod
    def parse(cls, text):
        phase, number, how = text.split(":")
        if phase not in PHASES:
            raise ValueError(f"no phase {phase!r}")
        return cls(phase, int(number), how)

    def __str__(self):
        return f"{self.phase}:{self.number}:{self.how}"

    def strike(self, bell):
        if self.how == "error":
            raise RuntimeError(f"the blow {self}")
        if self.how == "bell":
            bell()
        else:
            os.kill(os.getpid(), signal.Signals[self.how])


class Board:
    """Where the phases of a process stand: that of the loop, and that of the store."""

    def __init__(self, path, kill=None, bell=None):
        with path.open("w+b") as file:
            file.truncate(2)
            self._memory = mmap.mmap(file.fileno(), 2)
        self._counts = dict.fromkeys(PHASES, 0)
        self._kill, self._bell = kill, bell
        self._storing = None  # the thread that the store works in

    def enter(self, phase, *, store=False):
        """Note the phase, and strike if this is the moment for it."""
        self._memory[1 if store else 0] = PHASES.index(phase)
        self._counts[phase] += 1
        kill = self._kill
        if kill and kill.phase == phase and kill.number == self._counts[phase]:
            kill.strike(self._bell)

    @property
    def now(self):
        return PHASES[self._memory[0]]

    @contextmanager
    def storing(self, phase):
        """Within it, each call of the operating system in this thread enters the phase."""
        self._storing = threading.get_ident(), phase
        try:
            self.enter(phase, store=True)
            yield
        finally:
            self._storing = None
            self._memory[1] = 0

    def watch_calls(self):
        """Have the calls of the operating system tell that they are about to happen."""
        for name in _CALLS:
            setattr(os, name, self._telling(getattr(os, name), halved=name == "write"))

    def _telling(self, call, *, halved):
        def told(*arguments, **options):
            thread, phase = self._storing or (None, None)
            if thread != threading.get_ident():
                return call(*arguments, **options)
            done = 0
            if halved:  # what is killed may leave half a file
                file, data = arguments
                done = call(file, data[: len(data) // 2])
                arguments = file, data[done:]
            self.enter(phase, store=True)
            result = call(*arguments, **options)
            return done + result if halved else result

        return told


def read(path):
    """The phase that a process is in, or was when it ended; that of its store, if it has one."""
    loop, store = path.read_bytes()
    return PHASES[store or loop]


class MarkedStore(CheckpointStore):
    """A store that tells when it saves and prunes."""

    def __init__(self, directory, board):
        super().__init__(directory)
        self.board = board

    def save(self, *arguments, **options):
        with self.board.storing("save"):
            return super().save(*arguments, **options)

    def prune(self, *arguments, **options):
        with self.board.storing("prune"):
            super().prune(*arguments, **options)


class Phases(Handler):
    """Tells in which phase a trainer is."""

    priority = "HIGHEST"

    def __init__(self, board):
        self.board = board

    def get_batch_started(self, engine):
        self.board.enter("fetch")

    def forward_started(self, engine):
        self.board.enter("step")

    def backward_completed(self, engine):
        self.board.enter("backward")

    def optimizer_stepped(self, engine):
        self.board.enter("step")

    def iteration_completed(self, engine):
        self.board.enter("handlers")

    def epoch_completed(self, engine):
        self.board.enter("epoch_end")

    def completed(self, engine):
        self.board.enter("end")


class Validation(Handler):
    """Tells that an evaluator runs within a trainer."""

    priority = "HIGHEST"

    def __init__(self, board):
        self.board = board
        self.outer = "nothing"

    def opened(self, engine):
        self.outer = self.board.now

    def iteration_started(self, engine):
        self.board.enter("validation")

    def closed(self, engine):
        self.board.enter(self.outer)
