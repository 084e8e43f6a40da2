"""Thirty iterations by MMEngine's own Runner, and by ours: the same losses, to the last bit."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

pytest.importorskip("mmengine")

from mmengine.dataset import DefaultSampler
from mmengine.optim import LinearLR, OptimWrapper
from mmengine.runner import Runner as MMEngineRunner

from footplate import Runner
from tests.recipes.mmengine_task import (
    Accuracy,
    Gan,
    SharedLoss,
    TakenApart,
    loader,
    losses_of,
    two_wrappers,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mmengine")

WARM_UP = {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": 6}
COSINE = {"type": "CosineAnnealingLR", "T_max": 24, "by_epoch": False, "begin": 6, "end": 30}
POLY = {"type": "PolyLR", "power": 0.9, "by_epoch": True, "convert_to_iter_based": True}
MOMENTUM = {"type": "CosineAnnealingMomentum", "eta_min": 0.5, "by_epoch": False}
PLATEAU = {"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater", "patience": 0}
VALIDATED = {"val_dataloader": loader(12, 5), "val_evaluator": [Accuracy()], "val_cfg": {}}


class Halved(OptimWrapper):
    """A wrapper of the user's, which computes with half the bits."""

    @contextmanager
    def optim_context(self, model):
        with torch.autocast("cpu", dtype=torch.bfloat16), super().optim_context(model):
            yield


def adam(**options):
    optimizer = {"type": "AdamW", "lr": 0.01, "weight_decay": 0.1}
    return {"type": "OptimWrapper", "optimizer": optimizer, **options}


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def scheduled(model):
    """A wrapper, and a scheduler of MMEngine's that was made for it."""
    wrapper = OptimWrapper(sgd(model))
    scheduled.by = LinearLR(wrapper, start_factor=0.1, by_epoch=False, end=6)
    return wrapper


RUNS = {
    "plain": {},
    "by iteration": {"train_cfg": {"by_epoch": False, "max_iters": 30, "val_interval": 7}},
    "shuffled": {"train_dataloader": lambda: loader(shuffle=True)},
    "sampled": {
        "train_dataloader": lambda: {
            "dataset": loader().dataset,
            "sampler": {"type": DefaultSampler, "shuffle": True},
            "collate_fn": {"type": "default_collate"},
            "batch_size": 4,
            "num_workers": 0,
        }
    },
    "accumulated and clipped": {
        "optim_wrapper": adam(accumulative_counts=2, clip_grad={"max_norm": 0.1})
    },
    "clipped by value": {
        "optim_wrapper": adam(clip_grad={"type": "value", "clip_value": 0.01}),
    },
    "warm-up and cosine": {"optim_wrapper": adam(), "param_scheduler": [WARM_UP, COSINE]},
    "poly and momentum": {"param_scheduler": [WARM_UP, POLY, MOMENTUM]},
    "beta": {"optim_wrapper": adam(), "param_scheduler": [MOMENTUM]},
    "plateau": {**VALIDATED, "param_scheduler": PLATEAU},
    "a wrapper": {
        "optim_wrapper": lambda model: OptimWrapper(
            sgd(model), accumulative_counts=4, clip_grad={"max_norm": 0.1}
        )
    },
    "a wrapper of one's own": {
        "optim_wrapper": lambda model: Halved(sgd(model), accumulative_counts=3)
    },
    "a scheduler": {"optim_wrapper": scheduled, "param_scheduler": lambda _: [scheduled.by]},
    "dealt out": {
        "optim_wrapper": adam(
            paramwise_cfg={"bias_decay_mult": 0.0, "custom_keys": {"net.0": {"lr_mult": 0.1}}}
        )
    },
    "taken apart": {"model": TakenApart},
    "two optimizers": {
        "model": Gan,
        "optim_wrapper": two_wrappers,
        "param_scheduler": {"generator": WARM_UP, "discriminator": POLY},
    },
    "a loss of two optimizers": {"model": SharedLoss, "optim_wrapper": two_wrappers},
}


def given(name):
    """What a runner is given; of mappings each has its own, as MMEngine takes them apart."""
    return {key: one() if key == "train_dataloader" else one for key, one in RUNS[name].items()}


@pytest.mark.covers("C3", "E3", "D1")
@pytest.mark.parametrize("name", RUNS)
def test_the_losses_are_those_of_mmengine(name):
    theirs = losses_of(MMEngineRunner, **given(name))
    ours = losses_of(Runner, **given(name))
    assert len(ours) == 30
    assert ours == theirs
