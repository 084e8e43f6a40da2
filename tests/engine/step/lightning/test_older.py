"""Steps of Lightning 1.x: how batches are taken apart, and what can't be done."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule

from footplate.engine.step.contracts import contract_of
from footplate.engine.step.lightning.older import OlderSteps, splits
from footplate.engine.step.lightning.steps import LightningSteps

pytestmark = pytest.mark.covers("C4")


class Plain(LightningModule):
    def __init__(self, *, automatic: bool = True) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.automatic_optimization = automatic

    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()


class Long(Plain):
    truncated_bptt_steps = 2

    def tbptt_split_batch(self, batch, split_size):
        return [batch[:split_size], batch[split_size:]]


def test_a_module_of_today_has_the_contract_of_today():
    assert type(contract_of(Plain())) is LightningSteps
    assert type(contract_of(Long())) is OlderSteps


def test_a_batch_is_taken_apart_in_all_its_tensors():
    batch = {"x": torch.arange(6).reshape(1, 6), "more": [torch.zeros(1, 6, 2)]}
    parts = splits(Plain(), batch, 4)
    assert [part["x"].tolist() for part in parts] == [[[0, 1, 2, 3]], [[4, 5]]]
    assert [part["more"][0].shape[1] for part in parts] == [4, 2]


def test_the_modules_own_way_goes_before():
    assert [part.tolist() for part in splits(Long(), torch.arange(3), 2)] == [[0, 1], [2]]


@pytest.mark.parametrize("batch", [(torch.zeros(2, 3), torch.zeros(2, 4)), torch.zeros(2)])
def test_tensors_of_different_lengths_are_refused(batch):
    with pytest.raises(ValueError, match=r"as long in all tensors.*tbptt_split_batch"):
        splits(Plain(), batch, 2)


def test_parts_are_refused_where_the_module_optimizes_by_hand():
    with pytest.raises(TypeError, match="truncated_bptt_steps = 2, but optimizes by hand"):
        OlderSteps(Long(automatic=False))
