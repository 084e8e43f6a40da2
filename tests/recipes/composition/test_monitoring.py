"""When a metric is better: what its name tells, and what MMEngine takes it to tell."""

from __future__ import annotations

import pytest
from ignite.metrics import Accuracy

from footplate.recipes.composition.monitoring import names_its_values, rule_of
from footplate.recipes.config.problems import OptionError

MMENGINES = [
    *("acc", "accuracy/top1", "top5", "mAcc", "aAcc", "valacc", "auc/x", "AR@100", "precision"),
    *("coco/bbox_mAP", "coco/bbox_mAP_50", "pascal_voc/mAP", "map50", "mIoU", "miou", "mDice"),
    *("loss", "loss_bbox", "valloss", "decode.acc_seg"),
]


@pytest.mark.covers("G6")
@pytest.mark.parametrize("name", MMENGINES)
def test_names_tell_what_they_tell_mmengine(name):
    hooks = pytest.importorskip("mmengine.hooks")
    assert [rule_of(name)] == hooks.CheckpointHook(save_best=name).rules


@pytest.mark.covers("G6")
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, "greater") for name in ("AP50", "PSNR", "f1-score", "single-label/f1", "r2")),
        *((name, "less") for name in ("MAE", "error/abs", "FID", "mape", "ValLoss", "power_loss")),
    ],
)
def test_names_tell(name, rule):
    assert rule_of(name) == rule


@pytest.mark.covers("G6")
@pytest.mark.parametrize("name", ["score", "size", "stops", "mapped", "accumulated", "glossary"])
def test_names_that_do_not_tell_are_refused(name):
    with pytest.raises(OptionError, match="its name does not tell"):
        rule_of(name)
    assert rule_of(name, "less") == "less"


@pytest.mark.covers("G6")
def test_which_metrics_name_their_values():
    torchmetrics = pytest.importorskip("torchmetrics")
    accuracy = torchmetrics.classification.BinaryAccuracy()
    assert not names_its_values(Accuracy())
    assert not names_its_values(accuracy)
    assert names_its_values(torchmetrics.MetricCollection([accuracy]))
