"""A configuration comes from files, the environment and the call, and each value knows whence."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from footplate.recipes.config.layers import Resolved, load
from footplate.recipes.config.problems import ConfigError

pytestmark = pytest.mark.covers("H4")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes files into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {})

    def write(**texts):
        for name, text in texts.items():
            path = Path(name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def refused(*sources, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*sources, **{"environment": {}, **options})
    return [str(problem) for problem in caught.value.problems]


LAYERS = {
    "defaults": {"defaults": {"a": {"x": 0}}},
    "first.yaml": {"sources": ["first.yaml"]},
    "second.yaml": {"sources": ["second.yaml"]},
    "environment FOOTPLATE__A__X": {"environment": {"FOOTPLATE__A__X": "3"}},
    "command line": {"overrides": ["a.x=4"]},
}


@pytest.mark.parametrize(
    "which",
    [n for size in range(1, 6) for n in itertools.combinations(LAYERS, size)],
    ids=lambda which: " < ".join(one[:12] for one in which),
)
def test_the_later_of_any_two_layers_counts(files, which):
    files(first="a: {x: 1, first: 1}", second="a: {x: 2}")
    sources = [one for name in which for one in LAYERS[name].get("sources", ())]
    options = {k: v for name in which for k, v in LAYERS[name].items() if k != "sources"}
    found = load(*sources, **{"environment": {}, **options})
    assert found.values["a"]["x"] == list(LAYERS).index(which[-1])
    assert found.origins["a.x"] == which[-1]
    assert ("first" in found.values["a"]) is ("first.yaml" in which)


def test_an_empty_variable_is_unset(files):
    files(a="x: 1")
    environment = {"FOOTPLATE__X": "", "FOOTPLATE__Y": "  ", "FOOTPLATE": "3", "OTHER__X": "2"}
    assert load("a.yaml", environment=environment).values == {"x": 1}


def test_the_environment_is_that_of_the_process(files, monkeypatch):
    monkeypatch.setenv("FOOTPLATE__X", "2")
    assert load({"x": 1}).values == {"x": 2}
    assert load({"x": 1}, environment={}).values == {"x": 1}


def test_mappings_are_merged_and_lists_replaced(files):
    files(
        a="opt: {type: SGD, lr: 1, groups: [1, 2]}\nnote: text\nold: {b: 1}",
        b="opt: {lr: 2, groups: [3]}\nnote: {c: 1}\nold: text",
    )
    found = load("a.yaml", Path("b.yaml"), {"opt": {"new": None}})
    assert found.values == {
        "opt": {"type": "SGD", "lr": 2, "groups": [3], "new": None},
        "note": {"c": 1},
        "old": "text",
    }
    assert found.origins == {
        "opt.type": "a.yaml",
        "opt.lr": "b.yaml",
        "opt.groups[0]": "b.yaml",
        "opt.new": "call",
        "note.c": "b.yaml",
        "old": "b.yaml",
    }


def test_delete_drops_what_is_below(files):
    files(a="opt: {type: SGD, momentum: 0.9, in: {x: 1}}\nlist: [{_delete_: true, a: 1}]")
    above = {"opt": {"_delete_": True, "type": "Adam", "in": {"_delete_": False, "y": 1}}}
    found = load("a.yaml", above).values
    assert found == {"opt": {"type": "Adam", "in": {"y": 1}}, "list": [{"a": 1}]}
    assert load("a.yaml", overrides=["opt={_delete_: true}"]).values["opt"] == {}
    assert refused({"a": {"_delete_": "yes"}}) == ["a._delete_: it is true or false, given 'yes'."]


def test_delete_drops_what_any_layer_below_says(files):
    files(a="opt: {x: 1}", base="opt: {y: 1}", b="_base_: base.yaml\nopt: {_delete_: true, z: 1}")
    assert load("a.yaml", "b.yaml").values == {"opt": {"z": 1}}


def test_bases_lie_below_a_file_relative_to_it(files):
    files(
        exp__a="_base_: [../base/b.yaml, c.yaml]\nx: a",
        base__b="_base_: d.yaml\nx: b\ny: b\nz: b",
        base__d="w: d\nz: d",
        exp__c="y: c",
    )
    found = load("exp/a.yaml")
    assert found.values == {"w": "d", "z": "b", "x": "a", "y": "c"}
    assert found.origins == {"w": "d.yaml", "z": "b.yaml", "x": "a.yaml", "y": "c.yaml"}
    assert load({"_base_": "exp/c.yaml", "v": 1}).values == {"y": "c", "v": 1}


def test_bases_that_lead_back_are_refused_with_the_chain(files):
    files(a="_base_: b.yaml", b="_base_: [c.yaml]", c="_base_: b.yaml", d="_base_: d.yaml")
    (line,) = refused("a.yaml")
    assert line == "b.yaml: _base_: its bases lead back to it, b.yaml → c.yaml → b.yaml."
    assert "d.yaml → d.yaml" in refused("d.yaml")[0]
    files(e="_base_: [f.yaml, f.yaml]", f="x: 1")  # twice is no circle
    assert load("e.yaml").values == {"x": 1}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("_base_: 3", "a.yaml: _base_: it is the path of a file, or a list of such, given 3."),
        ("x: {_base_: b.yaml}", "x._base_: it stands at the top of a file alone, given 'b.yaml'."),
        ("_base_: b.yml", "b.yml: there is no such file, given 'b.yml'. Did you mean 'b.yaml'?"),
    ],
)
def test_bases_that_are_none_are_refused(files, text, line):
    files(a=text, b="x: 1")
    assert refused("a.yaml") == [line]


def test_variables_find_keys_in_whatever_case():
    base = {"Model": {"inChannels": 1, "list": [{"x": 1}]}, "a": 1, "A": 2, "lr": 0.1}
    environment = {
        "FOOTPLATE__MODEL__INCHANNELS": "3",
        "FOOTPLATE__MODEL__LIST__0__X": "[1, 2]",
        "FOOTPLATE__A": "5",
        "FOOTPLATE__NEW__KEY": "{a: 1e-3}",
        "FOOTPLATE__LR": "1e-2",
    }
    found = load(base, environment=environment)
    assert found.values == {
        "Model": {"inChannels": 3, "list": [{"x": [1, 2]}]},
        "a": 5,
        "A": 2,
        "lr": 0.01,
        "new": {"key": {"a": 0.001}},
    }
    assert found.origin_of("Model.inChannels") == "environment FOOTPLATE__MODEL__INCHANNELS"


def test_overrides_set_by_path():
    base = {"sched": [{"gamma": 1}, {"gamma": 2}], "keys": {"a.b": {"lr": 1}}, "opt": None}
    overrides = [
        "sched[0].gamma=0.5",
        "sched.1.gamma=0.25",
        "sched[-1].by=epoch",
        'keys["a.b"].lr=2',
        "opt.groups.new=[1, {x: y}]",
        "text='=a'",
        "equals=a=b",
        " spaced = 1 ",
        "nothing=null",
        {"opt": {"more": True}},
    ]
    assert load(base, overrides=overrides, environment={}).values == {
        "sched": [{"gamma": 0.5}, {"gamma": 0.25, "by": "epoch"}],
        "keys": {"a.b": {"lr": 2}},
        "opt": {"groups": {"new": [1, {"x": "y"}]}, "more": True},
        "text": "=a",
        "equals": "a=b",
        "spaced": 1,
        "nothing": None,
    }


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("lr", "it sets nothing, given 'lr'. Write it as train_cfg.max_epochs=5."),
        (3, "it sets nothing, given 3. Write it as train_cfg.max_epochs=5."),
        ("=5", "it sets nothing, given '=5'. Write it as train_cfg.max_epochs=5."),
        ("lr=", "it has no value, given 'lr='. Write lr=null, or lr='' for an empty text."),
        ("--lr=5", "a value is set without dashes, given '--lr=5'. Write it as lr=5."),
        ("a..b=5", "'a..b' is no path, given 'a..b=5'. Write one as train_cfg.max_epochs, or "
         "hooks[0]."),
        ("list[2]=1", "list[2]: 'list' is a list of 2, and has no place 2. Give the list as a "
         "whole to add to it."),
        ("list.x=1", "list.x: 'list' is a list of 2. Write list[0].x."),
        ("lr[0]=1", "lr[0]: 'lr' is no list, and has no place 0."),
        ("_base_=a.yaml", "_base_=a.yaml: '_base_' names files to build on, and stands in files."),
        ("ref.x=1", "ref: what stands elsewhere can't be added to, given '${map}'. Change it "
         "where it stands, or replace it: give a mapping with _delete_: true."),
        ("map.a={1: 2}", "map.a={1: 2}: the key 1 is no text but, to YAML, of type int. Put it "
         "in quotes: '1'."),
    ],
)  # fmt: skip
def test_overrides_that_can_not_be_are_refused_with_what_to_write(override, line):
    base = {"lr": 1, "list": [1, 2], "map": {"a": 1}, "ref": "${map}"}
    assert refused(base, overrides=[override]) == [line]


def test_all_problems_are_told_at_once():
    lines = refused(
        {"a": "${b}"},
        overrides=["lr", "x=[1"],
        environment={"FOOTPLATE__A____B": "1", "FOOTPLATE__C": "{"},
    )
    assert len(lines) == 5
    assert lines[0].startswith("environment FOOTPLATE__A____B: its name has an empty part")
    assert lines[1].startswith("environment FOOTPLATE__C: this is no YAML")
    assert lines[-1].startswith("a: it can't be filled in: Interpolation key 'b' not found")


def test_references_are_filled_in_after_all_is_merged(files, monkeypatch):
    monkeypatch.setenv("DATA", "/data")
    files(
        a="lr: 0.1\nopt: {lr: '${lr}', again: '${.lr}', root: '${oc.env:DATA}/x'}\n"
        "also: ['${opt}', 'lr is ${lr}', '${oc.env:NOT_SET,none}']\nprice: '\\${lr}'"
    )
    found = load("a.yaml", overrides=["lr=1e-3"])
    opt = {"lr": 0.001, "again": 0.001, "root": "/data/x"}
    assert found.values["opt"] == opt
    assert found.values["also"] == [opt, "lr is 0.001", "none"]
    assert found.values["price"] == "${lr}"
    assert found.origin_of("also[0].lr") == "a.yaml"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"b": {"a": "${oppt.lr}"}, "opt": {"lr": 1}}, "b.a: it can't be filled in: Interpolation "
         "key 'oppt.lr' not found, given '${oppt.lr}'. Did you mean 'opt.lr'?"),
        ({"a": ["${b}"]}, "a[0]: it can't be filled in: Interpolation key 'b' not found, given "
         "'${b}'."),
        ({"a": "${oc.env:NOT_SET}"}, "a: it can't be filled in: Environment variable 'NOT_SET' "
         "not found, given '${oc.env:NOT_SET}'."),
        ({"a": "${nope:1}"}, "a: it can't be filled in: Unsupported interpolation type nope, "
         "given '${nope:1}'."),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_refused_with_its_path(files, values, line):
    assert refused(values) == [line]


@pytest.mark.parametrize("values", [{"a": "${b}", "b": "${a}"}, {"a": {"b": "${a}"}}, {"a": "${"}])
def test_a_reference_that_leads_nowhere_is_refused(values):
    assert all(" it can't be filled in: " in line for line in refused(values))


def test_objects_pass_through_untouched():
    class Dataset(dict):
        pass

    @dataclass
    class Box:  # OmegaConf would look into it
        size: int = 3

    one, two = Box(), Dataset()
    values = {"a": one, "b": [Dataset, print], "c": (1, one), "again": "${a}", "d": "???"}
    found = load(values, {"e": two}, environment={})
    assert found.values["a"] is one
    assert found.values["again"] is one
    assert found.values["b"] == [Dataset, print]
    assert found.values["c"] == [1, one]
    assert found.values["d"] == "???"
    assert values["c"] == (1, one)
    assert refused({"a": one}, overrides=["a.x=1"])[0].startswith("a: an object has no 'x' to set")
    assert load({"a": one}, {"a": {"x": 1, "_delete_": True}}, environment={}).values == {
        "a": {"x": 1}
    }


def test_nothing_is_added_to_what_stands_elsewhere_or_is_an_object():
    above = {"a": {"x": 1}}
    (line,) = refused({"a": "${b}", "b": {"y": 1}}, above)
    assert line.startswith("a: what stands elsewhere can't be added to, given '${b}'. Change it")
    assert refused({"a": print}, above)[0].startswith("a: an object can't be added to, given")
    for replaced in (1, "text", None, [1]):
        assert load({"a": replaced}, above, environment={}).values == above


def test_what_is_given_is_not_changed():
    given_values = {"a": {"b": [1]}, "_base_": []}
    load(given_values, overrides=["a.b[0]=2"], environment={})
    assert given_values == {"a": {"b": [1]}, "_base_": []}


def test_configurations_of_omegaconf_are_taken_as_they_are_written():
    config = OmegaConf.create({"lr": 1, "opt": {"lr": "${lr}", "sizes": [1, 2]}})
    found = load(config, overrides=["lr=2"], environment={}).values
    assert found == {"lr": 2, "opt": {"lr": 2, "sizes": [1, 2]}}
    assert type(found["opt"]) is dict
    assert load({"opt": config.opt.sizes}, environment={}).values == {"opt": [1, 2]}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (3, "a configuration is the path of a file, a mapping, or a Config of MMEngine, given 3."),
        ({"a": {1: 2}}, "a: the key 1 is no text. Put it in quotes: '1'."),
        ({"_base_": "net.py"}, "net.py: a base is YAML; a file in Python is run, and has to be "
         "given by itself, given 'net.py'."),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(source, line):
    assert refused(source) == [line]


def test_what_holds_itself_is_refused(files):
    circle = {"a": []}
    circle["a"].append(circle)
    assert refused(circle) == ["a[0]: it holds itself, in what call gives."]
    files(a="x: &a [*a]")
    assert refused("a.yaml") == ["x[0]: it holds itself, in what a.yaml gives."]


def test_origins_of_what_holds_several_and_of_what_was_filled_in():
    found = load({"a": {"b": 1, "c": {}}, "r": "${a}"}, overrides=["a.d=2"], environment={})
    assert found.origins == {"a.b": "call", "a.c": "call", "a.d": "command line", "r": "call"}
    assert found.origin_of("a") == "call, command line"
    assert found.origin_of("r.b") == "call"
    assert found.origin_of("a.c.later") == "call"
    with pytest.raises(KeyError, match=r"there is no 'z\.b'"):
        found.origin_of("z.b")
    assert load(environment={}) == Resolved(values={}, origins={})


keys = st.text("ab_.", min_size=1, max_size=3).filter(lambda key: key not in ("_base_", "_delete_"))
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab ", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(keys, trees, max_size=3)


def _merged(below, above):
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {k: _merged(below.get(k), v) for k, v in above.items()}
    return above


@given(st.lists(mappings, max_size=4))
def test_any_number_of_layers_merge_from_the_left(layers):
    expected = {}
    for layer in layers:
        expected = _merged(expected, layer)
    found = load(*layers, environment={})
    assert found.values == expected
    assert load(found.values, environment={}).origins.keys() == found.origins.keys()
    as_overrides = load(overrides=layers, environment={})
    assert as_overrides.values == expected


@given(mappings, mappings)
def test_omegaconf_merges_the_same(below, above):
    ours = load(below, above, environment={}).values
    try:
        theirs = OmegaConf.merge(OmegaConf.create(below), OmegaConf.create(above))
    except TypeError:  # a list and a mapping don't mix there
        return
    assert ours == OmegaConf.to_container(theirs)


def test_importing_it_loads_no_torch():
    names = [path.stem for path in Path(load.__code__.co_filename).parent.glob("*.py")]
    modules = [f"footplate.recipes.config.{name}" for name in names if name != "__init__"]
    assert len(modules) > 10
    loaded = "print({'torch', 'omegaconf', 'ignite'} & set(sys.modules))"
    code = f"import sys, {', '.join(modules)}; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
