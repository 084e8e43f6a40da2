"""Hooks of MMEngine are called in the order in which its own Runner calls them."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mmengine")

from footplate import Runner
from tests.golden.mmengine.make_orders import FOLDER, SCENARIOS, golden, order_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mmengine")


@pytest.mark.covers("A11", "E3")
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_order_is_that_of_mmengine(name):
    assert order_of(name, Runner) == json.loads((FOLDER / f"{name}.json").read_text())["order"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_files_are_what_mmengine_does(name):
    assert golden(name) == (FOLDER / f"{name}.json").read_text()
