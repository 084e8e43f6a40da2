"""Processes of one world that a test starts, signals and outlives."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.distributed.launching import free_port, surroundings

__all__ = ["Nursery", "World"]

START = "from tests.distributed.processes import nurse; nurse()"


class Nursery:
    """A process that has imported what takes seconds, and is forked into those of a world.

    Args:
        module: whose ``main()`` they run.
        folder: where they write what they say.
    """

    def __init__(self, module: str, folder: Path) -> None:
        self.folder = folder
        self.worlds = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, module],
            env=surroundings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, *question: Any) -> Any:
        """Have it fork a process, or tell how one has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        return json.loads(self._process.stdout.readline())

    def world(self, *args: str, size: int = 2, **environment: str) -> World:
        """Processes as a launcher starts them, which know of each other.

        Args:
            args: of their command line.
            size: how many.
            environment: variables besides.
        """
        self.worlds += 1
        return World(self, args, size, environment)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class World:
    """Processes of one world; :meth:`Nursery.world` starts them.

    Attributes:
        ended: when each was seen to have ended, by ``time.monotonic()``.
    """

    def __init__(
        self, nursery: Nursery, args: tuple[str, ...], size: int, environment: dict[str, str]
    ) -> None:
        self._nursery = nursery
        self._files = [nursery.folder / f"world{nursery.worlds}.{rank}" for rank in range(size)]
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        together |= {"WORLD_SIZE": str(size), **environment}
        self.pids: list[int] = [
            nursery.ask(
                "fork", args, {**together, "RANK": str(rank), "LOCAL_RANK": str(rank)}, str(file)
            )
            for rank, file in enumerate(self._files)
        ]
        self.ended: list[float] = [0.0] * size
        self._codes: list[int | None] = [None] * size

    def wait_for(self, what: str, value: Any = None, *, rank: int = 0, seconds: float = 60) -> None:
        """Wait until a process has said something."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            over = self._code(rank) is not None
            if any(said == what and value in (None, one) for said, one in self._lines(rank)):
                return
            assert not over, self.errors[rank]
            time.sleep(0.005)
        raise AssertionError(f"rank {rank} did not say {what} {value} in {seconds} s")

    def send(self, signum: int, *ranks: int) -> float:
        """Send a signal; return when that was."""
        for rank in ranks:
            os.kill(self.pids[rank], signum)
        return time.monotonic()

    def wait(self, rank: int, seconds: float = 60) -> int:
        """How a process has ended."""
        until = time.monotonic() + seconds
        while (code := self._code(rank)) is None:
            assert time.monotonic() < until, f"rank {rank} still runs after {seconds} s"
            time.sleep(0.005)
        return code

    def codes(self, seconds: float = 60) -> list[int]:
        """How all have ended."""
        until = time.monotonic() + seconds
        return [self.wait(rank, until - time.monotonic()) for rank in range(len(self.pids))]

    def said(self, what: str) -> list[Any]:
        """The last that each process has said of something; ``None`` for nothing."""
        every = map(self._lines, range(len(self.pids)))
        return [
            next((one for said, one in reversed(lines) if said == what), None) for lines in every
        ]

    @property
    def errors(self) -> list[str]:
        """What each process has written to its standard error."""
        return [file.with_suffix(f"{file.suffix}.err").read_text() for file in self._files]

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for rank, pid in enumerate(self.pids):
            if self._code(rank) is None:
                os.kill(pid, signal.SIGKILL)
                self.wait(rank)

    def _lines(self, rank: int) -> list[Any]:
        text = self._files[rank].read_text() if self._files[rank].exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in whole if line.startswith("[")]

    def _code(self, rank: int) -> int | None:
        if self._codes[rank] is None:
            self._codes[rank] = self._nursery.ask("code", self.pids[rank])
            self.ended[rank] = time.monotonic()
        return self._codes[rank]


def nurse() -> None:
    """Fork a process for each line that asks for one, and tell how they end."""
    module = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        kind, *question = json.loads(line)
        if kind == "fork":
            args, environment, file = question
            pid = os.fork()
            if not pid:
                _redirect(file)
                os.environ.update(environment)
                sys.argv[1:] = args
                return module.main()  # type: ignore[no-any-return]
            told: int | None = pid
        else:
            ended, status = os.waitpid(question[0], os.WNOHANG)
            told = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(told), flush=True)
    return None


def _redirect(file: str) -> None:
    """Have this process say what it says into files."""
    for name, stream, mode in ((os.devnull, 0, os.O_RDONLY), (file, 1, 0), (f"{file}.err", 2, 0)):
        flags = mode if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, stream)
        os.close(opened)
