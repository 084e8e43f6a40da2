"""The library as people have it: a wheel, installed in an environment away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = (".*", "__pycache__", "*.egg-info", "build", "docs", "runs", "tests")
SAYS_WHERE = (
    "import footplate, importlib.metadata as m; print(footplate.__file__, m.version('footplate'))"
)


def built_wheel(folder: Path, *options: str) -> Path:
    """Build the wheel from a copy of the sources: what earlier builds left would get into it."""
    sources = folder / "sources"
    shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheels, *options]
    told(*pip, sources, folder=folder)
    (wheel,) = wheels.glob("footplate-*.whl")
    return wheel


def new_environment(python: str | Path, folder: Path) -> Path:
    """Make an environment of a Python; the folder of its programs."""
    told(python, "-m", "venv", folder / "environment", folder=folder)
    return folder / "environment" / "bin"


def try_out(programs: Path, folder: Path) -> None:
    """Train the digits recipe for an epoch: the copied script, and the configuration."""
    where, _ = told(programs / "python", "-c", SAYS_WHERE, folder=folder).split()
    assert Path(where).is_relative_to(programs.parent), where
    footplate = programs / "footplate"
    assert "image_classification" in told(footplate, "recipes", folder=folder)

    told(footplate, "copy", "image_classification", "copied", folder=folder)
    script = ["copied/image_classification.py", "--epochs", "1", "--folder", "by_script"]
    assert "test accuracy" in told(programs / "python", *script, folder=folder)
    (report,) = folder.glob("by_script/*/report.html")
    assert "val_accuracy" in report.read_text()

    shortened = ["train_cfg.max_epochs=1", "work_dir=by_command"]
    told(footplate, "train", "image_classification", *shortened, folder=folder)
    assert list(folder.glob("by_command/**/model.safetensors"))


def told(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder, and return what it prints; an error if it fails."""
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
