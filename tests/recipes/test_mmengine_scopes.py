"""Projects whose registries are children of MMEngine's, under a default scope of their own."""

from __future__ import annotations

import json
import sys

import pytest
import torch

pytest.importorskip("mmengine")

import mmengine.registry
from mmengine.registry import DefaultScope

from footplate import Events, Runner
from footplate.recipes.config.mmengine_names import enter_scope
from footplate.recipes.config.objects import SAFE, Objects
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import METRICS, MODELS
from tests.recipes.commands.calling import called
from tests.recipes.mmengine_files import write_child

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mmengine", "ignore:Failed to:UserWarning"
)


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A folder with a project that has a scope of its own."""
    write_child(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with DefaultScope.overwrite_default_scope("mmengine"):  # which puts back the one before
        yield tmp_path
    for registry in vars(mmengine.registry).values():
        if isinstance(registry, mmengine.registry.Registry):
            registry.children.pop("child_project", None)
    for name in [name for name in sys.modules if name.startswith("child_project")]:
        del sys.modules[name]


def config(**changes):
    return Runner.from_cfg("child.py", **changes)


def manifests(runner):
    """What the checkpoints are compared by, in their order."""
    places = sorted((runner.folder / "checkpoints").iterdir())
    told = [json.loads((place / "manifest.json").read_text()) for place in places]
    return [(one["number"], one["compared_by"], one["score"]) for one in told]


@pytest.mark.covers("E3", "H2")
def test_a_project_with_a_scope_of_its_own_runs_as_it_is(child):
    runner = config()
    runner.train()
    parts = sys.modules["child_project.parts"]
    assert isinstance(runner.model, parts.ChildNet)
    assert isinstance(runner.model.head, parts.ChildHead)
    assert parts.ChildHook.seen == [18]
    assert runner.val().keys() == {"child/text", "child/acc", "child/size"}


@pytest.mark.covers("H6")
def test_the_command_trains_it(child):
    told = called("train", "child.py", "train_cfg.max_epochs=1", folder=child)
    assert told.exit_code == 0, told.output
    assert len(list((child / "child").glob("*/checkpoints/*"))) == 1


@pytest.mark.covers("H2")
def test_names_of_the_default_scope(child):
    enter_scope("child_project")
    found = Objects()
    parts = sys.modules["child_project.registry"]
    assert found.find("ChildNet", MODELS) is parts.MODELS.get("ChildNet")
    assert found.find("child_project.ChildNet", MODELS) is parts.MODELS.get("ChildNet")
    assert found.find("ImgDataPreprocessor", MODELS).__module__.startswith("mmengine")
    assert found.find("Accuracy", METRICS) is parts.METRICS.get("Accuracy")  # libraries have one
    with pytest.raises(LookupError, match=r"Did you mean 'ChildNet'"):
        found.find("ChildNett", MODELS)
    with pytest.raises(LookupError, match=r"may not be used|there is no model"):
        Objects(SAFE).find("ChildNet", MODELS)


@pytest.mark.covers("H2")
def test_names_of_another_scope_are_not_meant(child):
    enter_scope("child_project")
    enter_scope("mmengine")
    assert Objects().find("Accuracy", METRICS).__module__.startswith(("ignite", "torchmetrics"))
    assert "ChildNet" not in MODELS
    assert "child_project.ChildNet" in MODELS


@pytest.mark.covers("H2")
def test_a_scope_is_entered_once_and_its_package_imported_only_where_it_may_be(child):
    with pytest.raises(ValueError, match=r"default_scope='child_project' is none that MMEngine"):
        enter_scope("child_project", may_import=False)
    enter_scope("child_project")
    entered = DefaultScope.get_current_instance()
    assert entered.scope_name == "child_project"
    enter_scope("child_project")
    assert DefaultScope.get_current_instance() is entered


@pytest.mark.covers("H2")
def test_what_a_scopes_registry_runs_into_is_told(child):
    (child / "child_project" / "registry.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        enter_scope("child_project")


# ---------------------------------------------------------------------- the best


@pytest.mark.covers("G6")
def test_the_best_by_the_first_number_that_a_metric_gives(child):
    runner = config(default_hooks={"checkpoint": {"save_best": "auto", "max_keep_ckpts": -1}})
    runner.train()
    (first, second, third) = manifests(runner)
    assert {one[1] for one in (first, second, third)} == {"max val_child/acc"}
    assert runner.checkpoint.ranking.metric == "val_child/acc"
    assert all(isinstance(one[2], float) for one in (first, second, third))


@pytest.mark.covers("G6")
def test_a_run_that_goes_on_keeps_the_best_from_before(child):
    saves = {"checkpoint": {"save_best": "auto", "rule": "less"}}
    first = config(default_hooks=saves, train_cfg={"max_epochs": 2})
    first.train()
    seldom = {"max_epochs": 4, "val_interval": 9}  # saves before it is validated
    went_on = config(default_hooks=saves, train_cfg=seldom, resume=str(first.folder))
    began = []

    @went_on.trainer.on(Events.EPOCH_STARTED(once=3))
    def note(engine):
        ranking = went_on.checkpoint.ranking
        began.append((ranking.metric, ranking.sign, ranking.best))

    went_on.train()
    assert began == [("val_child/acc", -1.0, 1)]


@pytest.mark.covers("G6")
def test_a_first_metric_whose_name_does_not_tell_needs_a_rule(child):
    text = (child / "child_project" / "parts.py").read_text().replace("acc=", "much=")
    (child / "child_project" / "parts.py").write_text(text)
    with pytest.raises(ValueError, match=r"whichever of 'val_child/much' is better"):
        config().train()


# ---------------------------------------------------------------------- batches and parameters


@pytest.mark.covers("E3")
def test_a_batch_sampler_is_given_what_the_loader_says_of_batches(child):
    config(train_cfg={"max_epochs": 1}).train()
    made = sys.modules["child_project.parts"].PairedBatchSampler.made
    assert made == [(4, False)]
    loader = {
        "batch_size": 4,
        "drop_last": True,
        "batch_sampler": {"type": "PairedBatchSampler"},
        "dataset": {"type": "ChildSet"},
    }
    runner = config(train_dataloader=loader)
    assert len(runner.train_dataloader) == 5
    assert made[1:] == [(4, True)]
    own = {"type": "PairedBatchSampler", "batch_size": 2}
    assert len(config(train_dataloader={**loader, "batch_sampler": own}).train_dataloader) == 11
    wrong = {"type": "PairedBatchSampler"}
    with pytest.raises(ConfigError, match=r"batch_sampler\.batch_size: .*which is missing"):
        config(train_dataloader={"dataset": {"type": "ChildSet"}, "batch_sampler": wrong})


@pytest.mark.covers("C3", "E3")
def test_parameters_dealt_out_by_mmengine_leave_the_wrapper_as_the_mapping_says(child):
    said = {"optimizer": {"type": "SGD", "lr": 0.1, "weight_decay": 0.5}}
    dealt = {"norm_decay_mult": 0.0}
    windows = {"accumulative_counts": 4, "clip_grad": {"max_norm": 1.0}}
    plain = config(optim_wrapper={**said, **windows}).optimizations["optimization"]
    ours = config(optim_wrapper={**said, **windows, "paramwise_cfg": dealt})
    made = ours.optimizations["optimization"]
    assert repr((made.clip, made.precision)) == repr((plain.clip, plain.precision))
    assert made.accumulation.flushes
    assert plain.accumulation.flushes
    decays = {group["params"][0]: group["weight_decay"] for group in made.optimizer.param_groups}
    norm = ours.model.head[1]
    assert {decays.pop(norm.weight), decays.pop(norm.bias)} == {0.0}
    assert set(decays.values()) == {0.5}


@pytest.mark.covers("C3", "E3")
def test_parameters_dealt_out_by_mmengine_train_in_half_precision_on_any_device(child):
    half = {
        "type": "AmpOptimWrapper",
        "dtype": "bfloat16",
        "optimizer": {"type": "SGD", "lr": 0.1, "weight_decay": 0.5},
        "paramwise_cfg": {"norm_decay_mult": 0.0},
    }
    runner = config(optim_wrapper=half)
    runner.train()
    assert runner.optimizations["optimization"].precision.dtype is torch.bfloat16
