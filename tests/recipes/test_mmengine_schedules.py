"""Every scheduler of MMEngine gives the values here that it gives there, to the last bit."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("mmengine")

import mmengine.optim
from mmengine.optim import scheduler as theirs
from mmengine.registry import PARAM_SCHEDULERS

from footplate.recipes.composition.schedules import check_schedules, schedules
from footplate.recipes.config.objects import Objects
from footplate.recipes.config.problems import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of .scheduler.step:UserWarning")

MOVES, IN_EPOCH = 24, 4

FAMILIES = {
    "Constant": {"factor": 0.3},
    "CosineAnnealing": {"eta_min_ratio": 0.05},
    "CosineRestart": {"periods": [5, 7], "restart_weights": [1, 0.5], "eta_min": 0.01},
    "Exponential": {"gamma": 0.9},
    "Linear": {"start_factor": 0.1},
    "MultiStep": {"milestones": [3, 6, 6], "gamma": 0.5},
    "Poly": {"power": 0.9, "eta_min": 1e-3},
    "Step": {"step_size": 3, "gamma": 0.5},
}
RANGES = {
    "by iteration": {"begin": 2, "end": 15, "by_epoch": False},
    "by epoch": {"begin": 0, "end": 6},
    "converted": {"begin": 1, "end": 5, "convert_to_iter_based": True},
}
OF_DECAY = {"param_name": "weight_decay", "begin": 1, "by_epoch": False}
WARM_UP = {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": 6}
BEHIND = {"begin": 6, "end": MOVES, "by_epoch": False}

CASES = {
    **{
        f"{name}{kind} {range_}": [{"type": f"{name}{kind}", **said, **RANGES[range_]}]
        for name, said in FAMILIES.items()
        for kind in ("LR", "Momentum")
        for range_ in RANGES
    },
    **{
        f"{name}ParamScheduler": [{"type": f"{name}ParamScheduler", **said, **OF_DECAY}]
        for name, said in FAMILIES.items()
    },
    **{
        f"{name}LR behind a warm-up": [WARM_UP, {"type": f"{name}LR", **said, **BEHIND}]
        for name, said in FAMILIES.items()
    },
    "by class": [{"type": theirs.LinearLR, "by_epoch": False}],
    "by path": [{"type": "mmengine.optim.scheduler.ConstantLR", "by_epoch": False}],
    "one cycle": [{"type": "OneCycleLR", "eta_max": 0.5, "by_epoch": False}],
    "three phases": [
        {
            "type": "OneCycleLR",
            "eta_max": 0.5,
            "total_steps": MOVES,
            "three_phase": True,
            "anneal_strategy": "linear",
            "by_epoch": False,
        }
    ],
    "without a range": [{"type": "CosineAnnealingLR", "T_max": 3}, {"type": "PolyLR"}],
    "of torch's names": [{"type": "StepLR", "step_size": 2}, {"type": "ExponentialLR", "gamma": 1}],
}


def sgd():
    """Two groups of different rates."""
    first, second = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [{"params": [first]}, {"params": [second], "lr": 0.3}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.1)


def adam():
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.1)


def length(unit):
    return MOVES if unit == "iteration" else MOVES // IN_EPOCH


def values(optimizer):
    return [
        (group["lr"], group["weight_decay"], group["betas" if "betas" in group else "momentum"])
        for group in optimizer.param_groups
    ]


def course(optimizer, by_iteration, by_epoch):
    """The values of each iteration, with schedulers that move behind it and behind its epoch."""
    found = []
    for number in range(1, MOVES + 1):
        found.append(values(optimizer))
        optimizer.step()
        for one in [*by_iteration, *([] if number % IN_EPOCH else by_epoch)]:
            one.step()
    return found


def by_mmengine(specs, optimizer):
    made = []
    for spec in copy.deepcopy(specs):
        spec.setdefault("end", length("epoch" if spec.get("by_epoch", True) else "iteration"))
        defaults = {"optimizer": optimizer, "epoch_length": IN_EPOCH}
        made.append(PARAM_SCHEDULERS.build(spec, default_args=defaults))
    by_epoch = [one for one in made if one.by_epoch]
    return course(optimizer, [one for one in made if not one.by_epoch], by_epoch)


def handlers(specs, optimizer):
    return schedules(specs, {"optimization": optimizer}, Objects(), length)


def by_ours(specs, optimizer):
    made = {"iteration": [], "epoch": []}
    for handler in handlers(copy.deepcopy(specs), optimizer):
        made[handler.unit] += handler.schedulers[""]
    return course(optimizer, made["iteration"], made["epoch"])


@pytest.mark.covers("D1", "E3")
@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("name", CASES)
def test_the_values_are_mmengines(name, optimizer):
    specs = CASES[name]
    assert by_ours(specs, optimizer()) == by_mmengine(specs, optimizer())


@pytest.mark.covers("D1")
def test_none_of_mmengines_is_left_out():
    names = {name for name in dir(theirs) if name.endswith(("LR", "Momentum", "ParamScheduler"))}
    left = []
    for name in sorted(names - {"_ParamScheduler"}):
        spec = {"type": name, "begin": 0}
        problems = list(check_schedules(spec, "param_scheduler", Objects()))
        if any("told metrics by MMEngine's own runner alone" in str(one) for one in problems):
            left.append(name)
    assert left == ["ReduceOnPlateauMomentum", "ReduceOnPlateauParamScheduler"]


@pytest.mark.covers("D1")
def test_schedulers_that_were_made_go_on_where_they_stood():
    def made():
        optimizer = sgd()
        linear = theirs.LinearLR(optimizer, start_factor=0.1, by_epoch=False, end=9)
        (handler,) = handlers([linear], optimizer)
        return optimizer, handler

    optimizer, handler = made()
    (one,) = handler.schedulers[""]
    for _ in range(4):
        one.step()
    other, resumed = made()
    resumed.load_state_dict(handler.state_dict())
    for group, its_own in zip(other.param_groups, optimizer.param_groups, strict=True):
        group["lr"] = its_own["lr"]  # which the optimizer's own state has
    (same,) = resumed.schedulers[""]
    for scheduler in (one, same):
        scheduler.step()
    assert values(other) == values(optimizer)
    assert (one.last_epoch, same.last_epoch) == (5, 5)
    assert handler.unit == "iteration"


@pytest.mark.covers("D1", "H2")
def test_a_scheduler_of_ones_own_in_mmengines_registry():
    class Doubling(theirs.LinearLR):
        def _get_value(self):
            return [2 * group["lr"] for group in self.optimizer.param_groups]

    PARAM_SCHEDULERS.register_module(module=Doubling, force=True)
    specs = [{"type": "Doubling", "begin": 1, "end": 3, "by_epoch": True}]
    assert by_ours(specs, sgd()) == by_mmengine(specs, sgd())
    assert [first[0] for first, _ in by_ours(specs, sgd())][::4] == [0.1, 0.2, *[0.4] * 4]


@pytest.mark.covers("D1")
def test_ours_go_on_where_they_stood_and_are_planned():
    specs = CASES["CosineAnnealingMomentum by iteration"]
    optimizer, other = adam(), adam()
    (handler,), (resumed,) = handlers(specs, optimizer), handlers(specs, other)
    planned = handler.planned(8)["betas[0]"]
    found = []
    for _ in range(8):
        found.append(optimizer.param_groups[0]["betas"][0])
        handler.schedulers[""][0].step()
    assert planned == found
    resumed.load_state_dict(handler.state_dict())
    other.param_groups[0]["betas"] = optimizer.param_groups[0]["betas"]
    for one in (handler, resumed):
        one.schedulers[""][0].step()
    assert values(other) == values(optimizer)


@pytest.mark.covers("D1")
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"type": "PloyLR"}, r"Did you mean 'PolyLR'"),
        ({"type": "PolyLR", "powr": 1}, r"takes no 'powr'.* Did you mean 'power'"),
        ({"type": "LinearLR", "begin": 0, "start_factor": 2.0}, r"start_factor is from 0 to 1"),
        ({"type": "CosineAnnealingMomentum", "eta_min": 0, "eta_min_ratio": 0}, r"exclude each"),
        ({"type": "LinearParamScheduler", "param_name": "wd"}, r"moves 'wd', which the optimizer"),
    ],
)
def test_what_is_wrong_is_told(spec, line):
    with pytest.raises((ConfigError, ValueError), match=line):
        handlers(spec, sgd())


@pytest.mark.covers("D1")
def test_a_made_scheduler_that_looks_at_a_metric_is_refused():
    optimizer = sgd()
    with pytest.raises(TypeError, match=r"give dict\(type='ReduceOnPlateauLR', monitor"):
        handlers([mmengine.optim.ReduceOnPlateauLR(optimizer)], optimizer)
