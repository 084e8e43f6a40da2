"""The same LightningModule, data and seed, trained by Lightning's trainer and by ours."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")

import torch

from tests.recipes import lightning_modules as modules
from tests.recipes.lightning_modules import ours, theirs

pytestmark = [
    pytest.mark.covers("C4"),
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
]


def alike(kind, tmp_path, *, validates=False, options=None, wrapper=None):
    """Train two of a kind, and compare all losses, metrics and weights, to the bit."""
    one, other = modules.twins(kind)
    measured = theirs(one, tmp_path / "theirs", validates=validates, **(options or {}))
    wrapped = {} if wrapper is None else {"optim_wrapper": wrapper}
    assert ours(other, tmp_path / "ours", validates=validates, **wrapped) == measured
    assert one.losses == other.losses
    assert len(one.losses) >= 30
    assert len(set(one.losses)) > 20
    for (name, weight), theirs_ in zip(other.named_parameters(), one.parameters(), strict=True):
        assert torch.equal(weight, theirs_), name
    return other


@pytest.mark.parametrize(
    "kind",
    [
        modules.Regression,
        modules.ByStep,
        modules.ByEpoch,
        modules.EachThird,
        modules.WarmUp,
        modules.SecondOrder,
    ],
)
def test_automatic_optimization(kind, tmp_path):
    alike(kind, tmp_path)


@pytest.mark.covers("D3")
def test_a_scheduler_that_looks_at_the_validation(tmp_path):
    module = alike(modules.Plateau, tmp_path, validates=True)
    assert module.optimizers().param_groups[0]["lr"] < 0.05


@pytest.mark.covers("C5")
def test_optimization_by_hand(tmp_path):
    alike(modules.ByHand, tmp_path)


@pytest.mark.covers("C6")
def test_two_optimizers_by_hand(tmp_path):
    alike(modules.Gan, tmp_path)


@pytest.mark.covers("C7")
@pytest.mark.parametrize("kind", [modules.Regression, modules.ByStep])
def test_accumulation(kind, tmp_path):
    one, other = modules.twins(kind)
    theirs(one, tmp_path / "theirs", accumulate_grad_batches=4, limit_train_batches=8)
    ours(
        other,
        tmp_path / "ours",
        train_cfg={"max_epochs": 3, "limit_batches": 8},
        optim_wrapper={"accumulative_counts": 4},
    )
    assert one.losses == other.losses
    assert other.trainer.global_step == one.trainer.global_step == 6
    for weight, expected in zip(other.parameters(), one.parameters(), strict=True):
        assert torch.equal(weight, expected)


@pytest.mark.covers("C8")
def test_clipping_by_norm(tmp_path):
    options = {"gradient_clip_val": 0.1}
    alike(modules.ByEpoch, tmp_path, options=options, wrapper={"clip_grad": 0.1})


@pytest.mark.covers("C8")
def test_clipping_by_value(tmp_path):
    options = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    wrapper = {"clip_grad": {"type": "value", "clip_value": 0.01}}
    alike(modules.ByEpoch, tmp_path, options=options, wrapper=wrapper)


@pytest.mark.covers("C9")
@pytest.mark.parametrize("kind", [modules.Regression, modules.Gan])
def test_half_precision(kind, tmp_path):
    options, wrapper = {"precision": "bf16-mixed"}, {"precision": "bf16"}
    alike(kind, tmp_path, options=options, wrapper=wrapper)
