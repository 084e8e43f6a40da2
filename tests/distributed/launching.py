"""Several real processes that know of each other by gloo, and functions called in all of them."""

from __future__ import annotations

import importlib
import json
import os
import select
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Ranks", "free_port", "surroundings"]

ROOT = Path(__file__).resolve().parents[2]
START = "from tests.distributed.launching import serve; serve()"


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
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
    """

    def __init__(self, world_size: int, folder: Path, *, seconds: float = 60) -> None:
        self.seconds = seconds
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

    def call(self, function: str, *args: Any) -> list[Any]:
        """What ``module:function`` returns in each process, in the order of their ranks.

        Arguments and results travel as JSON.

        Raises:
            AssertionError: with the traceback of what it raised somewhere, or when it hangs.
        """
        asked = json.dumps([function, args]) + "\n"
        for one in self.processes:
            assert one.stdin is not None
            one.stdin.write(asked)
        until = time.monotonic() + self.seconds
        told = [self._answer(one, until) for one in self.processes]
        for rank, (_, error) in enumerate(told):
            assert error is None, f"rank {rank} of {len(told)}: {error}"
        return [result for result, _ in told]

    def _answer(self, process: subprocess.Popen[str], until: float) -> Any:
        """The next line that is an answer; others are what libraries print."""
        assert process.stdout is not None
        while True:
            left = until - time.monotonic()
            ready, _, _ = select.select([process.stdout], [], [], max(left, 0))
            if not ready:
                self.close()
                raise AssertionError(f"no answer in {self.seconds} s")
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"process {process.pid} is gone")
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))

    def close(self) -> None:
        """End them all."""
        for one in self.processes:
            one.kill()
            one.communicate()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


MARK = "\x02answer "


def serve() -> None:
    """Join the others, and call what is asked for, one line each, until there is no more."""
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    for line in sys.stdin:
        function, args = json.loads(line)
        module, _, name = function.partition(":")
        try:
            told = [getattr(importlib.import_module(module), name)(*args), None]
        except BaseException:
            told = [None, traceback.format_exc()]
        print(MARK + json.dumps(told), flush=True)
    os._exit(0)  # threads that libraries leave behind may end an interpreter with an abort
