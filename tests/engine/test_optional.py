"""Optional libraries: what is said where one is missing, and that it is so."""

from __future__ import annotations

import ast
import configparser

import pytest

from footplate.engine.optional import required
from tests.architecture.library import FILES, ROOT


def test_what_is_missing_is_told_with_the_extra_that_brings_it():
    with (
        pytest.raises(ImportError, match=r"it needs absent.*pip install 'footplate\[absent\]'"),
        required("absent", "it"),
    ):
        import absent
    with (
        pytest.raises(ImportError, match=r"it needs absent.*pip install 'footplate\[recipes\]'"),
        required("absent", "it", extra="recipes"),
    ):
        import absent  # noqa: F401


def test_a_part_of_a_missing_library_is_told_as_the_library():
    with pytest.raises(ImportError, match="needs absent, which"), required("absent", "it"):
        from absent.part import one  # noqa: F401


def test_what_is_missing_within_a_library_is_told_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import other_half")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'other_half'"),
        required("half_there", "it"),
    ):
        import half_there  # noqa: F401


def named() -> set[str]:
    """The extras that the library says somewhere to be installed."""
    calls = (
        node
        for file in FILES.values()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "required"
    )
    return {
        next((one.value.value for one in call.keywords if one.arg == "extra"), call.args[0].value)
        for call in calls
        if isinstance(call.args[0], ast.Constant)
    }


def test_every_extra_that_is_named_is_one():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert named() >= {"recipes", "deepspeed"}
    assert named() <= {*settings["options.extras_require"]}
