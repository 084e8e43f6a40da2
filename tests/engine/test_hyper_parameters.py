"""Hyper-parameters become plain values, and what they made can be made again."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from footplate.engine.errors import StateError
from footplate.engine.hyper_parameters import hyper_parameters, rebuilt

pytestmark = pytest.mark.covers("H7")


class Mode(Enum):
    MIN = "min"
    MAX = "max"


class Level(IntEnum):
    LOW = 1


@dataclass
class Optimizer:
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    mode: Mode = Mode.MIN


@dataclass(frozen=True)
class Run:
    name: str
    root: Path
    optimizer: Optimizer
    others: list[Optimizer] = field(default_factory=list)
    named: dict[str, Optimizer] = field(default_factory=dict)
    spare: Optimizer | None = None
    old: Optional[Path] = None  # noqa: UP045
    sizes: tuple[int, ...] = ()
    pair: tuple[Path, Optimizer] | None = None
    anything: Any = None
    size: int = field(init=False, default=3)


RUN = Run(
    name="a",
    root=Path("data/x"),
    optimizer=Optimizer(0.1, (0.8, 0.9), Mode.MAX),
    others=[Optimizer(0.2), Optimizer(0.3)],
    named={"head": Optimizer(0.4)},
    spare=Optimizer(0.5),
    old=Path("old"),
    sizes=(1, 2, 3),
    pair=(Path("p"), Optimizer(0.6)),
    anything=[1, {"a": None}],
)


def test_a_data_class_becomes_plain_and_itself_again():
    saved = hyper_parameters(RUN)
    assert saved["optimizer"] == {"lr": 0.1, "betas": [0.8, 0.9], "mode": "max"}
    assert saved["root"] == str(Path("data/x"))
    assert saved["pair"] == ["p", {"lr": 0.6, "betas": [0.9, 0.999], "mode": "min"}]
    assert "size" not in saved
    through = json.loads(json.dumps(saved))
    assert through == saved
    assert rebuilt(Run, through) == RUN


def test_arguments_of_a_constructor():
    class Net:
        def __init__(self, sizes, /, dropout=0.1, *rest, act="relu", **more):
            _private = torch.ones(1)
            self.saved = hyper_parameters(locals(), ignore=("act",))
            self.call = (sizes, dropout, rest, act, more)
            __class__  # noqa: B018 - what super() leaves in locals()

    net = Net((1, 2), 0.2, 3, 4, act="tanh", depth=5)
    assert net.saved == {"sizes": [1, 2], "dropout": 0.2, "rest": [3, 4], "more": {"depth": 5}}
    assert rebuilt(Net, net.saved).call == ([1, 2], 0.2, (3, 4), "relu", {"depth": 5})
    assert rebuilt(Net, {"sizes": [1], "width": 9}).call[-1] == {"width": 9}


@pytest.mark.parametrize(
    "source",
    [
        {"lr": 0.1, "sizes": (1, 2)},
        OrderedDict(lr=0.1, sizes=[1, 2]),
        argparse.Namespace(lr=0.1, sizes=[1, 2]),
        SimpleNamespace(lr=np.float64(0.1), sizes=(np.int64(1), Level.LOW + 1), _hidden=print),
    ],
)
def test_mappings_and_namespaces(source):
    saved = hyper_parameters(source)
    assert saved == {"lr": 0.1, "sizes": [1, 2]}
    assert type(saved["lr"]) is float
    assert [type(one) for one in saved["sizes"]] == [int, int]


def test_values_become_those_of_json():
    source = {
        "mode": Mode.MAX,
        "level": Level.LOW,
        "path": PurePosixPath("a/b"),
        "text": np.str_("t"),
        "half": np.float32(0.5),
        "inf": math.inf,
        "yes": True,
        "nothing": None,
        "deep": {"a": [{"b": (1,)}], "n": argparse.Namespace(x=1)},
    }
    saved = hyper_parameters(source)
    assert saved == {
        "mode": "max",
        "level": 1,
        "path": "a/b",
        "text": "t",
        "half": 0.5,
        "inf": math.inf,
        "yes": True,
        "nothing": None,
        "deep": {"a": [{"b": [1]}], "n": {"x": 1}},
    }
    assert [type(saved[name]) for name in ("level", "text", "yes")] == [int, str, bool]


def test_what_is_saved_is_no_part_of_the_source():
    source = {"sizes": [1], "deep": {"a": 1}}
    saved = hyper_parameters(source)
    saved["sizes"].append(2)
    saved["deep"]["b"] = 2
    assert source == {"sizes": [1], "deep": {"a": 1}}
    made = rebuilt(lambda sizes: sizes, {"sizes": [1]} | (kept := {"sizes": [1]}))
    made.append(2)
    assert kept == {"sizes": [1]}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text().filter(lambda n: n != "self" and n[:1] != "_"), plain))
def test_plain_values_stay_as_they_are(source):
    saved = hyper_parameters(source)
    assert saved == source
    assert json.loads(json.dumps(saved)) == source


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        (print, "'a'", "builtin_function_or_method"),
        (torch.ones(1), "'a'", "of type torch.Tensor"),
        (np.ones(1), "'a'", "of type numpy.ndarray"),
        (torch.nn.Linear, "'a'", "the class torch.nn.modules.linear.Linear"),
        (Optimizer, "'a'", "the class .*Optimizer"),
        ({"b": [0, {"c": {1}}]}, r"'a\.b\[1\]\.c'", "of type set"),
        (b"x", "'a'", "of type bytes"),
        (Fraction(1, 2), "'a'", "of type fractions.Fraction"),
        (1j, "'a'", "of type complex"),
    ],
)
def test_what_json_does_not_take_is_refused_by_path_and_type(value, path, kind):
    with pytest.raises(TypeError, match=rf"hyper-parameter {path} is .*{kind}"):
        hyper_parameters({"a": value})
    assert hyper_parameters({"a": value, "lr": 1}, ignore="a") == {"lr": 1}


def test_the_error_says_how_to_leave_it_out():
    source = {"optimizer": {"lr": 0.1, "hooks": [print]}}
    with pytest.raises(TypeError, match=r"leave it out by ignore='optimizer\.hooks'"):
        hyper_parameters(source)
    assert hyper_parameters(source, ignore="optimizer.hooks") == {"optimizer": {"lr": 0.1}}
    assert hyper_parameters(source, ignore=["optimizer"]) == {}


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="key 3, and a hyper-parameter's name is a string"):
        hyper_parameters({3: 1})
    with pytest.raises(TypeError, match=r"^sizes has the key 3.*ignore='sizes'"):
        hyper_parameters({"sizes": {3: 1}})


def test_a_name_to_ignore_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"ignore='losss' is not among .*Did you mean 'loss'"):
        hyper_parameters({"loss": print, "lr": 0.1}, ignore=("loss", "losss"))
    with pytest.raises(ValueError, match="'self' is not among"):
        hyper_parameters({"self": 1, "lr": 0.1}, ignore="self")


@pytest.mark.parametrize("source", [3, "lr", [1], Optimizer, torch.nn.Linear(1, 1), None])
def test_another_source_is_refused(source):
    with pytest.raises(TypeError, match="hyper-parameters come as a mapping"):
        hyper_parameters(source)


def test_missing_and_unknown_ones_are_named_with_the_nearest():
    with pytest.raises(StateError, match=r"Optimizer requires 'lr', .*'betas'"):
        rebuilt(Optimizer, {"betas": [0.1, 0.2]})
    with pytest.raises(StateError, match=r"takes no 'beta', .*Did you mean 'betas'"):
        rebuilt(Optimizer, {"lr": 0.1, "beta": [0.1, 0.2]})
    with pytest.raises(StateError, match="takes no 'size'"):  # a field that is not given
        rebuilt(Run, {"size": 1})
    with pytest.raises(StateError, match="Optimizer requires 'lr'"):  # nested
        rebuilt(Run, {"name": "a", "root": "b", "optimizer": {}})


def test_what_was_left_out_can_be_given():
    def build(lr, loss):
        return lr, loss(1)

    saved = hyper_parameters({"lr": 0.1, "loss": abs}, ignore="loss")
    assert rebuilt(build, saved | {"loss": lambda x: -x}) == (0.1, -1)
    assert rebuilt(torch.nn.Linear, {"in_features": 2, "out_features": 1}).weight.shape == (1, 2)


def test_annotations_that_do_not_say_plainly_are_passed_over():
    def build(a: Optimizer | Path, b: NotHere, c: tuple[int, int] = (1, 2)):  # noqa: F821
        return a, b, c

    assert rebuilt(build, {"a": "x", "b": "y", "c": [3]}) == ("x", "y", [3])

    def known(a: Optimizer | Path, c: tuple[int, int], d: list, e: dict, f: object = None):
        return a, c, d, e, f

    saved = {"a": "x", "c": [1, 2, 3], "d": [1], "e": {"a": 1}, "f": [1]}
    assert rebuilt(known, saved) == ("x", (1, 2, 3), [1], {"a": 1}, [1])


def test_a_value_that_no_enumeration_has_is_an_error():
    with pytest.raises(ValueError, match="'middle' is not a valid Mode"):
        rebuilt(Optimizer, {"lr": 0.1, "mode": "middle"})


def test_it_needs_no_torch():
    code = "import footplate.engine.hyper_parameters, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
