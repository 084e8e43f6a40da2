"""The wheel runs outside the checkout, on the Python that runs the tests."""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.architecture.library import FILES, ROOT
from tests.wheel.outside import built_wheel, new_environment, told, try_out

pytest.importorskip("setuptools", "77")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"), "--no-build-isolation", "--no-index")


@pytest.mark.slow
def test_it_holds_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {f"footplate/{file.relative_to(ROOT).as_posix()}" for file in FILES.values()}
    assert {name for name in names if name.endswith(".py")} == modules
    assert "footplate/py.typed" in names
    assert {Path(name).suffix for name in names - modules} == {".typed", ".css", ".js", ".yaml"}


@pytest.mark.slow
@pytest.mark.covers("K1", "H6")
def test_it_trains_the_digits(wheel, tmp_path):
    programs = new_environment(sys.executable, tmp_path)
    told(
        programs / "python",
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        folder=tmp_path,
    )
    # What it needs is taken from here: an appended folder, whose own footplate is never reached.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    needed = programs.parent / "lib" / version / "site-packages" / "needed.pth"
    needed.write_text(sysconfig.get_path("purelib"))
    try_out(programs, tmp_path)
