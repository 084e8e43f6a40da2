"""With a list of allowed modules, nothing else is imported, found or called."""

from __future__ import annotations

import sys

import pytest
import torch
from ignite.metrics import Accuracy

from footplate.handlers.checkpoint import Checkpoint
from footplate.recipes.config.finding import TypeNotFound
from footplate.recipes.config.objects import SAFE, Objects
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import FUNCTIONS
from footplate.recipes.config.safety import AllowList

pytestmark = pytest.mark.covers("H3")

safe = Objects(SAFE)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("torch.nn.Linear", torch.nn.Linear),
        ("torch.nn.functional.relu", torch.nn.functional.relu),
        ("torch.nn.Embedding.from_pretrained", torch.nn.Embedding.from_pretrained),
        ("torch.optim.SGD", torch.optim.SGD),
        ("SGD", torch.optim.SGD),
        ("torch.utils.data.default_collate", torch.utils.data.default_collate),
        ("ignite.metrics.Accuracy", Accuracy),
        ("footplate.handlers.checkpoint.Checkpoint", Checkpoint),
    ],
)
def test_what_the_libraries_define_is_found(path, found):
    assert safe.find(path) == found


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.utils.cpp_extension.load",
        "torch.nnx.Linear",  # a component begins like an allowed one
        "footplate.setup",
        "footplate.Engine",
        "footplate.recipes.cli.main",
        "footplate.recipes.cli.os.system",
        "footplate.recipes.config.objects.Objects",
        "footplate.recipes.config.registry.MODELS.build",
        "footplate.handlers.checkpoint.Path",  # what a module imported is not what it defines
        "footplate.handlers.tensorboard.importlib.import_module",
        "torch.nn.modules.module.functools.partial",
        "torch.nn.modules.linear.Tensor",
        "torch.nn.Module.apply",  # a method, of whichever object
        "torch.nn.Module.__init__",
        "torch.nn.Module.__subclasses__",
        "torch.nn._reduction.get_enum",  # private
        "torch.nn.modules.module.torch.nn.Linear",  # by way of what a module imported
        "torch.utils.data.datapipes.utils.decoder.basichandlers",  # unpickles
        "torch.utils.data.IterDataPipe",
    ],
)
def test_anything_else_is_refused(path):
    with pytest.raises(TypeNotFound, match=r"it may not be used here.*Allowed is what"):
        safe.find(path)


def test_nothing_is_imported_to_find_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(TypeNotFound):
        safe.find("this.c")
    assert "this" not in sys.modules


@pytest.mark.parametrize("argument", ["os.system", "torch.hub.load", "builtins.exec"])
def test_a_callable_by_name_falls_under_the_same_rule(argument):
    spec = {"type": "torch.utils.data.DataLoader", "dataset": [1], "worker_init_fn": argument}
    assert not Objects().check(spec, "loader")
    (problem,) = safe.check(spec, "loader")
    assert problem.path == "loader.worker_init_fn"
    assert "may not be used here" in problem.reason


def test_specs_within_fall_under_the_same_rule():
    spec = {"type": "torch.nn.Sequential", "args": [{"a": {"type": "os.system", "command": "ls"}}]}
    with pytest.raises(ConfigError, match=r"model\.args\[0\]\.a\.type: it may not be used here"):
        safe.build(spec, path="model")


def test_what_running_code_has_registered_may_be_used():
    FUNCTIONS.register_module(sys.getsizeof, name="size_for_the_test", force=True)
    assert safe.find("size_for_the_test") is sys.getsizeof
    assert safe.find(sys.getsizeof) is sys.getsizeof


def test_a_list_of_ones_own():
    own = Objects(["collections", "footplate.recipes.config"])
    assert own.find("collections.abc.Mapping")
    assert own.find("footplate.recipes.config.objects.Objects") is Objects
    with pytest.raises(TypeNotFound):
        own.find("torch.nn.Linear")
    with pytest.raises(TypeNotFound):
        own.find("collections._sys.exit")
    assert Objects([]).check({"type": "torch.nn.Linear"}, "a")


@pytest.mark.parametrize("prefixes", ["torch.nn", ["torch nn"], [""]])
def test_what_is_no_list_of_modules_is_refused(prefixes):
    with pytest.raises(ValueError, match=r"given|is no name of a module"):
        AllowList(prefixes)
