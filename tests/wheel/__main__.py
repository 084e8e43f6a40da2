"""Installs the wheel on several Pythons, and tries it out: ``python -m tests.wheel [VERSION …]``.

For each version, 3.11, 3.12 and 3.13 by default, it makes an environment in a temporary folder,
installs ``footplate[recipes]`` in the versions of ``constraints.txt`` from the package index, and
trains the digits recipe for an epoch. It needs room for a build of torch, and some minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.wheel.outside import ROOT, built_wheel, new_environment, told, try_out

VERSIONS = ["3.11", "3.12", "3.13"]


def python(version: str) -> str | None:
    """A Python of a version: one on the path, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    found = shutil.which(f"python{version}")
    for one in [found, *map(str, candidates)]:
        if (
            one
            and subprocess.run([one, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return one
    return None


def try_on(version: str, wheel: Path) -> str:
    """What came of one version."""
    interpreter = python(version)
    if interpreter is None:
        return "left out: there is no such Python here"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        programs = new_environment(interpreter, Path(name))
        constraints = ROOT / "constraints.txt"
        pip = [programs / "python", "-m", "pip", "install", "--constraint", constraints]
        told(*pip, f"{wheel}[recipes]", folder=Path(name))
        try_out(programs, Path(name))
        torch = told(
            programs / "python", "-c", "import torch; print(torch.__version__)", folder=Path(name)
        )
    return f"works, with torch {torch.strip()}, in {time.monotonic() - begun:.0f} s"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        built = built_wheel(Path(folder))
        for one in sys.argv[1:] or VERSIONS:
            print(f"Python {one}: {try_on(one, built)}", flush=True)
