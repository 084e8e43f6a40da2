"""The recipes learn as they did when their golden curves were written."""

from __future__ import annotations

import functools
import json

import pytest

from tests.golden.make_loss_curves import FOLDER, RECIPES, curve

RELATIVE = 1e-4
"""Kernels differ between AVX2 and AVX-512, and rounding adds up."""

OPPOSED = {"image_generation"}
"""Recipes whose losses are of networks that train against each other, so that one may rise."""


@functools.cache
def once(recipe):
    return curve(recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_curve_is_the_golden_one(recipe):
    golden = json.loads((FOLDER / f"{recipe}.json").read_text())
    found = once(recipe)
    assert found.keys() == golden.keys()
    for name, points in golden.items():
        assert [iteration for iteration, _ in found[name]] == [iteration for iteration, _ in points]
        expected = pytest.approx([loss for _, loss in points], rel=RELATIVE)
        assert [loss for _, loss in found[name]] == expected, name
        if recipe not in OPPOSED:
            assert points[-1][1] < points[0][1], f"{name} does not fall"


def test_every_golden_curve_is_compared():
    assert {path.stem for path in FOLDER.iterdir()} == RECIPES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_runs_on_one_machine_are_equal_to_the_bit(recipe):
    assert curve(recipe) == once(recipe)
