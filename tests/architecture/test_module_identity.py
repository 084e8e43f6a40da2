"""Every module is loaded once, under one name: a second copy of a class is another class."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.architecture.library import FILES, ROOT


def _misnamed(modules: dict[str, object]) -> list[str]:
    """Loaded modules of the checkout whose name does not begin with the package's or tests'."""
    found = []
    for name, module in modules.items():
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.split(".")[0] in ("footplate", "tests"):
            continue
        if not Path(file).is_absolute():  # made up, as that of torch.ops
            continue
        path = Path(file).resolve()
        # the environment of `make test` lies in the checkout, too
        if path.is_relative_to(ROOT) and not path.is_relative_to(Path(sys.prefix).resolve()):
            found.append(f"{name} is {path.relative_to(ROOT)}")
    return found


def test_modules_have_their_true_names() -> None:
    for name in FILES:
        importlib.import_module(name)
    assert _misnamed(dict(sys.modules)) == []


def test_each_file_is_loaded_once() -> None:
    files = [
        module.__file__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "footplate" and getattr(module, "__file__", None)
    ]
    assert len(files) == len(set(files))
    assert {Path(file).resolve() for file in files} <= set(FILES.values())


def test_a_second_copy_is_seen() -> None:
    bus = sys.modules["footplate.engine.bus"]
    assert _misnamed({"engine.bus": bus}) == ["engine.bus is engine/bus.py"]
