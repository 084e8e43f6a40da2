"""Specs are checked as a whole, with all that is wrong, and built from the inside out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.recipes.composition.options import TrainCfg
from footplate.recipes.config.objects import Objects
from footplate.recipes.config.paths import joined
from footplate.recipes.config.problems import ABSENT, ConfigError, OptionError
from footplate.recipes.config.registry import DATA_SAMPLERS, OPTIMIZERS, Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nowhere import Unknown

pytestmark = pytest.mark.covers("H3")

objects = Objects()
NETS = Registry("net")


@NETS.register_module()
class Net:
    def __init__(
        self,
        width: int,
        *layers: object,
        sizes: Sequence[int] = (),
        unknown: Unknown = None,
        root: Path | None = None,
        dropout=0.1,
        bias=True,
        name="net",
        head=None,
    ):
        self.width, self.layers, self.sizes, self.unknown = width, layers, sizes, unknown
        self.root, self.dropout, self.bias, self.name, self.head = root, dropout, bias, name, head


@NETS.register_module()
class Open:
    def __init__(self, a=1, **more: int):
        self.a, self.more = a, more


def told(problems):
    return {problem.path: problem for problem in problems}


def test_all_problems_are_told_at_once_each_with_its_path():
    spec = {
        "type": "Net",
        "widht": 3,
        "sizes": [1, "2"],
        "head": {"type": "torch.nn.Liner", "also": [{"type": "Net"}]},
        "dropout": "high",
        "layers": [1, {"deep": [{"type": "torch.nn.Linear", "in_features": 1.5}]}],
    }
    found = told(objects.check(spec, "model", NETS))
    assert {path: str(one).partition(": ")[2] for path, one in found.items()} == {
        "model.widht": "Net takes no 'widht', given 3. Did you mean 'width'?",
        "model.width": "Net needs 'width', which is missing.",
        "model.sizes[1]": "Net takes a whole number there, given '2'. Write 2, without quotes.",
        "model.head.type": "the module 'torch.nn' has no 'Liner', given 'torch.nn.Liner'. "
        "Did you mean 'torch.nn.Linear'?",
        "model.head.also[0].type": str(found["model.head.also[0].type"]).partition(": ")[2],
        "model.dropout": "Net takes a number as 'dropout', given 'high'. "
        "Its default, 0.1, says so; if it takes others, annotate it.",
        "model.layers[1].deep[0].in_features": "Linear takes a whole number as 'in_features', "
        "given 1.5.",
        "model.layers[1].deep[0].out_features": "Linear needs 'out_features', which is missing.",
    }


def test_what_is_missing_was_not_given():
    (problem,) = objects.check({"type": "Net"}, "", NETS)
    assert (problem.path, problem.given) == ("width", ABSENT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 1),
        ("dropout", torch.ones(1)),
        ("bias", False),
        ("name", "a"),
        ("head", "anything"),
        ("unknown", "anything"),
        ("sizes", (1, 2)),
        ("sizes", ()),
        ("root", "a/b"),
    ],
)
def test_what_fits_is_no_problem(name, value):
    assert objects.check({"type": "Net", "width": 1, name: value}, "model", NETS) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", None),
        ("dropout", True),
        ("bias", 1),
        ("bias", "yes"),
        ("name", 1),
        ("width", True),
        ("width", "3"),
        ("width", None),
        ("root", 3),
        ("sizes", 3),
        ("layers", 3),
    ],
)
def test_what_does_not_fit_is_one(name, value):
    (problem,) = objects.check({"type": "Net", "width": 1} | {name: value}, "model", NETS)
    assert problem.path == f"model.{name}"
    assert problem.given == value


def test_any_name_goes_where_the_signature_takes_any():
    spec = {"type": "Open", "anything": 3}
    assert objects.check(spec, "a", NETS) == []
    assert objects.build(spec, NETS).more == {"anything": 3}
    assert [*told(objects.check({"type": "Open", "anything": "b"}, "a", NETS))] == ["a.anything"]


def test_a_name_that_is_no_text_is_a_problem():
    (problem,) = objects.check({"type": Open, 3: 1}, "a")
    assert "by names, which are texts, not 3" in problem.reason


def test_a_signature_that_can_not_be_read_takes_anything():
    assert objects.check({"type": "builtins.dict", "a": 1}, "a") == []
    assert objects.build({"type": "builtins.dict", "a": 1}) == {"a": 1}


def test_injected_arguments_count_as_given():
    spec = {"type": "SGD", "lr": 0.1}
    assert [*told(objects.check(spec, "optimizer", OPTIMIZERS))] == ["optimizer.params"]
    assert objects.check(spec, "optimizer", OPTIMIZERS, injected=["params", "other"]) == []
    (problem,) = objects.check({**spec, "params": []}, "optimizer", OPTIMIZERS, injected=["params"])
    assert (
        str(problem)
        == "optimizer.params: SGD is given 'params' by the run, given []. Leave it out."
    )
    # those within a spec get none
    inner = {"type": "Net", "width": 1, "head": spec}
    assert [*told(objects.check(inner, "a", NETS, injected=["params"]))] == ["a.head.params"]


def test_injected_arguments_are_handed_to_what_names_them():
    data = [1, 2, 3]
    sampler = objects.build({"type": "SequentialSampler"}, DATA_SAMPLERS, data_source=data, seed=3)
    assert sampler.data_source is data
    assert objects.build({"type": "Open"}, NETS, a=2, b=3).more == {"b": 3}
    assert objects.build({"type": dict}, a=2) == {}  # nobody knows whether it takes it


def test_an_instance_is_as_it_is():
    net = Net(1)
    assert objects.build(net) is net
    assert objects.check(net, "a") == []
    assert objects.build({"type": "Net", "width": 1, "head": net}, NETS).head is net
    plain = {"a": [1]}
    assert objects.build(plain) is plain
    assert objects.build("SGD", OPTIMIZERS) == "SGD"


def test_specs_are_built_from_the_inside_out_in_lists_and_mappings():
    built = objects.build(
        {
            "type": torch.nn.Sequential,
            "args": [
                {"type": "torch.nn.Linear", "in_features": 2, "out_features": 1},
                {"type": "torch.nn.ReLU"},
            ],
        }
    )
    assert built(torch.ones(3, 2)).shape == (3, 1)
    several = objects.build([{"type": "Net", "width": 1}, {"b": {"type": "Open"}}, 3], NETS)
    assert (several[0].width, several[1]["b"].a, several[2]) == (1, 1, 3)


def test_values_become_what_annotations_say():
    built = objects.build({"type": "Net", "width": 1, "root": "a/b", "layers": [1, 2]}, NETS)
    assert built.root == Path("a/b")
    assert built.layers == (1, 2)
    loader = objects.build(
        {
            "type": "torch.utils.data.DataLoader",
            "dataset": [1, 2],
            "collate_fn": "torch.utils.data.default_convert",
        }
    )
    assert loader.collate_fn is torch.utils.data.default_convert


def test_arguments_by_position_alone_are_given_by_name():
    def function(a, b=2, /, *rest, c=3):
        return a, b, rest, c

    assert objects.build({"type": function, "a": 1}) == (1, 2, (), 3)
    assert objects.build({"type": function, "a": 1, "rest": [5], "c": 4}) == (1, 2, (5,), 4)
    assert objects.build({"type": partial(function, 7), "c": 1}) == (7, 2, (), 1)


def test_nothing_is_built_if_anything_is_wrong():
    made = []

    def make(a: int = 0):
        made.append(a)

    spec = {"type": "Net", "width": "x", "head": {"type": make, "b": 1}, "layers": [{"type": make}]}
    with pytest.raises(ConfigError) as caught:
        objects.build(spec, NETS, path="model")
    assert [one.path for one in caught.value.problems] == ["model.width", "model.head.b"]
    assert made == []


def test_an_error_of_a_constructor_tells_where_it_was():
    spec = {"type": "Net", "width": 1, "head": {"type": "torch.nn.Linear"}}
    spec["head"] |= {"in_features": -1, "out_features": 1}
    with pytest.raises(RuntimeError) as caught:
        objects.build(spec, NETS, path="model")
    where = "while building model.head, of type torch.nn.modules.linear.Linear"
    assert caught.value.__notes__ == [where]


def test_what_was_an_instance_is_asked_for():
    spec = {"type": "torch.nn.Linear", "_instance_": True}
    (problem,) = objects.check({"type": "Net", "width": 1, "head": spec}, "model", NETS)
    assert problem.path == "model.head"
    assert problem.reason == "it was an instance in the run that wrote this; give one"


def test_a_value_is_not_what_would_be_built():
    spec = {"type": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    (problem,) = objects.check({"type": "Net", "width": spec}, "model", NETS)
    assert (problem.path, problem.given) == ("model.width", spec)
    assert objects.check({"type": "Net", "width": {"type": int}}, "model", NETS) == []


@dataclass(frozen=True, kw_only=True)
class Options:
    max_epochs: int = 1
    mode: Literal["min", "max"] = "min"
    loader: dict[str, Any] | None = None
    extra: Any = field(default=None, init=False)

    def __post_init__(self):
        if self.max_epochs < 1:
            raise OptionError("max_epochs", "a run has one epoch at least")
        if self.mode == "max" and self.max_epochs == 7:
            raise ValueError("max takes no 7 epochs.")


@dataclass(frozen=True, kw_only=True)
class More(Options):
    model: Any


def test_arguments_of_a_call_are_checked():
    check = objects.check_call
    assert check(Options, {"max_epochs": 3}, "train_cfg") == []
    (problem,) = check(Options, {"max_epoch": 3}, "train_cfg")
    assert (
        str(problem)
        == "train_cfg.max_epoch: Options takes no 'max_epoch', given 3. Did you mean 'max_epochs'?"
    )
    assert [*told(check(Options, {"mode": "mn", "extra": 1}, "t"))] == ["t.mode", "t.extra"]
    (problem,) = check(Options, [1], "train_cfg")
    assert problem.reason == "Options takes its arguments as a mapping"


def test_a_data_class_is_made_on_trial():
    check = objects.check_call
    (problem,) = check(Options, {"max_epochs": 0}, "train_cfg")
    assert str(problem) == "train_cfg.max_epochs: a run has one epoch at least, given 0."
    (problem,) = check(Options, {"max_epochs": 7, "mode": "max"}, "train_cfg")
    assert str(problem) == "train_cfg: max takes no 7 epochs."
    # without what is injected it can't be made
    assert check(More, {"max_epochs": 0}, "a", injected=["model"]) == []
    assert [*told(check(More, {"max_epochs": 0}, "a"))] == ["a.model"]


def test_specs_in_arguments_are_checked_unless_somebody_else_does():
    arguments = {"loader": {"type": "torch.utils.data.DataLoader", "batch": 1}}
    found = told(objects.check_call(Options, arguments, "a"))
    assert [*found] == ["a.loader.batch", "a.loader.dataset"]
    assert objects.check_call(Options, arguments, "a", nested=False) == []
    assert objects.call(Options, arguments, nested=False).loader == arguments["loader"]


def test_a_call_is_checked_and_made():
    assert objects.call(Net, {"width": 1}, name="b").name == "b"
    assert objects.call(Net, {"width": 1, "head": {"type": Open}}).head.a == 1
    with pytest.raises(ConfigError, match=r"^n\.widht: Net takes no 'widht'"):
        objects.call(Net, {"widht": 1}, path="n")


SPEC = {
    "type": "torch.utils.data.DataLoader",
    "dataset": {
        "type": "torch.utils.data.ConcatDataset",
        "datasets": [{"type": Net, "width": 3, "sizes": [1, 2], "name": "a", "bias": True}],
    },
    "sampler": {"type": "RandomSampler", "data_source": [1], "num_samples": 3},
    "batch_size": 4,
    "num_workers": 0,
    "drop_last": False,
}


def _places(value, path=""):
    if isinstance(value, dict):
        for key, one in value.items():
            yield path, value, key
            yield from _places(one, joined(path, key))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _places(one, joined(path, at))


PLACES = [(path, key) for path, _, key in _places(SPEC)]


def _changed(path, key, change):
    spec = copy.deepcopy(SPEC)
    change(next(one for at, one, name in _places(spec) if (at, name) == (path, key)))
    return spec


def test_the_spec_to_be_spoilt_is_right():
    assert objects.check(SPEC, "") == []


@settings(deadline=None)
@given(st.sampled_from([(path, key) for path, key in PLACES if key != "type"]), st.data())
def test_a_key_with_a_typing_error_is_refused_with_its_path_and_the_right_one(place, data):
    path, key = place
    at = data.draw(st.integers(0, len(key) - 1))
    wrong = key[:at] + data.draw(st.sampled_from("xqz")) + key[at:]
    spec = _changed(path, key, lambda one: one.update({wrong: one.pop(key)}))
    problem = told(objects.check(spec, ""))[joined(path, wrong)]
    assert problem.hint == f" Did you mean {key!r}?"


@settings(deadline=None)
@given(st.sampled_from([(path, key) for path, key in PLACES if key == "type"]), st.data())
def test_a_type_with_a_typing_error_is_refused(place, data):
    path, key = place
    wrong = data.draw(st.none() | st.integers() | st.text("abc.", max_size=8))
    spec = _changed(path, key, lambda one: one.update({key: wrong}))
    assert joined(path, "type") in told(objects.check(spec, ""))


WRONG = {
    "width": [None, "3", 1.5, [1], {"a": 1}, True],
    "sizes": [3, ["a"], {"a": 1}, None],
    "name": [3, None, [1]],
    "bias": [0, "true", None],
    "num_samples": ["3", 1.5, [3]],
    "batch_size": ["4", 4.0, True],
    "num_workers": [None, "0", 0.5],
    "drop_last": ["no", 0, None],
    "dataset": [3, "mnist"],
}


@settings(deadline=None)
@given(st.sampled_from([(p, k, v) for p, k in PLACES for v in WRONG.get(k, ())]))
def test_a_value_of_another_type_is_refused_with_its_path(place):
    path, key, wrong = place
    spec = _changed(path, key, lambda one: one.update({key: wrong}))
    found = told(objects.check(spec, ""))
    assert any(at.startswith(joined(path, key)) for at in found)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "a", "_instance_", "width", "", "a.b"]), inner)
    ),
)


@settings(deadline=None)
@given(anything)
def test_whatever_is_given_no_error_is_raised(spec):
    for problem in objects.check(spec, "a", NETS):
        assert str(problem)
    for problem in objects.check_call(Net, spec, "a"):
        assert str(problem)


def test_a_default_that_can_not_be_compared_is_none():
    def make(a: np.ndarray = np.ones(2)):  # noqa: B008
        return a

    assert objects.check({"type": make, "a": np.zeros(2)}, "a") == []


@pytest.mark.parametrize("given", ["t_max", "T_MAX"])
def test_a_name_is_near_whatever_its_capitals_are(given):
    spec = {"type": "torch.optim.lr_scheduler.CosineAnnealingLR", given: 5}
    for injected in (["optimizer"], ["optimizer", "T_max"]):
        hints = [one.hint for one in objects.check(spec, "a", injected=injected)]
        assert " Did you mean 'T_max'?" in hints


def test_what_is_given_is_told_once():
    (problem,) = objects.check_call(TrainCfg, {"max_epochs": -1}, "train_cfg")
    assert str(problem) == "train_cfg.max_epochs: is a whole number from 1 on, given -1."
