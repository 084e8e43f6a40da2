"""Builders and registries by MMCV's names."""

# ruff: noqa: C408 - configurations are written as MMCV's users write them

from __future__ import annotations

import pytest
import torch
from torch import nn

import footplate.recipes.mmcv as mmcv
from tests.recipes.mmcv.scenarios import Stepping


def test_a_registry_looks_around():
    models = mmcv.Registry("model")
    own = mmcv.Registry("model", parent=models, scope="own")

    @models.register_module()
    class Net:
        def __init__(self, depth=1):
            self.depth = depth

    @own.register_module(name="Small")
    class Other:
        pass

    assert models.get("own.Small") is Other
    assert own.get("own.Small") is Other
    assert own.get("Net") is Net
    assert models.get("Small") is None
    assert own.build(dict(type="Net"), default_args=dict(depth=3)).depth == 3
    assert mmcv.build_from_cfg(dict(type=Net, depth=2), models).depth == 2
    assert (models.name, "Net" in models, own.children) == ("model", True, {})


def test_a_registry_may_build_otherwise():
    models = mmcv.Registry("model", build_func=lambda cfg, registry: (cfg, registry.name))
    below = mmcv.Registry("head", parent=models)
    assert below.build({"a": 1}) == ({"a": 1}, "head")


@pytest.mark.parametrize(
    ("cfg", "error", "text"),
    [
        (3, TypeError, "cfg is a dict"),
        ({}, KeyError, "built of a dict with 'type'"),
        ({"type": "SDG", "params": []}, KeyError, "'SDG' is no optimizer"),
        ({"type": 3}, TypeError, "a name, a class or a function"),
    ],
)
def test_what_can_not_be_built_is_refused(cfg, error, text):
    with pytest.raises(error, match=text):
        mmcv.build_from_cfg(cfg, mmcv.OPTIMIZERS)
    with pytest.raises(TypeError, match="registry is a Registry"):
        mmcv.build_from_cfg({"type": "SGD"}, {})


def test_an_error_of_the_built_says_what_was_built():
    with pytest.raises(ValueError, match="Invalid learning rate") as caught:
        mmcv.build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=-1))
    assert "while SGD was built of" in caught.value.__notes__[0]


def test_optimizers_are_built_with_all_parameters_or_with_factors():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    plain = mmcv.build_optimizer(model, dict(type="AdamW", lr=0.1))
    assert isinstance(plain, torch.optim.AdamW)
    assert len(plain.param_groups) == 1
    cfg = dict(type="SGD", lr=0.1, weight_decay=0.1, paramwise_cfg=dict(norm_decay_mult=0))
    assert [group["weight_decay"] for group in mmcv.build_optimizer(model, cfg).param_groups] == [
        0.1,
        0.1,
        0,
        0,
    ]


def test_a_shared_parameter_may_be_in_one_group():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    cfg = dict(type="SGD", lr=0.1, paramwise_cfg=dict(bias_lr_mult=2.0, bypass_duplicate=True))
    assert len(mmcv.build_optimizer(model, cfg).param_groups) == 3


@pytest.mark.parametrize(
    ("cfg", "text"),
    [
        (dict(paramwise_cfg=dict(bias_lr_mul=2.0)), "bias_lr_mult"),
        (dict(paramwise_cfg=dict(dcn_offset_lr_mult=2.0)), "not 'dcn_offset_lr_mult'"),
        (dict(paramwise_cfg=dict(norm_decay_mult=0.0)), "give the optimizer weight_decay="),
    ],
)
def test_factors_are_checked(cfg, text):
    with pytest.raises(ValueError, match=text):
        mmcv.build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=0.1, **cfg))


def test_a_constructor_of_ones_own_builds_the_optimizer():
    @mmcv.OPTIMIZER_BUILDERS.register_module(force=True)
    class BiasAlone:
        def __init__(self, optimizer_cfg, paramwise_cfg):
            self.options = optimizer_cfg

        def __call__(self, model):
            return torch.optim.SGD([model.bias], lr=self.options["lr"])

    built = mmcv.build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=1, constructor="BiasAlone"))
    assert len(built.param_groups[0]["params"]) == 1


def test_runners_are_built_by_name_or_by_a_constructor_of_ones_own():
    @mmcv.RUNNER_BUILDERS.register_module(force=True)
    class Named(mmcv.DefaultRunnerConstructor):
        def __call__(self):
            runner = super().__call__()
            runner.called = "mine"
            return runner

    cfg = dict(type="IterBasedRunner", max_iters=5)
    runner = mmcv.build_runner(cfg, dict(model=Stepping()))
    assert (type(runner), runner.max_iters) == (mmcv.IterBasedRunner, 5)
    assert (
        mmcv.build_runner({**cfg, "constructor": "Named"}, dict(model=Stepping())).called == "mine"
    )
    with pytest.raises(KeyError, match="EpochBasedRunner"):
        mmcv.build_runner(dict(type="EpochBaseRunner"), dict(model=Stepping()))


def test_loaders_are_built_by_the_names_of_the_libraries_on_top():
    data = list(range(10))
    loader = mmcv.build_dataloader(data, 4, 0, shuffle=False, drop_last=True)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    orders = [
        [batch.tolist() for batch in mmcv.build_dataloader(data, 4, 2, seed=seed)]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    with pytest.raises(NotImplementedError, match="num_gpus=8"):
        mmcv.build_dataloader(data, 4, 0, num_gpus=8)


def test_the_small_names_are_there():
    mmcv.set_random_seed(3)
    drawn = torch.rand(1)
    mmcv.set_random_seed(3)
    assert torch.rand(1) == drawn
    assert mmcv.get_dist_info() == (0, 1)
    assert mmcv.get_priority("very_high") == mmcv.Priority.VERY_HIGH == 10
    buffer = mmcv.LogBuffer(keep=2)
    for value in (1.0, 2.0, 4.0):
        buffer.update({"loss": value})
    buffer.average()
    assert buffer.output == {"loss": 3.0}
    with pytest.raises(ValueError, match="n=-1"):
        buffer.average(-1)
    with pytest.raises(TypeError, match="by name"):
        buffer.update(3)
