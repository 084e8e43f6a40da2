"""A configuration that is written, read and written again is the same."""

from __future__ import annotations

import functools
import math
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from footplate.recipes.config.layers import dump, load
from footplate.recipes.config.objects import Objects
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.references import escaped
from footplate.recipes.config.yaml_files import parsed

pytestmark = pytest.mark.covers("H4")


class Mode(Enum):
    MIN = "min"


class Level(IntEnum):
    LOW = 1


texts = st.text() | st.text("${}\\a:") | st.sampled_from(["on", "1e3", "2024-01-01", "???", "~"])
keys = texts.filter(lambda key: key not in ("_base_", "_delete_"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner),
)


@settings(deadline=None)
@given(st.dictionaries(keys, plain))
@example({"lr": 1e-05, "big": 1e20, "inf": -math.inf, "nan": math.nan})
@example({"a": {}, "b": [], "c": [{}], "d": ""})
@example({"a": "\\${x} ${", "${": 1})
def test_dump_load_dump_is_dump(tmp_path_factory, values):
    text = dump(values)
    path = tmp_path_factory.mktemp("dump") / "a.yaml"
    path.write_text(text, encoding="utf-8")
    found = load(path, environment={}).values
    assert dump(found) == text
    assert dump(load(parsed(text, "a"), environment={}).values) == text


@given(st.text("${}\\ab"))
def test_an_escaped_text_is_filled_in_to_itself(text):
    assert load({"a": escaped(text), "b": 1}, environment={}).values["a"] == text


def test_the_order_is_kept():
    assert list(parsed(dump({"z": 1, "a": {"y": 1, "b": 2}}), "a")) == ["z", "a"]


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (torch.optim.SGD, "torch.optim.SGD"),
        (torch.nn.Linear, "torch.nn.Linear"),
        (torch.nn.functional.relu, "torch.nn.functional.relu"),
        (len, "builtins.len"),
        (dict, "builtins.dict"),
        (Mode, f"{__name__}.Mode"),
        (Path("a/b"), "a/b"),
        (PurePosixPath("a"), "a"),
        ((1, (2,)), [1, [2]]),
        ({3, 1}, [1, 3]),
        (Mode.MIN, "min"),
        (Level.LOW, 1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (torch.nn.Linear(1, 1), {"type": "torch.nn.Linear", "_instance_": True}),
        (torch.ones(1), {"type": "torch.Tensor", "_instance_": True}),
        (np.ones(1), {"type": "numpy.ndarray", "_instance_": True}),
        (Fraction(1, 2), {"type": "fractions.Fraction", "_instance_": True}),
        (functools.partial(len), {"type": "functools.partial", "_instance_": True}),
        (b"a", {"type": "builtins.bytes", "_instance_": True}),
    ],
)
def test_what_is_not_plain_becomes_so(value, becomes):
    found = parsed(dump({"a": value}), "a")["a"]
    assert found == becomes
    assert type(found) is type(becomes)


def test_what_can_not_be_named_is_asked_for_again():
    for value in (torch.nn.Linear(1, 1), lambda: 1):
        found = load(parsed(dump({"net": value}), "a"), environment={}).values
        (problem,) = Objects().check(found["net"], "net")
        assert problem.reason == "it was an instance in the run that wrote this; give one"


def test_a_class_is_found_where_it_was_written():
    found = parsed(dump({"type": torch.optim.lr_scheduler.StepLR}), "a")
    assert Objects().find(found["type"]) is torch.optim.lr_scheduler.StepLR


@pytest.mark.parametrize("key", [1, None, "_base_", "_delete_"])
def test_keys_that_would_be_read_otherwise_are_refused(key):
    with pytest.raises(ConfigError, match=r"^a: the key .* (is no text|has a meaning of its own)"):
        dump({"a": {key: 1}})


def test_what_holds_itself_is_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(ConfigError, match=r"^a\[0\]: it holds itself"):
        dump({"a": circle})
    again = [1]
    assert parsed(dump({"a": again, "b": again}), "a") == {"a": [1], "b": [1]}
