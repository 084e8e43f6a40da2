"""A manifest is read as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from footplate.engine.checkpoints.manifest import Manifest, differences
from footplate.engine.errors import StateError

MANIFEST = Manifest(run="r", iteration=3, epoch=1, files={"state.pt": (5, "0" * 64)})


def changed(**values: object) -> str:
    return json.dumps({**json.loads(MANIFEST.to_json()), **values})


def test_numbers_that_are_not_finite_survive():
    metrics = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": np.float64(0.1)}
    read = Manifest.from_json(replace(MANIFEST, metrics=metrics, score=-math.inf).to_json())
    assert math.isnan(read.metrics.pop("a"))
    assert read.metrics == {"b": math.inf, "c": -math.inf, "d": 0.1}
    assert read.score == -math.inf


def test_what_the_user_adds_survives_but_for_tuples():
    read = Manifest.from_json(replace(MANIFEST, config={"betas": (0.9, 0.99)}).to_json())
    assert read.config == {"betas": [0.9, 0.99]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", ""),
        ("run", 3),
        ("iteration", -1),
        ("iteration", 1.0),
        ("iteration", True),
        ("epoch", "1"),
        ("number", None),
        ("exact", 1),
        ("left_out", [1]),
        ("left_out", "optimizer"),
        ("error", 3),
        ("metrics", {"a": "0.5"}),
        ("metrics", [0.5]),
        ("score", math.nan),
        ("score", "0.5"),
        ("seed", 0.5),
        ("config", []),
        ("meta", None),
        ("files", {"../state.pt": [5, "0" * 64]}),
        ("files", {"a\\b": [5, "0" * 64]}),
        ("files", {"..": [5, "0" * 64]}),
        ("files", {"": [5, "0" * 64]}),
        ("files", {"state.pt": [-5, "0" * 64]}),
        ("files", {"state.pt": [5.0, "0" * 64]}),
        ("files", {"state.pt": [5, "0" * 63]}),
        ("files", {"state.pt": [5, "0" * 63 + "\n"]}),
        ("files", {"state.pt": 5}),
        ("files", ["state.pt"]),
        ("versions", {"torch": 2}),
        ("machine", 3),
    ],
)
def test_wrong_types_are_refused(name, value):
    with pytest.raises(StateError, match=f"'{name}' of a manifest is"):
        Manifest.from_json(changed(**{name: value}))


@pytest.mark.parametrize("number", [0, 2, "1", None, True, 1.5])
def test_another_format_is_refused(number):
    with pytest.raises(StateError, match="format"):
        Manifest.from_json(changed(format=number))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, b"\xff\xfe\xfd", "{}", "null"])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(StateError):
        Manifest.from_json(text)


def test_keys_of_a_later_version_are_named():
    with pytest.raises(StateError, match="'colour'"):
        Manifest.from_json(changed(colour="red"))


def test_missing_keys_are_named():
    with pytest.raises(StateError, match=r"lacks \['epoch', 'iteration'\]|'iteration', 'epoch'"):
        Manifest.from_json(json.dumps({"run": "r", "format": 1}))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, torch.ones(1)]}, r"config\['a'\]\[1\] of a manifest is a torch.Tensor"),
        ({1: 2}, "the key 1"),
    ],
)
def test_what_is_no_json_is_refused_where_it_is_made(value, said):
    with pytest.raises(TypeError, match=said):
        replace(MANIFEST, config=value)


def test_nothing_differs_here():
    assert differences(Manifest.from_json(MANIFEST.to_json())) == []


def test_what_differs_is_said():
    there = replace(
        MANIFEST,
        versions={**MANIFEST.versions, "torch": "2.0.1", "of_old": "1"},
        machine={
            "threads": 99,
            "interop_threads": torch.get_num_interop_threads(),
            "cpu": "ALTIVEC",
            "accelerators": ["Abacus"],
        },
    )
    assert differences(there) == [
        f"torch was 2.0.1 and is {torch.__version__}",
        f"the number of threads was 99 and is {torch.get_num_threads()}",
        f"the CPU's capability was ALTIVEC and is {torch.backends.cpu.get_cpu_capability()}",
        f"the list of accelerators was Abacus and is {accelerators()}",
    ]


def accelerators() -> str:
    count = torch.cuda.device_count()
    return ", ".join(torch.cuda.get_device_name(number) for number in range(count)) or "none"
