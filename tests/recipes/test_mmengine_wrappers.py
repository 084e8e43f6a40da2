"""Optimizer wrappers of MMEngine that were made, and what is taken over of them."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmengine")

from mmengine.optim import AmpOptimWrapper, OptimWrapper

from footplate.recipes.composition.mmengine.wrappers import taken_over
from footplate.recipes.composition.optimizers import check_optimizations
from footplate.recipes.config.objects import Objects

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mmengine")


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)


class OnHost(AmpOptimWrapper):
    """One that can be made where there is no accelerator, with the scaler that torch has there."""

    def __init__(self, optimizer, *, static=None, dtype=torch.float16, **scaler):
        OptimWrapper.__init__(self, optimizer)
        if static is not None:
            scaler = {"init_scale": static}
        self.loss_scaler = torch.amp.GradScaler("cpu", **scaler)
        self._scale_update_param, self.cast_dtype = static, dtype


def grown(precision, steps):
    """The scale, behind steps that were all finite."""
    scaler, weight = precision.scaler("cpu"), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    for _ in range(steps):
        scaler.scale(weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    return scaler.get_scale()


@pytest.mark.covers("C3")
def test_a_static_scale_stays_and_a_dynamic_one_grows():
    assert grown(taken_over(OnHost(sgd(), static=512.0)).precision, 2001) == 512.0
    options = {"init_scale": 8.0, "growth_factor": 3.0, "growth_interval": 2}
    assert grown(taken_over(OnHost(sgd(), **options)).precision, 4) == 72.0


@pytest.mark.covers("C3")
@pytest.mark.parametrize(("dtype", "kind"), [(None, "fp16"), (torch.bfloat16, "bf16")])
def test_the_precision_is_the_wrappers(dtype, kind):
    assert taken_over(OnHost(sgd(), dtype=dtype)).precision.kind == kind
    assert taken_over(OptimWrapper(sgd())).precision.kind == "fp32"


@pytest.mark.covers("C3")
def test_a_precision_of_more_than_half_is_refused():
    with pytest.raises(TypeError, match=r"of torch\.float32 computes with no less than fp32"):
        taken_over(OnHost(sgd(), dtype=torch.float32))


@pytest.mark.covers("C3")
def test_one_of_ones_own_methods_is_driven_which_is_told(caplog):
    class Own(OptimWrapper):
        def step(self, **kwargs):
            super().step(**kwargs)

    with caplog.at_level("INFO", "footplate.runner"):
        taken_over(Own(sgd()))
    assert "Own is driven as it is, for its step" in caplog.text


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("name", "value"),
    [("norm_decay_mult", "none"), ("bias_lr_mult", True), ("custom_keys", {"bias": 1})],
)
def test_an_option_of_its_constructor_that_can_not_be_meant_is_refused(name, value):
    wrapper = {"optimizer": {"type": "SGD", "lr": 0.1}, "paramwise_cfg": {name: value}}
    problems = list(check_optimizations(wrapper, "optim_wrapper", Objects()))
    assert next(one.path for one in problems).startswith(f"optim_wrapper.paramwise_cfg.{name}")
