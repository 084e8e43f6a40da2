"""The script of a recipe, run as people run it: to its end, or stopped on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

__all__ = ["Script", "run_of"]

LONGEST = 240  # seconds


@dataclass(frozen=True)
class Script:
    """A recipe's script; each run is a process of its own.

    Attributes:
        recipe: the recipe's name.
    """

    recipe: str

    @property
    def command(self) -> list[str]:
        """What begins it, without options."""
        return [sys.executable, "-m", f"footplate.recipes.{self.recipe}"]

    def ran(self, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """A run that is over, well or not."""
        command = [*self.command, "--folder", str(folder), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)

    def printed(self, folder: Path, *options: str) -> str:
        """What a run prints; it has to end well."""
        run = self.ran(folder, *options)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def stopped(
        self,
        folder: Path,
        *options: str,
        behind: str = "*/checkpoints/0*",
        by: signal.Signals = signal.SIGKILL,
    ) -> subprocess.CompletedProcess[str]:
        """A run that got a signal as soon as there was a checkpoint, before it was over."""
        command = [*self.command, "--folder", str(folder), *options]
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            with subprocess.Popen(command, stdout=out, stderr=err) as process:
                try:
                    deadline = time.monotonic() + LONGEST
                    while not any(folder.glob(behind)) and process.poll() is None:
                        assert time.monotonic() < deadline, f"no {behind} in {LONGEST} s"
                        time.sleep(0.002)
                    process.send_signal(by)
                    process.wait(LONGEST)
                finally:
                    process.kill()
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read())
        assert process.returncode == (-by if by == signal.SIGKILL else 128 + by), said[1]
        return subprocess.CompletedProcess(command, process.returncode, *said)


def run_of(folder: Path) -> Path:
    """The folder of the only run in a folder of runs."""
    (run,) = folder.iterdir()
    return run
