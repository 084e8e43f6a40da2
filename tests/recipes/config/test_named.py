"""What hooks and schedulers go by has to be a metric of the validation."""

from __future__ import annotations

import pytest
import torch

from footplate.recipes.composition.loops import BaseLoop
from footplate.recipes.composition.settings import problems_in
from footplate.recipes.config.objects import Objects

pytestmark = pytest.mark.covers("H3")

BATCHES = [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))]
DATA = {"dataset": [1, 2]}
PLATEAU = {"type": "ReduceLROnPlateau", "metric": "accurcy"}


class OwnLoop(BaseLoop):
    def run(self):
        return {"another": 1.0}


def told(**arguments):
    given = {
        "model": torch.nn.Linear(2, 2),
        "val_dataloader": BATCHES,
        "val_evaluator": {"accuracy": {"type": "Accuracy"}},
        **arguments,
    }
    return [(one.path, one.reason, one.hint) for one in problems_in(given, Objects())]


def best_of(name):
    return {"checkpoint": {"save_best": name, "rule": "greater"}}


@pytest.mark.parametrize("data", [BATCHES, DATA, None])
def test_one_loader_has_the_metrics_own_names(data):
    assert told(val_dataloader=data, default_hooks=best_of("accuracy")) == []
    assert told(val_dataloader=data, default_hooks=best_of("val_accuracy")) == []
    expected = "default_hooks.checkpoint.save_best", "validation measures accuracy"
    for wrong in ("accurcy", "noisy_accuracy"):
        ((*problem, hint),) = told(val_dataloader=data, default_hooks=best_of(wrong))
        assert tuple(problem) == expected
        assert hint == " Did you mean 'accuracy'?"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"clean": DATA, "noisy": DATA}, ["clean_accuracy", "noisy_accuracy"]),
        ([DATA, DATA], ["0_accuracy", "1_accuracy"]),
    ],
)
def test_several_loaders_have_their_names_before_it(data, names):
    for name in names:
        assert told(val_dataloader=data, default_hooks=best_of(name)) == []
    ((_, reason, hint),) = told(val_dataloader=data, default_hooks=best_of("accuracy"))
    assert reason == f"validation measures {', '.join(names)}"
    assert "_accuracy" in hint


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (PLATEAU, "param_scheduler.metric"),
        ([{"type": "LinearLR"}, PLATEAU], "param_scheduler[1].metric"),
        ({"a": [PLATEAU], "b": {"type": "LinearLR"}}, "param_scheduler.a[0].metric"),
        ({"type": "ReduceLROnPlateau", "monitor": "accurcy"}, "param_scheduler.monitor"),
    ],
)
def test_schedulers_go_by_metrics_too(given, path):
    expected = (path, "validation measures accuracy", " Did you mean 'accuracy'?")
    assert told(param_scheduler=given) == [expected]
    assert told(param_scheduler={**PLATEAU, "metric": "accuracy"}) == []


def test_a_loop_of_ones_own_calls_metrics_what_it_likes():
    own = {"type": OwnLoop}
    assert told(val_cfg=own, default_hooks=best_of("another")) == []
    assert told(val_cfg={"type": "ValLoop"}, default_hooks=best_of("another")) != []
