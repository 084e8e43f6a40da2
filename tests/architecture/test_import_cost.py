"""``import footplate`` loads next to nothing, and importing any of it changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.library import FILES
from tests.architecture.test_imports import REQUIRED, TORCH_ALLOWED

CORE = [n for n in FILES if n.startswith("footplate.engine") and not TORCH_ALLOWED.match(n)]

PROBE = """
import importlib, json, logging, os, signal, sys, threading, warnings
from pathlib import Path

def world():
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.Logger.manager.loggerDict)]
    return {
        "threads": threading.active_count(),
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "log handlers": [repr(h) for logger in loggers for h in logger.handlers],
        "log level": logging.getLogger().level,
        "warning filters": list(map(repr, warnings.filters)),
        "hooks": [str(sys.excepthook), str(sys.displayhook), str(threading.excepthook)],
        "environment": dict(os.environ),
        "path": list(sys.path),
        "recursion limit": sys.getrecursionlimit(),
        "open files": os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else [],
        "files": sorted(map(str, Path.cwd().rglob("*"))),
        "torch": torch_world(sys.modules["torch"]) if "torch" in sys.modules else None,
    }

def torch_world(torch):
    return [
        torch.initial_seed(), torch.get_num_threads(), str(torch.get_default_dtype()),
        torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(),
    ]

first, then = json.loads(sys.argv[1])
for name in first:
    importlib.import_module(name)
before, loaded = world(), set(sys.modules)
for name in then:
    importlib.import_module(name)
after = world()
print(json.dumps({
    "changed": {key: [before[key], after[key]] for key in before if before[key] != after[key]},
    "loaded": sorted(set(sys.modules) - loaded),
}))
"""


def _import(folder: Path, then: list[str], first: Iterable[str] = ()) -> dict[str, Any]:
    """Import some modules, then others, in a process and a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, json.dumps([[*first], then])],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "said": done.stderr}


def test_the_facade_loads_nothing_else(tmp_path: Path) -> None:
    seen = _import(tmp_path, ["footplate"], first=("importlib", "__future__", "typing"))
    assert seen["loaded"] == ["footplate"]


@pytest.mark.parametrize("names", [["footplate"], CORE], ids=["facade", "core"])
def test_importing_changes_nothing_and_loads_no_torch(tmp_path: Path, names: list[str]) -> None:
    seen = _import(tmp_path, names)
    assert seen["changed"] == {}
    assert seen["said"] == ""
    loaded = {name.split(".")[0] for name in seen["loaded"]}
    assert loaded <= {*sys.stdlib_module_names, "blinker", "footplate"}


def test_importing_all_of_it_changes_no_more_than_its_libraries_do(tmp_path: Path) -> None:
    loaded = _import(tmp_path, list(FILES))["loaded"]
    theirs = [name for name in loaded if name.split(".")[0] in REQUIRED and "._" not in name]
    assert _import(tmp_path, list(FILES), first=theirs)["changed"] == {}
