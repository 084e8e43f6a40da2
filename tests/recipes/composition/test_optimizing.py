"""Optimizers, their schedules, and the linear scaling rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from footplate.engine.events import Events
from footplate.engine.step.clipping import ClipNorm, ClipValue
from footplate.engine.step.optimization import Optimization
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import OPTIM_WRAPPER_CONSTRUCTORS
from tests.recipes.composition.tools import Line, runner

SGD = {"type": "SGD", "lr": 1.0}


def curve(made):
    """The learning rate with which each iteration was made."""
    values = []

    @made.trainer.on(Events.ITERATION_STARTED)
    def note():
        values.append(made.optim_wrapper.optimizer.param_groups[0]["lr"])

    made.train()
    return values


# ---------------------------------------------------------------------- optimizers


@pytest.mark.covers("D6")
def test_the_default_is_adamw_without_decay_on_biases_and_norms(tmp_path):
    model = nn.Sequential(nn.Linear(1, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    made = runner(tmp_path, model=model, optim_wrapper=None)
    optimizer = made.optim_wrapper.optimizer
    assert type(optimizer) is torch.optim.AdamW
    decayed = [one for g in optimizer.param_groups if g["weight_decay"] for one in g["params"]]
    assert {id(one) for one in decayed} == {id(model[0].weight), id(model[2].weight)}
    made.train()


@pytest.mark.covers("C7", "C8", "H2")
@pytest.mark.parametrize("name", ["OptimWrapper", "OptimizerWrapper", None])
def test_a_wrapper_with_accumulation_and_clipping(tmp_path, name):
    given = {"optimizer": SGD, "accumulative_counts": 2, "clip_grad": {"max_norm": 0.5}}
    made = runner(tmp_path, optim_wrapper={**given, **({"type": name} if name else {})})
    assert repr(made.optim_wrapper.clip) == repr(ClipNorm(0.5))
    made.train()
    assert made.trainer.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 4


@pytest.mark.covers("C9", "H2")
@pytest.mark.parametrize(
    ("given", "precision", "scale"),
    [
        ({"dtype": "bfloat16"}, "bf16", None),
        ({"loss_scale": 8.0}, "fp16", 8.0),
        ({"loss_scale": {"init_scale": 4.0}}, "fp16", 4.0),
        ({}, "fp16", 65536.0),
    ],
)
@pytest.mark.parametrize("name", ["AmpOptimWrapper", "AmpOptimizerWrapper"])
def test_wrappers_in_half_precision(tmp_path, name, given, precision, scale):
    made = runner(tmp_path, optim_wrapper={"type": name, "optimizer": SGD, **given})
    wrapper = made.optim_wrapper
    assert wrapper.precision.kind == precision
    scaler = wrapper.scaler
    assert (None if scaler is None else scaler.get_scale()) == scale
    made.train()
    assert made.iter == 8


@pytest.mark.covers("D6")
def test_values_are_clipped(tmp_path):
    wrapper = {"optimizer": SGD, "clip_grad": {"type": "value", "clip_value": 0.1}}
    made = runner(tmp_path, optim_wrapper=wrapper)
    assert repr(made.optim_wrapper.clip) == repr(ClipValue(0.1))
    made.train()


@pytest.mark.covers("D6")
def test_an_optimizer_hook_clips_where_the_wrapper_does_not(tmp_path):
    hooks = {"optimizer": {"type": "OptimizerHook", "grad_clip": {"max_norm": 0.5}}}
    made = runner(tmp_path, default_hooks=hooks)
    assert made.trainer is not None
    assert repr(made.optim_wrapper.clip) == repr(ClipNorm(0.5))
    wrapper = {"optimizer": SGD, "clip_grad": 0.25}
    made = runner(tmp_path, default_hooks=hooks, optim_wrapper=wrapper)
    assert made.trainer is not None
    assert repr(made.optim_wrapper.clip) == repr(ClipNorm(0.25))


@pytest.mark.covers("D6")
def test_parameters_by_rule(tmp_path):
    model = nn.Sequential(nn.Linear(1, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    wrapper = {
        "optimizer": {"type": "AdamW", "lr": 0.1, "weight_decay": 0.5},
        "paramwise_cfg": {
            "norm_decay_mult": 0,
            "bias_decay_mult": 0,
            "custom_keys": {"2.weight": {"lr_mult": 0.1}},
        },
    }
    optimizer = runner(tmp_path, model=model, optim_wrapper=wrapper).optim_wrapper.optimizer
    found = {
        id(one): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }
    assert found[id(model[0].weight)] == (0.1, 0.5)
    assert found[id(model[0].bias)] == (0.1, 0.0)
    assert found[id(model[1].weight)] == (0.1, 0.0)
    assert found[id(model[2].weight)] == (pytest.approx(0.01), 0.5)


@pytest.mark.covers("D6")
def test_instances_are_taken_as_they_are(tmp_path):
    model = Line()
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    assert runner(tmp_path, model=model, optim_wrapper=sgd).optim_wrapper.optimizer is sgd
    own = Optimization(torch.optim.SGD(model.parameters(), 0.1))
    assert runner(tmp_path, model=model, optim_wrapper=own).optim_wrapper is own
    wrapper = {"optimizer": sgd, "accumulative_counts": 4}
    made = runner(tmp_path, model=model, optim_wrapper=wrapper).optim_wrapper
    assert (made.optimizer, made.accumulation.size_in(1)) == (sgd, 4)


@pytest.mark.covers("C6")
def test_a_constructor_deals_the_parameters_out(tmp_path):
    @OPTIM_WRAPPER_CONSTRUCTORS.register_module()
    class Halves:
        def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
            self.cfg = optim_wrapper_cfg

        def __call__(self, model):
            own = {"weight": [model.weight], "bias": [model.bias]}
            return {n: torch.optim.SGD(own[n], **one["optimizer"]) for n, one in self.cfg.items()}

    try:
        wrapper = {
            "weight": {"optimizer": {"lr": 0.1}},
            "bias": {"optimizer": {"lr": 0.2}},
            "constructor": "Halves",
        }
        made = runner(tmp_path, optim_wrapper=wrapper)
        lrs = {n: one.optimizer.defaults["lr"] for n, one in made.optim_wrapper.items()}
        assert lrs == {"weight": 0.1, "bias": 0.2}
    finally:
        OPTIM_WRAPPER_CONSTRUCTORS._registered.pop("Halves")


@pytest.mark.covers("C6")
def test_several_optimizers_need_submodules_of_their_names(tmp_path):
    made = runner(tmp_path, optim_wrapper={"weigth": {"optimizer": SGD}, "b": {"optimizer": SGD}})
    with pytest.raises(ConfigError, match=r"optim_wrapper\.weigth: Line has no submodule of this"):
        made.train()


# ---------------------------------------------------------------------- the scaling rule


@pytest.mark.covers("D4")
def test_learning_rates_follow_the_size_of_the_real_batch(tmp_path):
    def lr(**rule):
        wrapper = {"optimizer": SGD, "accumulative_counts": 2}
        schedule = {"type": "StepLR", "step_size": 1, "gamma": 0.5}
        made = runner(tmp_path, optim_wrapper=wrapper, auto_scale_lr=rule, param_scheduler=schedule)
        return curve(made)[::4]

    assert lr(base_batch_size=2, enable=True) == [2.0, 1.0]
    assert lr(base_batch_size=2, enable=False) == [1.0, 0.5]
    assert lr(base_batch_size=2) == [1.0, 0.5]
    made = runner(
        tmp_path, auto_scale_lr={"base_batch_size": 2, "enable": True}, train_dataloader=[1]
    )
    with pytest.raises(ValueError, match="auto_scale_lr needs the size of a batch"):
        made.optim_wrapper  # noqa: B018


# ---------------------------------------------------------------------- schedules


@pytest.mark.covers("D1")
def test_warm_up_by_iteration_and_a_cosine_by_epoch(tmp_path):
    warm_up = {"type": "LinearLR", "start_factor": 0.25, "by_epoch": False, "begin": 0, "end": 3}
    cosine = {"type": "CosineAnnealingLR", "begin": 1}
    made = runner(
        tmp_path,
        optim_wrapper={"optimizer": SGD},
        param_scheduler=[warm_up, cosine],
        train_cfg={"max_epochs": 5},
    )
    found = curve(made)
    assert found[:4] == pytest.approx([0.25, 0.625, 1.0, 1.0])  # its last move has the whole
    expected = [1.0] + [(1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)]
    assert found[3::4] == pytest.approx(expected)


@pytest.mark.covers("D1")
def test_what_has_an_end_stays_there(tmp_path):
    cosine = {"type": "CosineAnnealingLR", "eta_min": 0.5, "begin": 1, "end": 3}
    made = runner(
        tmp_path,
        optim_wrapper={"optimizer": SGD},
        param_scheduler=cosine,
        train_cfg={"max_epochs": 6},
    )
    assert curve(made)[::4] == pytest.approx([1.0, 1.0, 0.75, 0.75, 0.75, 0.75])


@pytest.mark.covers("D1")
def test_a_schedule_that_has_an_end_goes_on_when_a_run_does(tmp_path):
    schedule = [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
        {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 6, "end": 10},
        {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5},
    ]

    def made(**changes):
        cfg = {"max_epochs": 4, **changes.pop("train_cfg", {})}
        wrapper = {"optimizer": SGD}
        return runner(
            tmp_path, optim_wrapper=wrapper, param_scheduler=schedule, train_cfg=cfg, **changes
        )

    whole = curve(made(experiment_name="whole"))
    cut = made(experiment_name="cut")
    cut.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), cut.trainer.interrupt)
    assert curve(cut) == whole[:7]
    cut.save_checkpoint("here")
    went_on = made(experiment_name="cut", resume=str(cut.folder / "checkpoints" / "here"))
    assert curve(went_on) == pytest.approx(whole[7:])


@pytest.mark.covers("D1")
@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ({"type": "StepLR", "step_size": 1, "gamma": 0.5}, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
        (
            {"type": "ExponentialLR", "gamma": 0.5, "by_epoch": False},
            [0.5**n for n in range(8)],
        ),
        (
            {"type": "ExponentialLR", "gamma": 0.5, "unit": "step"},
            [1, 1, *[0.5] * 2, *[0.25] * 2, *[0.125] * 2],
        ),
        (
            {"type": "PolynomialLR", "convert_to_iter_based": True, "end": 1},
            [1, 0.75, 0.5, 0.25, 0, 0, 0, 0],
        ),
        (
            {"type": "MultiStepLR", "convert_to_iter_based": True, "milestones": [1], "gamma": 0.5},
            [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5],
        ),
        (
            {"type": "LinearLR", "start_factor": 0.5, "by_epoch": False},
            [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1],
        ),
        (
            {"type": "CosineAnnealingLR", "by_epoch": False, "T_max": 2},
            [1, 0.5, 0, 0.5, 1, 0.5, 0, 0.5],
        ),
    ],
    ids=lambda one: one.get("type") if isinstance(one, dict) else "",
)
def test_units_and_durations(tmp_path, schedule, values):
    wrapper = {"optimizer": SGD, "accumulative_counts": 2}
    made = runner(tmp_path, optim_wrapper=wrapper, param_scheduler=schedule)
    assert curve(made) == pytest.approx(values, abs=1e-9)


@pytest.mark.covers("D1")
@pytest.mark.parametrize(
    ("unit", "cfg", "total"),
    [
        ("epoch", {"max_epochs": 6}, 6),
        ("iteration", {"max_epochs": 6}, 24),
        ("step", {"max_epochs": 6}, 12),
        ("iteration", {"max_iters": 9, "by_epoch": False}, 9),
        ("epoch", {"max_iters": 9, "by_epoch": False}, 3),
        ("step", {"max_epochs": None, "max_steps": 7}, 7),
        ("iteration", {"max_epochs": 6, "limit_batches": 2}, 12),
    ],
)
def test_durations_are_filled_in_from_the_length_of_the_run(tmp_path, unit, cfg, total):
    wrapper = {"optimizer": SGD, "accumulative_counts": 2}
    schedule = {"type": "CosineAnnealingLR", "unit": unit}
    made = runner(tmp_path, optim_wrapper=wrapper, param_scheduler=schedule, train_cfg=cfg)
    (handler,) = made.param_schedulers
    (scheduler,) = handler.schedulers[""]
    assert (handler.unit, scheduler.T_max) == (unit, total)


@pytest.mark.covers("D1")
def test_a_length_that_is_not_known_can_not_be_filled_in(tmp_path):
    cfg = {"max_epochs": None, "max_time": 60}
    schedule = {"type": "CosineAnnealingLR", "by_epoch": False}
    made = runner(tmp_path, param_scheduler=schedule, train_cfg=cfg)
    with pytest.raises(
        ConfigError, match=r"param_scheduler\.T_max: is not said, and how many iter"
    ):
        made.param_schedulers  # noqa: B018


@pytest.mark.covers("D1")
def test_a_scheduler_that_is_made_already(tmp_path):
    model = Line()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    halving = torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5)
    made = runner(tmp_path, model=model, optim_wrapper=sgd, param_scheduler=halving)
    assert curve(made)[::4] == [1.0, 0.5]


@pytest.mark.covers("D2")
def test_schedules_of_pytorch_ignite(tmp_path):
    schedule = {
        "type": "LinearCyclicalScheduler",
        "param_name": "lr",
        "start_value": 1.0,
        "end_value": 0.0,
        "cycle_size": 8,
        "by_epoch": False,
    }
    made = runner(tmp_path, optim_wrapper={"optimizer": SGD}, param_scheduler=schedule)
    assert curve(made) == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75])


@pytest.mark.covers("D3")
@pytest.mark.parametrize("key", ["metric", "monitor"])
@pytest.mark.parametrize("name", ["mse", "val_mse"])
def test_a_plateau_is_looked_for_when_there_was_a_validation(tmp_path, key, name):
    plateau = {"type": "ReduceLROnPlateau", "patience": 0, "threshold": 99.0, "factor": 0.5}
    made = runner(
        tmp_path,
        optim_wrapper={"optimizer": SGD},
        param_scheduler={**plateau, key: name},
        train_cfg={"max_epochs": 6, "val_interval": 2},
    )
    assert curve(made)[::4] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
    ]  # none is good enough, the first neither


@pytest.mark.covers("D3")
def test_a_metric_that_is_not_there_is_named(tmp_path):
    plateau = {"type": "ReduceLROnPlateau", "metric": "mes"}
    made = runner(tmp_path, param_scheduler=plateau)
    with pytest.raises(KeyError, match=r"needs metric 'val_mes'.*'val_mse'"):
        made.train()


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "StpLR"}, r"param_scheduler\.type: .*'StepLR'"),
        ([{"type": "StepLR", "step_sise": 1}], r"param_scheduler\[0\]\.step_sise: .*'step_size'"),
        ({"type": "StepLR"}, r"param_scheduler\.step_size: .*missing"),
        ({"type": "ReduceLROnPlateau"}, r"param_scheduler\.metric: .*it is missing"),
        ({"type": "StepLR", "step_size": 1, "metric": "a"}, r"param_scheduler\.metric: is for Red"),
        ({"type": "StepLR", "step_size": 1, "unit": "epochs"}, r"param_scheduler\.unit: .*'epoch'"),
        ({"type": "StepLR", "step_size": 1, "begin": -1}, r"param_scheduler\.begin: .*from 0 on"),
        (
            {"type": "StepLR", "step_size": 1, "begin": 3, "end": 2},
            r"param_scheduler\.end: is behi",
        ),
        (
            {"type": "ReduceLROnPlateau", "metric": "a", "end": 3},
            r"param_scheduler\.end: is for sche",
        ),
        ({"type": "StepLR", "step_size": 1, "by_epoch": 1}, r"param_scheduler\.by_epoch"),
        (5, r"param_scheduler: is no scheduler"),
        ({"a": {"type": "StepLR", "step": 1}}, r"param_scheduler\.a\.step"),
    ],
)
def test_wrong_schedules_are_refused(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        runner(tmp_path, param_scheduler=given)


@pytest.mark.covers("H3")
def test_a_schedule_of_an_optimizer_that_is_not_there(tmp_path):
    made = runner(tmp_path, param_scheduler={"head": {"type": "StepLR", "step_size": 1}})
    with pytest.raises(ConfigError, match=r"param_scheduler\.head: the optimizers are"):
        made.train()


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": {"type": "SDG", "lr": 1}}, r"optim_wrapper\.optimizer\.type: .*'SGD'"),
        ({"optimizer": {"type": "SGD", "momentun": 1}}, r"optimizer\.momentun: .*'momentum'"),
        ({"optimizer": {"type": "SGD", "lr": "fast"}}, r"optim_wrapper\.optimizer\.lr"),
        (
            {"optimizer": SGD, "accumulative_count": 2},
            r"accumulative_count: .*'accumulative_counts'",
        ),
        ({"type": "OptimWraper", "optimizer": SGD}, r"optim_wrapper\.type: .*'OptimWrapper'"),
        ({"type": "OptimWrapper"}, r"optim_wrapper\.optimizer: an optimizer is missing"),
        ({"optimizer": SGD, "clip_grad": {"max_nrm": 1}}, r"clip_grad\.max_nrm: .*'max_norm'"),
        (
            {"optimizer": SGD, "paramwise_cfg": {"bias_decay": 0}},
            r"optim_wrapper\.paramwise_cfg\.bias_decay",
        ),
        (5, r"optim_wrapper: an optim_wrapper is an optimizer"),
    ],
)
def test_wrong_wrappers_are_refused(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        runner(tmp_path, optim_wrapper=given)


@pytest.mark.covers("H3")
def test_what_is_wrong_is_told_before_the_model_is_built_and_all_at_once(tmp_path):
    built = []

    def model():
        built.append(1)
        return Line()

    from footplate.recipes.runner import Runner

    with pytest.raises(ConfigError) as caught:
        Runner(
            {"type": model},
            tmp_path,
            train_dataloader={"dataset": [1], "batchsize": 2},
            train_cfg={"max_epoch": 3},
            optim_wrapper={"optimizer": {"type": "SGD", "momentun": 1}},
            param_scheduler=[{"type": "StpLR"}],
            randomness={"seed": "seven"},
            env_cfg={"mp_cfg": {"mp_start_method": "thread"}},
            custom_hooks=[{"type": "EMMA"}],
            val_evaluator={"type": "Acuracy"},
            resume=3,
        )
    assert [one.path for one in caught.value.problems] == [
        "train_dataloader.batchsize",
        "train_cfg.max_epoch",
        "optim_wrapper.optimizer.momentun",
        "param_scheduler[0].type",
        "val_evaluator.type",
        "custom_hooks[0].type",
        "resume",
        "env_cfg.mp_cfg.mp_start_method",
        "randomness.seed",
    ]
    assert not built


class Stream(torch.utils.data.IterableDataset):
    """Samples without a number of them."""

    def __iter__(self):
        x = torch.ones(1)
        return iter([(x, x)] * 8)


STREAM = {"dataset": Stream(), "batch_size": 2}


@pytest.mark.covers("F5")
@pytest.mark.parametrize("unit", ["iteration", "step"])
def test_a_duration_is_filled_in_without_a_length_of_the_data(tmp_path, unit):
    cfg, schedule = {"max_iters": 6}, {"type": "CosineAnnealingLR", "unit": unit}
    made = runner(tmp_path, train_dataloader=STREAM, train_cfg=cfg, param_scheduler=schedule)
    assert (made.max_iters, made.batches_in_epoch()) == (6, None)
    (handler,) = made.param_schedulers
    assert handler.schedulers[""][0].T_max == 6
    made.train()
    assert made.iter == 6


@pytest.mark.covers("F5")
def test_epochs_of_data_without_a_length_have_no_known_iterations(tmp_path):
    made = runner(tmp_path, train_dataloader=STREAM)
    assert (made.max_epochs, made.max_iters) == (2, None)
    made.train()
    assert made.iter == 8


@pytest.mark.covers("C1")
def test_data_in_an_order_of_their_own_are_not_shuffled(tmp_path):
    made = runner(tmp_path, train_dataloader={**STREAM, "shuffle": True})
    with pytest.raises(ConfigError, match=r"train_dataloader\.shuffle: a Stream gives its samples"):
        made.train()
    runner(tmp_path, train_dataloader={**STREAM, "shuffle": False}).train()
