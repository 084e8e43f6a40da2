"""What is written is also shipped."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from tests.architecture.library import FACADES, FILES, ROOT


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    return read


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {file.parent for file in FILES.values()}
    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_every_package_is_listed(setup: configparser.ConfigParser) -> None:
    assert set(setup["options"]["packages"].split()) == FACADES


def test_the_root_is_the_package(setup: configparser.ConfigParser) -> None:
    assert setup["options"]["package_dir"].split() == ["footplate", "=", "."]


def test_type_hints_ship(setup: configparser.ConfigParser) -> None:
    assert "py.typed" in setup["options.package_data"]["footplate"].split()
    assert (ROOT / "py.typed").exists()


def test_every_file_beside_the_modules_is_listed(setup: configparser.ConfigParser) -> None:
    listed = {
        path
        for package, patterns in setup["options.package_data"].items()
        for pattern in patterns.split(",")
        for path in _folder(package).glob(pattern.strip())
    }
    beside = {
        path
        for package in FACADES - {"footplate"}
        for path in _folder(package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert {str(path.relative_to(ROOT)) for path in beside - listed} == set()


def _folder(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])
