"""LightningModules in steps of bare engines: with an optimizer of one's own, and with theirs."""

from __future__ import annotations

import gc
import weakref

import pytest

pytest.importorskip("lightning")

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.contracts import contract_of
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from footplate.engine.step.lightning.optimizations import lightning_optimizations
from footplate.engine.step.lightning.steps import LightningSteps
from footplate.engine.step.precision import Precision
from footplate.engine.step.training import training_step
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars

pytestmark = pytest.mark.covers("C4")
BATCH = torch.arange(8.0).reshape(4, 2), torch.ones(4, 1)


class Net(LightningModule):
    """A line through points."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.calls = []

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        self.calls.append(("training_step", batch_idx))
        loss = F.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch):
        self.log("val_loss", F.mse_loss(self(batch[0]), batch[1]))

    def test_step(self, batch, *args):
        self.calls.append(("test_step", *args))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def optimizer_step(self, *args, **kwargs):
        self.calls.append("optimizer_step")
        super().optimizer_step(*args, **kwargs)

    def optimizer_zero_grad(self, *args):
        self.calls.append("optimizer_zero_grad")
        super().optimizer_zero_grad(*args)

    def backward(self, loss, *args, **kwargs):
        self.calls.append("backward")
        super().backward(loss, *args, **kwargs)

    def configure_gradient_clipping(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
        self.calls.append(("configure_gradient_clipping", gradient_clip_val))
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)


def trained(net, **options):
    contract = LightningSteps(net)
    optimizations = lightning_optimizations(contract, **options)
    return Engine(training_step(net, optimizations, contract=contract), name="train")


def test_it_is_known_without_being_asked_for():
    assert isinstance(contract_of(Net()), LightningSteps)
    assert isinstance(contract_of(Net(), name="lightning"), LightningSteps)


def test_an_optimizer_of_ones_own_is_driven_by_the_engine():
    net = Net()
    trainer = Engine(training_step(net, torch.optim.SGD(net.parameters(), 0.01)), name="train")
    trainer.run([BATCH] * 3)
    assert net.calls == [("training_step", 0), ("training_step", 1), ("training_step", 2)]
    assert trainer.state.output.keys() == {"loss"}
    assert net.trainer.callback_metrics.keys() == {
        "train_loss",
        "train_loss_step",
        "train_loss_epoch",
    }


def test_its_own_are_driven_by_its_hooks_in_their_order():
    net = Net()
    trainer = trained(net, accumulate=2, clip=ClipNorm(0.5))
    trainer.run([BATCH] * 3)
    assert net.calls == [
        ("training_step", 0),
        "optimizer_zero_grad",
        "backward",
        "optimizer_step",
        ("training_step", 1),
        "backward",
        ("configure_gradient_clipping", 0.5),
        "optimizer_step",  # a window of one is left at the end of the epoch
        ("training_step", 2),
        "optimizer_zero_grad",
        "backward",
        ("configure_gradient_clipping", 0.5),
    ]
    assert net.trainer.global_step == 2


def test_a_window_that_ends_without_warning_is_stepped_with():
    net = Net()
    trainer = trained(net, accumulate=4)
    trainer.run(iter([BATCH] * 6))
    assert net.trainer.global_step == 2


def test_a_module_that_optimizes_by_hand_needs_its_own():
    net = Net()
    net.automatic_optimization = False
    with pytest.raises(TypeError, match=r"lightning_optimizations\(contract\)"):
        training_step(net, torch.optim.SGD(net.parameters(), 0.01))


def test_what_it_logs_is_what_an_evaluation_measures():
    net = Net()
    evaluator = Engine(evaluation_step(net), name="val")
    expected = F.mse_loss(net(BATCH[0]), BATCH[1]).item()
    assert evaluator.run([BATCH] * 2).metrics == {"val_loss": expected}
    trainer = trained(net)
    trainer.attach(Scalars())
    trainer.attach(Evaluation(evaluator, [BATCH], prefix=""))
    metrics = trainer.run([BATCH] * 2).metrics
    assert {"loss", "train_loss_step", "train_loss_epoch", "val_loss"} <= metrics.keys()
    assert trainer.history["train_loss_step"].count == 2


def test_steps_get_what_they_name():
    net = Net()
    Engine(evaluation_step(net), name="test").run([BATCH] * 2)
    assert net.calls == [("test_step", 0), ("test_step", 1)]


def test_without_a_predict_step_it_answers():
    net = Net()
    answer = Engine(prediction_step(net), name="predict").run([BATCH[0]]).output
    assert torch.equal(answer, net(BATCH[0]))


def test_a_veto_leaves_the_weights_as_they_are():
    net = Net()
    trainer = trained(net)
    trainer.on("GRADIENTS_READY")(lambda engine, optimization: optimization.veto())
    before = net.layer.weight.clone()
    trainer.run([BATCH])
    assert torch.equal(net.layer.weight, before)
    assert trainer.count_of("OPTIMIZER_STEP_SKIPPED") == 1
    assert net.trainer.global_step == 0


def test_half_precision_that_overflows_steps_and_moves_nothing():
    class Large(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (1e30 if batch_idx == 0 else 1.0)

        def configure_optimizers(self):
            sgd = torch.optim.SGD(self.parameters(), lr=0.01)
            halving = torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5)
            return [sgd], [{"scheduler": halving, "interval": "step"}]

    net = Large()
    trainer = trained(net, precision=Precision("fp16", init_scale=8.0))
    trainer.run([BATCH] * 2)
    assert trainer.count_of("OPTIMIZER_STEP_SKIPPED") == 1
    assert net.trainer.global_step == 1
    assert net.optimizers().param_groups[0]["lr"] == 0.005


def test_a_module_and_its_engine_go_with_their_last_names():
    net = Net()
    engine = trained(net)
    engine.run([BATCH])
    gone = weakref.ref(net), weakref.ref(engine)
    del net, engine
    gc.collect()
    assert [one() for one in gone] == [None, None]
