"""The steps that a LightningModule takes itself, automatically and by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")

import torch

from tests.engine.step.lightning.test_steps import BATCH, Net, trained

pytestmark = pytest.mark.covers("C4")


def test_a_step_that_runs_no_closure_is_an_error():
    class Idle(Net):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            pass

    with pytest.raises(RuntimeError, match=r"Idle\.optimizer_step\(\) has not run its closure"):
        trained(Idle()).run([BATCH])


def test_a_step_may_be_left_out_by_running_the_closure_alone():
    class EverySecond(Net):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            if batch_idx % 2:
                optimizer.step(closure=optimizer_closure)
            else:
                optimizer_closure()

    net = EverySecond()
    trainer = trained(net)
    trainer.run([BATCH] * 4)
    assert net.calls.count("backward") == 4
    assert trainer.count_of("OPTIMIZER_STEPPED") == 2


def test_a_loss_that_two_optimizers_share_lets_both_be_known_to_have_stepped():
    class Both(Net):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.other = torch.nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            self.manual_backward((self.layer(batch[0]) + self.other(batch[0])).square().mean())
            for one in self.optimizers():
                one.step()
                one.zero_grad()

        def configure_optimizers(self):
            layers = self.layer, self.other
            return [torch.optim.SGD(one.parameters(), lr=0.01) for one in layers]

    trainer = trained(Both())
    trainer.run([BATCH] * 3)
    assert trainer.count_of("OPTIMIZER_STEPPED") == 6
