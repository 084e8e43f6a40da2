"""With a list of allowed modules, nothing else is imported, found or called."""

from __future__ import annotations

import sys

import pytest
import torch
import torchmetrics
from ignite.handlers import LinearCyclicalScheduler
from ignite.metrics import Accuracy, Fbeta
from torch.optim.lr_scheduler import ReduceLROnPlateau

from footplate.engine.step.groups import NoDecay
from footplate.handlers.checkpoint import Checkpoint
from footplate.recipes.composition.settings import problems_in
from footplate.recipes.config.finding import TypeNotFound
from footplate.recipes.config.objects import SAFE, Objects
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import FUNCTIONS, RUNNERS
from footplate.recipes.config.safety import AllowList
from footplate.recipes.image_classification import part
from footplate.recipes.runner import Runner

pytestmark = pytest.mark.covers("H3")

safe = Objects(SAFE)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("torch.nn.Linear", torch.nn.Linear),
        ("torch.nn.functional.relu", torch.nn.functional.relu),
        ("torch.nn.functional.gelu", torch.nn.functional.gelu),  # these are torch's own
        ("torch.nn.functional.conv2d", torch.nn.functional.conv2d),
        ("torch.nn.functional.max_pool2d", torch.nn.functional.max_pool2d),  # one of two
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", ReduceLROnPlateau),
        ("torch.utils.data.ConcatDataset", torch.utils.data.ConcatDataset),
        ("torch.utils.data.RandomSampler", torch.utils.data.RandomSampler),
        ("ignite.handlers.LinearCyclicalScheduler", LinearCyclicalScheduler),
        ("torchmetrics.MetricCollection", torchmetrics.MetricCollection),
        ("footplate.engine.step.groups.NoDecay", NoDecay),
        ("footplate.recipes.image_classification.part", part),
        ("torch.optim.SGD", torch.optim.SGD),
        ("SGD", torch.optim.SGD),
        ("torch.utils.data.default_collate", torch.utils.data.default_collate),
        ("ignite.metrics.Fbeta", Fbeta),
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
        "torch.nn.cpp.OrderedDictWrapper",  # these get the attribute that they are told
        "torch.nn.cpp.ModuleWrapper",
        "torch.nn.ParameterDict",
        "ignite.handlers.global_step_from_engine",  # a function with globals
        "ignite.handlers.Checkpoint",
        "ignite.handlers.Checkpoint.load_objects",
        "footplate.engine.engine.Engine",
        "footplate.engine.nested.map_nested",
        "footplate.engine.hyper_parameters.rebuilt",
        "footplate.engine.checkpoints.remote.RemoteStore",
        "footplate.recipes.image_classification.train",
        "torch.nn.functional.handle_torch_function",
        "torch.nn.functional.has_torch_function",
        "torch.nn.functional.boolean_dispatch",
        "torch.nn.functional.importlib.import_module",
        "torch.nn.functional.Tensor",
        "torch.nn.functional.assert_int_or_pair.__globals__",
        "torch.nn.modules.module.register_module_forward_hook",
        "torch.nn.parallel.parallel_apply",
        "torch.nn.utils.stateless.functional_call",
        "torch.nn.utils.spectral_norm.SpectralNorm",
        "torch.nn.attention.activate_flash_attention_impl",
        "torch.nn.init.normal_",
        "torch.nn.Embedding.from_pretrained",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.swa_utils.AveragedModel",
        "torch.utils.data.get_worker_info",
        "ignite.metrics.gan.utils.InceptionModel",
        "torchmetrics.utilities.data.apply_to_collection",
        "torchmetrics.utilities.checks.check_forward_full_state_property",
        "torchmetrics.functional.image.dists.DISTSNetwork",
        "torchmetrics.image.fid.FrechetInceptionDistance",  # it loads what it is told
        "torchmetrics.text.bert.BERTScore",
        "footplate.recipes.runner.Runner",
        "Runner",  # one within something else would find whatever it is told
    ],
)
def test_anything_else_is_refused(path):
    with pytest.raises(TypeNotFound, match=r"it may not be used here.*Allowed is what"):
        safe.find(path)


