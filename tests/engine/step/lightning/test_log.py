"""How what a LightningModule asks for while it logs ends a run of an engine."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")

from footplate import Events
from footplate.handlers.scalars import Scalars
from tests.engine.step.lightning.test_steps import BATCH, Net, trained

pytestmark = pytest.mark.covers("C4")


def test_a_run_that_was_stopped_stops_no_other():
    class Ending(Net):
        def training_step(self, batch, batch_idx):
            self.trainer.should_stop = self.ends
            return super().training_step(batch, batch_idx)

    net, seen = Ending(), []
    net.ends = True
    trainer = trained(net)
    assert trainer.run([BATCH] * 3).iteration == 1
    net.ends = False
    assert net.trainer.should_stop
    trainer.on("ITERATION_STARTED")(lambda engine: seen.append(net.trainer.should_stop))
    assert trainer.run([BATCH] * 3).iteration == 3
    assert seen == [False] * 3


def test_an_engine_that_is_terminated_amid_an_epoch_has_its_values():
    net = Net()
    trainer = trained(net)
    trainer.attach(Scalars())
    trainer.on(Events.ITERATION_COMPLETED(once=2))(lambda engine: engine.terminate())
    trainer.run([BATCH] * 3)
    assert "train_loss_epoch" in trainer.state.metrics
    assert net.trainer.current_epoch == 1
