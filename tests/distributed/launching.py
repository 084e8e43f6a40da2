"""Several real processes that know of each other by gloo, and functions called in all of them."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

__all__ = ["Ranks", "free_port", "surroundings"]

ROOT = Path(__file__).resolve().parents[2]
START = "from tests.distributed.launching import serve; serve()"


def free_port() -> int:
    """A port of this machine that nobody listens to.

    It is below those that systems hand out, so that nobody is given it before it is used.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # unlike `random`, no test seeds it
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def surroundings(**more: str) -> dict[str, str]:
    """The environment of a process of ours: it finds the tests, and talks to nobody else."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    ours = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return {**os.environ, **ours, **more}


class Ranks:
    """Processes of one world that stay, and call what they are told to.

    Starting them takes seconds, a call milliseconds; so a module of tests starts them once.

    Args:
        world_size: how many.
        folder: where they work.
        seconds: how long a call may take.
        behind: how long it may take in the others once one process has answered, if that is less.
    """

    def __init__(
        self, world_size: int, folder: Path, *, seconds: float = 60, behind: float = 60
    ) -> None:
        self.seconds = seconds
        self.behind = behind
        self.world_size = world_size
        together = surroundings(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE=str(world_size)
        )
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", START],
                cwd=folder,
                env={**together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            for rank in range(world_size)
        ]

    def as_many_as(self, world_size: int) -> Ranks:
        """The first so many of them as a world of their own; the others wait meanwhile."""
        if world_size != self.world_size:
            self.world_size = world_size
            self.call(f"{__name__}:join_anew", world_size, free_port())
        return self

    def call(self, function: str, *args: Any) -> list[Any]:
        """What ``module:function`` returns in each process, in the order of their ranks.

        Arguments and results travel as JSON.

        Raises:
            AssertionError: with the traceback of what it raised somewhere, or when it hangs.
        """
        asked = json.dumps([function, args]) + "\n"
        asked_of = self.processes[: self.world_size]
        for one in asked_of:
            assert one.stdin is not None
            one.stdin.write(asked)
        until = time.monotonic() + self.seconds
        told: list[Any] = [None] * len(asked_of)
        pending = dict(enumerate(asked_of))
        while pending:
            for rank in self._ready(pending, until):
                if (answer := self._answer(pending[rank])) is not None:
                    told[rank] = answer
                    del pending[rank]
                    until = min(until, time.monotonic() + self.behind)
        for rank, (_, error) in enumerate(told):
            assert error is None, f"rank {rank} of {len(told)}: {error}"
        return [result for result, _ in told]

    def _ready(self, pending: dict[int, subprocess.Popen[str]], until: float) -> list[int]:
        """Which of those that have not answered say something."""
        ranks = {one.stdout: rank for rank, one in pending.items()}
        ready, _, _ = select.select(list(ranks), [], [], max(until - time.monotonic(), 0))
        if not ready:
            self.close()
            raise AssertionError(f"no answer of {sorted(pending)} in {self.seconds} s")
        return [ranks[one] for one in ready]

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        """The next line, if it is an answer; others are what libraries print."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"process {process.pid} is gone")
        return json.loads(line.removeprefix(MARK)) if line.startswith(MARK) else None

    def close(self) -> None:
        """End them all."""
        for one in self.processes:
            one.kill()
            one.communicate()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


MARK = "\x02answer "


def join_anew(world_size: int, port: int) -> None:
    """Leave the world, and join one of so many."""
    import torch.distributed

    torch.distributed.destroy_process_group()
    os.environ.update(WORLD_SIZE=str(world_size), MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo")


def serve() -> None:
    """Join the others, and call what is asked for, one line each, until there is no more."""
    import torch.distributed

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    torch.distributed.init_process_group("gloo")
    for line in sys.stdin:
        function, args = json.loads(line)
        module, _, name = function.partition(":")
        try:
            told = [getattr(importlib.import_module(module), name)(*args), None]
        except BaseException:
            told = [None, traceback.format_exc()]
        print(MARK + json.dumps(told), file=answers, flush=True)
    os._exit(0)  # threads that libraries leave behind may end an interpreter with an abort