def test_all_that_is_found_by_name_in_libraries_is_of_the_kinds():
    for name in ("SGD", "Accuracy", "CosineAnnealingLR", "EMA", "RandomSampler", "InMemoryLoader"):
        assert isinstance(safe.find(name), type)
    for name in ("random_split", "get_worker_info"):
        with pytest.raises(TypeNotFound, match=r"it may not be used here.*Allowed is what"):
            safe.find(name)
    for name in ("Dataset_T_co", "FrechetInceptionDistance"):  # this one needs more than is there
        with pytest.raises(TypeNotFound):
            safe.find(name)
    assert safe.find("Runner", RUNNERS).__name__ == "Runner"


def test_no_attribute_is_had_by_its_name(tmp_path):
    """What a reviewer ran a program with."""
    globals_of = {
        "type": "torch.nn.cpp.OrderedDictWrapper",
        "attr": "__builtins__",
        "cpp_module": {
            "type": "ignite.handlers.global_step_from_engine",
            "engine": {
                "type": "footplate.engine.engine.Engine",
                "process_function": "torch.nn.functional.relu",
            },
        },
    }
    loader = {
        "dataset": globals_of,
        "sampler": ["exec"],
        "batch_size": None,
        "collate_fn": {"type": "footplate.engine.nested.map_nested", "structure": "boom"},
    }
    with pytest.raises(ConfigError) as caught:
        Runner(torch.nn.Linear(1, 1), tmp_path, train_dataloader=loader, objects=safe)
    assert {one.path for one in caught.value.problems} == {
        "train_dataloader.dataset.type",
        "train_dataloader.dataset.cpp_module.type",
        "train_dataloader.dataset.cpp_module.engine.type",
        "train_dataloader.collate_fn",
    }


@pytest.mark.parametrize(
    ("spec", "at"),
    [
        ({"type": "ignite.metrics.MetricsLambda", "f": "builtins.exec", "args": ["1"]}, "f"),
        ({"type": "ignite.metrics.EpochMetric", "compute_fn": "os.system"}, "compute_fn"),
        ({"type": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": "os.system"}, "lr_lambda"),
        (
            {"type": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": ["os.system"]},
            "lr_lambda[0]",
        ),
        (
            {"type": "torch.nn.TripletMarginWithDistanceLoss", "distance_function": "os.system"},
            "distance_function",
        ),
        (
            {"type": "footplate.handlers.reload_data.ReloadData", "make": "subprocess.Popen"},
            "make",
        ),
        ({"type": "WandB", "project": "x", "settings": {"x_executable": "./e"}}, "settings"),
        (
            {"type": "WandbVisBackend", "init_kwargs": {"settings": {"x_executable": "./e"}}},
            "init_kwargs.settings",
        ),
    ],
)
def test_arguments_call_no_more_than_types_do(spec, at):
    injected = [name for name in ("optimizer", "folder") if name not in spec]
    assert not [one for one in Objects().check(spec, "a", injected=injected) if at in one.path]
    assert f"a.{at}" in [one.path for one in safe.check(spec, "a", injected=injected)]


@pytest.mark.parametrize("value", [True, {"mode": "default", "dynamic": True, "fullgraph": False}])
def test_compilation_is_allowed(value):
    assert not problems_in({"model": torch.nn.Linear(1, 1), "compile": value}, safe)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", {"cpp.cxx": [None, "./evil.sh"]}),
        ("backend", "os.system"),
        ("mode", "another"),
        ("dynamic", "os.system"),
    ],
)
def test_compilation_with_programs_of_ones_own_is_not(name, value):
    arguments = {"model": torch.nn.Linear(1, 1), "compile": {name: value}}
    assert not problems_in(arguments, Objects())
    (problem,) = problems_in(arguments, safe)
    assert problem.path == f"compile.{name}"
    assert problem.given == value


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
