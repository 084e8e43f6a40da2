"""Names for types: registered, of libraries, and of other distributions."""

from __future__ import annotations

import sys

import pytest
import torch

from footplate.recipes.config.finding import Finder, TypeNotFound
from footplate.recipes.config.objects import Objects
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import (
    DATA_SAMPLERS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    REGISTRIES,
    Registry,
    register,
)
from footplate.recipes.config.safety import AllowList

pytestmark = pytest.mark.covers("H2")


@pytest.fixture
def shapes() -> Registry:
    return Registry("shape", modules=["fractions", "a_library_that_is_not_here"])


def test_every_spelling_of_the_decorator_registers(shapes):
    @shapes.register_module()
    class A: ...

    @shapes.register_module
    class B: ...

    class C: ...

    assert shapes.register_module(module=C) is C
    assert shapes.register_module(C, name="See") is C

    @shapes.register_module(name=["D", "Dee"])
    def d(): ...

    found = {name: shapes.find(name) for name in ("A", "B", "C", "See", "D", "Dee", "d")}
    assert found == {"A": A, "B": B, "C": C, "See": C, "D": d, "Dee": d, "d": None}


def test_a_taken_name_is_refused_and_nothing_is_changed(shapes):
    shapes.register_module(int, name="A")
    with pytest.raises(ValueError, match=r"'A' is a shape already, builtins\.int; give .*force"):
        shapes.register_module(str, name=["B", "A"])
    assert shapes.registered("B") is None
    shapes.register_module(str, name="A", force=True)
    assert shapes.find("A") is str


def test_the_same_class_once_more_takes_its_name_again(shapes):
    def cell():
        @shapes.register_module()
        class Net: ...

        return Net

    assert cell() is not cell()
    assert shapes.find("Net").__qualname__.endswith("cell.<locals>.Net")


@pytest.mark.parametrize(("module", "name"), [("Net", None), (3, None), (int, 3), (int, "")])
def test_what_is_no_type_or_no_name_is_refused(shapes, module, name):
    with pytest.raises(TypeError, match="given"):
        shapes.register_module(module, name=name)


def test_names_of_modules_come_after_those_registered(shapes):
    assert shapes.find("Fraction").__module__ == "fractions"
    assert "Fraction" in shapes
    assert "Decimal" not in shapes  # fractions imports it
    assert 3 not in shapes
    shapes.register_module(int, name="Fraction")
    assert shapes.find("Fraction") is int
    assert shapes.names() == ["Fraction"]


@pytest.mark.parametrize(
    ("registry", "name", "path"),
    [
        (OPTIMIZERS, "SGD", "torch.optim.sgd"),
        (PARAM_SCHEDULERS, "MultiStepLR", "torch.optim.lr_scheduler"),
        (PARAM_SCHEDULERS, "LinearCyclicalScheduler", "ignite.handlers.param_scheduler"),
        (METRICS, "Accuracy", "ignite.metrics.accuracy"),
        (METRICS, "AUROC", "torchmetrics.classification.auroc"),
        (DATA_SAMPLERS, "RandomSampler", "torch.utils.data.sampler"),
    ],
)
def test_libraries_have_the_names_that_mmengine_users_write(registry, name, path):
    assert registry.find(name).__module__ == path


def test_what_a_module_imported_has_no_name():
    assert "OrderedDict" not in PARAM_SCHEDULERS


def test_nothing_but_the_module_that_has_a_name_is_imported(monkeypatch):
    registry = Registry("shape", modules=["fractions", "zipimport"])
    monkeypatch.delitem(sys.modules, "zipimport", raising=False)
    assert registry.find("Fraction")
    assert "zipimport" not in sys.modules
    assert registry.find("os.path") is None  # a dotted path is no name in a module
    assert "zipimport" not in sys.modules


def test_build_makes_the_object_and_offers_arguments():
    weights = [torch.zeros(1, requires_grad=True)]
    optimizer = OPTIMIZERS.build({"type": "SGD", "lr": 0.5}, params=weights, model="not taken")
    assert optimizer.param_groups[0]["params"] == weights
    assert OPTIMIZERS.build(optimizer) is optimizer
    with pytest.raises(ConfigError, match="SGD takes no 'lrr'"):
        OPTIMIZERS.build({"type": "SGD", "lrr": 0.5}, params=weights)


def test_register_takes_a_registry_or_its_kind():
    @register("model", name="TestNet")
    class Net: ...

    assert MODELS.find("TestNet") is Net
    assert register(MODELS, name=["TestNet2"])(Net) is Net
    with pytest.raises(ValueError, match=r"no registry of kind 'modle'.*Did you mean 'model'"):
        register("modle")


def test_a_name_of_two_registries_is_refused_where_none_is_named():
    one, other = Registry("circle"), Registry("square")
    one.register_module(int, name="A")
    other.register_module(str, name="A")
    finder = Finder({"circle": one, "square": other})
    with pytest.raises(TypeNotFound, match=r"a circle and a square have this name, given 'A'"):
        finder.find("A")
    assert finder.find("A", other) is str
    other.register_module(int, name="A", force=True)
    assert finder.find("A") is int


def test_all_registries_are_known_by_kind():
    assert REGISTRIES["optimizer"] is OPTIMIZERS
    assert len(REGISTRIES) == 19


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """A distribution with handlers of its own, as pip leaves one behind."""
    info = tmp_path / "blink-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blink\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[footplate.handlers]\nBlink = blink_lamp:Blink\nBroken = blink_lamp:Gone\n"
    )
    (tmp_path / "blink_lamp.py").write_text(
        "class Blink:\n    def __init__(self, colour='red'):\n        self.colour = colour\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("blink_lamp", None)


@pytest.mark.covers("H8")
def test_a_handler_of_another_distribution_is_found_by_name(third_party):
    assert "Blink" in HOOKS
    assert "Blink" in HOOKS.names()
    assert "blink_lamp" not in sys.modules  # a name alone imports nothing
    built = Objects().build({"type": "Blink", "colour": "blue"}, HOOKS)
    assert (type(built).__module__, built.colour) == ("blink_lamp", "blue")
    (problem,) = Objects().check({"type": "Blink", "color": "blue"}, "custom_hooks[0]", HOOKS)
    assert problem.path == "custom_hooks[0].color"
    assert problem.hint == " Did you mean 'colour'?"


@pytest.mark.covers("H8")
def test_one_that_can_not_be_loaded_is_a_problem_that_names_the_distribution(third_party):
    (problem,) = Objects().check({"type": "Broken"}, "hook", HOOKS)
    assert problem.path == "hook.type"
    assert "blink_lamp:Gone, which blink offers as 'Broken'" in problem.reason


@pytest.mark.covers("H8")
def test_one_that_is_not_allowed_is_not_imported(third_party):
    assert HOOKS.find("Blink", AllowList(["footplate.handlers"])) is None
    assert "blink_lamp" not in sys.modules
    assert HOOKS.find("Blink", AllowList(["blink_lamp"])).__name__ == "Blink"
