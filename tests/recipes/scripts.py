"""The script of a recipe, run as people run it: to its end, or stopped on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Script", "run_of"]


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
        return subprocess.run(command, capture_output=True, text=True, check=False)

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
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                deadline = time.monotonic() + 240
                while not any(folder.glob(behind)):
                    assert process.poll() is None, process.communicate()[1]
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
                process.send_signal(by)
                out, err = process.communicate()
            finally:
                process.kill()
        assert process.returncode == (-by if by == signal.SIGKILL else 128 + by), err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_of(folder: Path) -> Path:
    """The folder of the only run in a folder of runs."""
    (run,) = folder.iterdir()
    return run
